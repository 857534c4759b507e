//! Name of a network: a file name of the store, and a word of `--network`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Words of `--network` that have a meaning of their own.
const RESERVED: [&str; 10] = [
    "bridge",
    "container",
    "default",
    "host",
    "none",
    "ns",
    "pasta",
    "pod",
    "private",
    "slirp4netns",
];

/// Longest name in bytes: with `.json` it is a file name.
const LONGEST: usize = 250;

/// Name of a network: docker's `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 250 bytes, and none of the words of `--network`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NetworkName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl FromStr for NetworkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || !text.bytes().all(fits) || text.len() > LONGEST {
            return Err(format!(
                "a name of a network is at most {LONGEST} of a-z, A-Z, 0-9, _, . and -, the first a letter or digit"
            ));
        }
        if RESERVED.contains(&text) {
            return Err(format!("'{text}' is a word for another kind of network"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_dockers_without_the_words_of_the_flag() {
        for name in ["a", "0", "web-1.old_2", "hosts", "none2"] {
            assert_eq!(name.parse::<NetworkName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(LONGEST + 1);
        for wrong in ["", "-a", ".a", "_a", "a/b", "a b", "a:b", "a,b", "é", "a\n", "a\0", &long] {
            assert!(wrong.parse::<NetworkName>().is_err(), "{wrong}");
        }
        for word in RESERVED {
            assert!(word.parse::<NetworkName>().unwrap_err().contains("another kind"), "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_network_name_is_one_path_component(text in "\\PC{0,8}") {
            if let Ok(name) = text.parse::<NetworkName>() {
                let file = format!("{name}.json");
                let mut components = std::path::Path::new(&file).components();
                prop_assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(components.next().is_none());
            }
        }
    }
}
