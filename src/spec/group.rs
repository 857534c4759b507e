//! `--group-add`.

use std::str::FromStr;

use super::account::NameOrId;

/// One value of `--group-add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAdd {
    /// The caller's own supplementary groups stay.
    KeepGroups,
    /// This group.
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
