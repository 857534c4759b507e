//! IDs of containers, networks, endpoints and anonymous volumes.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::fail;

/// ID of a container: 64 hexadecimal digits in lower case. It is the name of the container's folder, so a record with any
/// other text is damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Returns a random ID.
    pub fn random() -> Result<Self> {
        random_id().map(Self)
    }

    /// Returns the first 12 digits, as docker shows them.
    pub fn short(&self) -> &str {
        short(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if !is_id(&text) {
            fail!(Invalid: "'{}' is not an ID of 64 hexadecimal digits", text.escape_debug());
        }
        Ok(Self(text))
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.to_owned().try_into()
    }
}

impl Deref for ContainerId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// True if `text` has the form of an ID.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns a random ID: 64 hexadecimal digits.
pub fn random_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::from)
        .context(|| "cannot get random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the first 12 digits of an ID, as docker shows it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_64_hexadecimal_digits() {
        let digits = "0123456789abcdef".repeat(4);
        let id: ContainerId = digits.parse().unwrap();
        assert_eq!((id.to_string(), id.short()), (digits.clone(), "0123456789ab"));
        for wrong in ["", "../../x", &digits[1..], &digits.to_uppercase(), &format!("{digits}0")] {
            assert!(wrong.parse::<ContainerId>().is_err(), "{wrong}");
            let json = serde_json::to_string(wrong).unwrap();
            assert!(serde_json::from_str::<ContainerId>(&json).is_err(), "{wrong}");
        }
    }
}
