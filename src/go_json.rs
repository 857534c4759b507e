//! JSON as Go's encoding/json reads it: a null or missing field is the zero value, and the last value of a repeated key
//! counts. A key that is no field's name is that of a field which differs in case alone.
//!
//! Images, archives and registries are written by programs in Go, which write a nil map or list as null. Every such
//! document is read with [`read`], and its structs use the functions below for their fields (`#[serde(default,
//! deserialize_with = "go_json::or_zero")]`). A value of another type is an error, as in Go.

use std::collections::BTreeMap;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IgnoredAny, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Parses `bytes`. Errors: not JSON, or a value of the wrong type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // By way of a map: serde's structs refuse a repeated key.
    of_value(value(bytes)?)
}

/// Parses `bytes` without regard to types. Errors: not JSON.
pub fn value(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(Error::new)
}

/// Converts a parsed document. Errors: a value of the wrong type.
pub fn of_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(FoldedKeys(value)).map_err(Error::new)
}

/// Returns the field `name` of an object: that key, else the last one that differs in case alone.
pub fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    let folded = || object.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| folded().map(|(_, value)| value))
}

/// Value whose structs find their fields without regard to the case of the keys.
struct FoldedKeys(Value);

impl FoldedKeys {
    /// Gives the keys of an object the names of the fields that they stand for. A key that is a field's own name counts
    /// before any other.
    fn renamed(object: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
        let is_field = |key: &str| fields.contains(&key);
        if object.keys().all(|key| is_field(key)) {
            return object;
        }
        let (mut all, others): (Map<_, _>, Map<_, _>) =
            object.into_iter().partition(|(key, _)| is_field(key));
        let mut folded = Map::new();
        for (key, value) in others {
            let field = fields.iter().find(|field| field.eq_ignore_ascii_case(&key));
            folded.insert(field.map_or(key, |field| (*field).to_owned()), value);
        }
        for (key, value) in folded {
            all.entry(key).or_insert(value);
        }
        all
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for FoldedKeys {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for FoldedKeys {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(FoldedKeys));
                let answer = visitor.visit_seq(&mut items)?;
                items.end().map(|()| answer)
            }
            Value::Object(object) => {
                let entries = object.into_iter().map(|(key, value)| (key, FoldedKeys(value)));
                let mut entries = MapDeserializer::new(entries);
                let answer = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| answer)
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let value = match self.0 {
            Value::Object(object) => Value::Object(Self::renamed(object, fields)),
            other => other,
        };
        Self(value).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
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
    fn a_key_is_a_fields_whatever_its_case() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Outer {
            cmd: Vec<String>,
            all: Vec<All>,
        }
        let outer: Outer =
            read(br#"{"cmd":["a"],"ALL":[{"Number":5,"NUMBER":6,"teXt":"b"}]}"#).unwrap();
        assert_eq!((outer.cmd.len(), outer.all[0].text.as_deref()), (1, Some("b")));
        // A field's own name counts first.
        let both = [r#"{"Cmd":["a"],"cmd":[]}"#, r#"{"cmd":[],"Cmd":["a"]}"#];
        for text in both {
            assert_eq!(read::<Outer>(text.as_bytes()).unwrap().cmd, ["a"], "{text}");
        }
        // The keys of a map are data.
        let texts: All = read(br#"{"Texts":{"A":"1","a":"2"}}"#).unwrap();
        assert_eq!(texts.texts.len(), 2);
        assert!(read::<Outer>(br#"{"CMD":1}"#).is_err());
        let object = value(br#"{"Manifests":[],"config":1,"CONFIG":2}"#).unwrap();
        assert_eq!(field(&object, "manifests"), Some(&Value::Array(Vec::new())));
        assert_eq!(field(&object, "config"), Some(&Value::from(1)));
        assert_eq!(field(&object, "layers"), None);
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
