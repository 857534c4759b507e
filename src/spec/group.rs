//! `--group-add`.

use std::fmt;
use std::str::FromStr;

use super::account::NameOrId;

/// Value that keeps the caller's groups.
const KEEP: &str = "keep-groups";

/// Parsed value of `--group-add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAdd {
    /// Keep the caller's own supplementary groups.
    KeepGroups,
    /// Add a group of the container.
    Group(NameOrId),
}

impl fmt::Display for GroupAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepGroups => f.write_str(KEEP),
            Self::Group(group) => group.fmt(f),
        }
    }
}

impl FromStr for GroupAdd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            KEEP => Ok(Self::KeepGroups),
            _ => text.parse().map(Self::Group),
        }
    }
}
