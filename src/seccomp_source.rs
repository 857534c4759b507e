//! Origin of a container's filter of system calls.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Origin of a container's filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompSource {
    /// The default profile, equal to docker's.
    #[default]
    Builtin,
    /// No filter.
    Unconfined,
    /// Profile in this file, in docker's format.
    File(PathBuf),
}

impl FromStr for SeccompSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "builtin" => Self::Builtin,
            "unconfined" => Self::Unconfined,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for SeccompSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Unconfined => f.write_str("unconfined"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
