//! `--group-add`.

use std::str::FromStr;

use super::account::NameOrId;

/// Parsed value of `--group-add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAdd {
    /// Keep the caller's own supplementary groups.
    KeepGroups,
    /// Add a group of the container.
    Group(NameOrId),
}

impl FromStr for GroupAdd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep-groups" => Ok(Self::KeepGroups),
            _ => text.parse().map(Self::Group),
        }
    }
}
