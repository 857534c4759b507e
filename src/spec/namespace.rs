//! Which namespaces are the container's own: `--network`, `--pid`, `--ipc`, `--uts`.

use std::str::FromStr;

/// Where the container's network is (`--network`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A network namespace of its own, with nothing but a loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => Err("expected none or host".into()),
        }
    }
}

/// Whether the container has a cgroup (`--cgroups`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Cgroups {
    /// It has, where that serves anything.
    #[default]
    Enabled,
    /// It is where usnea is.
    Disabled,
}

/// Whether a namespace is the container's own or the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// The container's own.
    #[default]
    Private,
    /// The host's.
    Host,
}

impl FromStr for Sharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err("expected private or host".into()),
        }
    }
}
