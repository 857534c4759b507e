//! Names of containers and hosts. A container's name becomes a file name, a host name goes to sethostname(2): both are
//! checked here and nowhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name of a container: docker's `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

impl ContainerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || !text.bytes().all(fits) || !(2..=255).contains(&text.len()) {
            return Err(
                "a name is two or more of a-z, A-Z, 0-9, _, . and -, the first a letter or digit"
                    .into(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// Name of a volume, with the rules of container names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(ContainerName);

impl VolumeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for VolumeName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0.0
    }
}

impl FromStr for VolumeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// Longest name that sethostname(2) accepts, in bytes (__NEW_UTS_LEN).
const LONGEST_HOSTNAME: usize = 64;

/// Host name: labels of letters, digits and hyphens with dots between, at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_HOSTNAME {
            return Err(format!("a host name has at most {LONGEST_HOSTNAME} bytes"));
        }
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !text.split('.').all(label) {
            return Err("a host name is letters, digits and hyphens, with dots between".into());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn container_names_are_dockers() {
        for name in ["ab", "a1", "0_", "web-1.old_2"] {
            assert_eq!(name.parse::<ContainerName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(256);
        for wrong in ["", "a", "-a", ".a", "_a", "a/b", "a b", "..", "é1", "a\n", "a\0b", &long] {
            assert!(wrong.parse::<ContainerName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_names_are_labels_that_fit_the_kernel() {
        let fits = "a".repeat(64);
        for name in ["a", "web-1", "a.b.example", "0", &fits] {
            assert_eq!(name.parse::<Hostname>().unwrap().as_str(), name);
        }
        let long = "a".repeat(65);
        for wrong in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "ü", "a\0", &long] {
            assert!(wrong.parse::<Hostname>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_container_name_is_one_path_component(text in "\\PC{0,8}") {
            if let Ok(name) = text.parse::<ContainerName>() {
                let mut components = std::path::Path::new(name.as_str()).components();
                prop_assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(components.next().is_none());
            }
        }
    }
}
