//! `--hosts-file`: the lines that /etc/hosts of a container begins with.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Base of /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostsBase {
    /// No lines (`none`).
    Empty,
    /// File of the image (`image`).
    Image,
    /// File of the host.
    File(PathBuf),
}

impl FromStr for HostsBase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Empty),
            "image" => Ok(Self::Image),
            path if Path::new(path).is_absolute() => Ok(Self::File(path.into())),
            _ => Err("expected an absolute path, image or none".into()),
        }
    }
}
