//! Flags of commands that attach to a container: streams and the key sequence that detaches.

use clap::ValueEnum;

use crate::container::DetachKeys;
use crate::error::{Context, Error, Result};
use crate::monitor::record::Stream;

/// Value of `--attach`: a standard stream of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StreamFlag {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl From<StreamFlag> for Stream {
    fn from(flag: StreamFlag) -> Self {
        match flag {
            StreamFlag::Stdin => Self::Stdin,
            StreamFlag::Stdout => Self::Stdout,
            StreamFlag::Stderr => Self::Stderr,
        }
    }
}

/// Parses the value of `--detach-keys`.
pub fn detach_keys(text: Option<&str>) -> Result<Option<DetachKeys>> {
    let keys = text.map(|keys| keys.parse().map_err(Error::new));
    keys.transpose().context(|| "--detach-keys")
}
