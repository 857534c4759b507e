//! Name of a device of the Container Device Interface (CDI): `VENDOR/CLASS=NAME`, as in `nvidia.com/gpu=0`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest part of a name in bytes: far above those in use.
const LONGEST: usize = 256;

/// Kind of devices: vendor and class (CDI specification, "Kind").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CdiKind(String);

/// Fully qualified name of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CdiName {
    /// Vendor and class.
    pub kind: CdiKind,
    /// Name of the device among those of its kind.
    pub device: String,
}

/// True for a text in which all bytes are letters, digits or of `others`, the first is one that `begins` accepts, and
/// the last is a letter or digit.
fn is_word(text: &str, others: &[u8], begins: impl Fn(u8) -> bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    text.len() <= LONGEST
        && text.bytes().all(fits)
        && text.bytes().next().is_some_and(begins)
        && text.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Checks the name of a device in a file of specifications. Errors: it is empty, or has other characters.
pub fn check_device(name: &str) -> Result<(), String> {
    match is_word(name, b"_-.:", |byte| byte.is_ascii_alphanumeric()) {
        true => Ok(()),
        false => Err(format!(
            "'{name}' is no name of a device: letters, digits, '_', '-', '.' and ':' between letters or digits"
        )),
    }
}

impl CdiKind {
    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of a device of this kind. Errors: an invalid name.
    pub fn device(&self, name: &str) -> Result<CdiName, String> {
        check_device(name)?;
        Ok(CdiName { kind: self.clone(), device: name.to_owned() })
    }
}

impl FromStr for CdiKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic();
        match text.split_once('/') {
            Some((vendor, class))
                if is_word(vendor, b"_-.", is_letter) && is_word(class, b"_-.", is_letter) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!("'{text}' is no kind of devices: expected VENDOR/CLASS")),
        }
    }
}

impl FromStr for CdiName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, device) =
            text.split_once('=').ok_or_else(|| format!("'{text}': expected VENDOR/CLASS=NAME"))?;
        kind.parse::<CdiKind>()?.device(device)
    }
}

impl TryFrom<String> for CdiKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for CdiName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CdiKind> for String {
    fn from(kind: CdiKind) -> Self {
        kind.0
    }
}

impl From<CdiName> for String {
    fn from(name: CdiName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for CdiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CdiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for name in ["nvidia.com/gpu=0", "v/c=a", "amd.com/gpu=all", "n-v_1.x/g-1=0:1", "a/b=a.b"] {
            assert_eq!(name.parse::<CdiName>().unwrap().to_string(), name);
        }
        let long = format!("v/c={}", "a".repeat(LONGEST + 1));
        for wrong in [
            "", "v/c", "v/c=", "/c=a", "v/=a", "v=a", "1v/c=a", "v/1c=a", "v./c=a", "v/c.=a",
            "v/c=-a", "v/c=a-", "v/c=a/b", "v/c=a b", "v/c=a=b", "é/c=a", &long,
        ] {
            assert!(wrong.parse::<CdiName>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_cdi_name_is_printed_as_it_was_read(text in "[a-z1/=.:-]{0,12}") {
            if let Ok(name) = text.parse::<CdiName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
