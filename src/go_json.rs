//! JSON as Go's encoding/json reads it: a null or missing field is the zero value, and the last value of a repeated key
//! counts.
//!
//! Images, archives and registries are written by programs in Go, which write a nil map or list as null. Every such
//! document is read with [`read`], and its structs use the functions below for their fields (`#[serde(default,
//! deserialize_with = "go_json::or_zero")]`). A value of another type is an error, as in Go.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Error, Result};

/// Parses `bytes`. Errors: not JSON, or a value of the wrong type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // By way of a map: serde's structs refuse a repeated key.
    let value: Value = serde_json::from_slice(bytes).map_err(Error::new)?;
    of_value(value)
}

/// Converts a parsed document. Errors: a value of the wrong type.
pub fn of_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(Error::new)
}

/// Reads a field; null is the zero value.
pub fn or_zero<'de, D: Deserializer<'de>, T>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a text; null and an empty one are `None`.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

/// Reads a list; null is an empty list, and a null item the zero value.
pub fn list<'de, D: Deserializer<'de>, T>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de> + Default,
{
    let items = Option::<Vec<Option<T>>>::deserialize(from)?.unwrap_or_default();
    Ok(items.into_iter().map(Option::unwrap_or_default).collect())
}

/// Reads a list of words, or a single word in its place (docker's `strslice`).
pub fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        All(Vec<Option<String>>),
    }
    Ok(match Option::<Words>::deserialize(from)? {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::All(words)) => words.into_iter().map(Option::unwrap_or_default).collect(),
    })
}

/// Reads a map of texts; null is an empty map, and a null value an empty text.
pub fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(from)?.unwrap_or_default();
    Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// Reads the keys of a map with meaningless values (Go's `map[string]struct{}`).
pub fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(from)?.unwrap_or_default();
    Ok(map.into_keys().collect())
}

/// Reads a number of bytes; negative means unknown, as does 0.
pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = Option::<i64>::deserialize(from)?.unwrap_or_default();
    Ok(u64::try_from(size).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct All {
        #[serde(deserialize_with = "or_zero")]
        number: u32,
        #[serde(deserialize_with = "text")]
        text: Option<String>,
        #[serde(deserialize_with = "list")]
        list: Vec<u32>,
        #[serde(deserialize_with = "words")]
        words: Vec<String>,
        #[serde(deserialize_with = "texts")]
        texts: BTreeMap<String, String>,
        #[serde(deserialize_with = "keys")]
        keys: Vec<String>,
        #[serde(deserialize_with = "size")]
        size: u64,
    }

    #[test]
    fn null_and_missing_are_the_zero_value() {
        let fields = ["number", "text", "list", "words", "texts", "keys", "size"];
        for field in fields {
            let read: All = read(format!(r#"{{"{field}":null}}"#).as_bytes()).unwrap();
            assert_eq!(read, All::default(), "{field}");
        }
        assert_eq!(read::<All>(b"{}").unwrap(), All::default());
        let inner = br#"{"list":[1,null],"words":["a",null],"texts":{"a":null},"keys":{"k":null,"l":{}},"size":-1}"#;
        let inner: All = read(inner).unwrap();
        assert_eq!((inner.list, inner.words), (vec![1, 0], vec!["a".to_owned(), String::new()]));
        assert_eq!((inner.texts["a"].as_str(), inner.keys.len(), inner.size), ("", 2, 0));
    }

    #[test]
    fn the_last_of_two_values_counts_and_a_wrong_type_is_an_error() {
        assert_eq!(read::<All>(br#"{"number":1,"number":2}"#).unwrap().number, 2);
        assert_eq!(read::<All>(br#"{"words":"sh"}"#).unwrap().words, ["sh"]);
        assert_eq!(read::<All>(br#"{"text":""}"#).unwrap().text, None);
        for wrong in [
            r#"{"number":"1"}"#,
            r#"{"number":-1}"#,
            r#"{"text":1}"#,
            r#"{"list":{}}"#,
            r#"{"words":{}}"#,
            r#"{"texts":[]}"#,
            r#"{"texts":{"a":1}}"#,
            r#"{"keys":[]}"#,
            r#"{"size":1.5}"#,
            r#"{"size":18446744073709551615}"#,
            "{",
        ] {
            assert!(read::<All>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
