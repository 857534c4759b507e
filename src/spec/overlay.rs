//! `--overlay PATH[:ro|:rw]`: layers of the user above those of an image.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Folder of an overlay with the files that containers have changed (apptainer's layout).
pub const UPPER: &str = "upper";
/// Folder of an overlay that the storage driver needs beside [`UPPER`].
pub const WORK: &str = "work";

/// Value of `--overlay`. In JSON and as text, as typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OverlayFlag {
    /// Folder with [`UPPER`] and [`WORK`], or file with an image.
    pub path: PathBuf,
    /// Access of the container.
    pub access: OverlayAccess,
}

/// Access of a container to an overlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverlayAccess {
    /// Read-write for a folder, read-only for an image.
    #[default]
    Natural,
    /// Read-only (`ro`).
    ReadOnly,
    /// Read-write (`rw`): an error for an image.
    ReadWrite,
}

impl OverlayAccess {
    fn suffix(self) -> &'static str {
        match self {
            Self::Natural => "",
            Self::ReadOnly => ":ro",
            Self::ReadWrite => ":rw",
        }
    }
}

impl FromStr for OverlayFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let options = [OverlayAccess::ReadOnly, OverlayAccess::ReadWrite];
        let access = options.into_iter().find(|access| text.ends_with(access.suffix()));
        let access = access.unwrap_or_default();
        let path = text.strip_suffix(access.suffix()).unwrap_or(text);
        match path {
            "" => Err("expected PATH[:ro|:rw]".to_owned()),
            path => Ok(Self { path: path.into(), access }),
        }
    }
}

impl fmt::Display for OverlayFlag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.path.display(), self.access.suffix())
    }
}

impl TryFrom<String> for OverlayFlag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<OverlayFlag> for String {
    fn from(flag: OverlayFlag) -> Self {
        flag.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_is_a_path_and_an_access() {
        use OverlayAccess::{Natural, ReadOnly, ReadWrite};
        for (text, path, access) in [
            ("a", "a", Natural),
            ("/a/b:ro", "/a/b", ReadOnly),
            ("/a:b", "/a:b", Natural),
            ("/a:ro:rw", "/a:ro", ReadWrite),
            ("ro", "ro", Natural),
        ] {
            let flag: OverlayFlag = text.parse().unwrap();
            assert_eq!(flag, OverlayFlag { path: path.into(), access });
            assert_eq!(flag.to_string(), text);
        }
        for wrong in ["", ":ro", ":rw"] {
            assert!(wrong.parse::<OverlayFlag>().is_err(), "{wrong}");
        }
    }
}
