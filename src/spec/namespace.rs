//! Which namespaces are the container's own: `--network`, `--pid`, `--ipc`, `--uts`.

use std::str::FromStr;

use crate::host::network_helper::Program;

/// Where the container's network is (`--network`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A network namespace of its own, with nothing but a loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
    /// A network namespace of its own, and a helper program as the way out of it.
    Helper(HelperFlag),
}

/// Which helper, and what it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperFlag {
    /// The program; `None`: whichever serves.
    pub program: Option<Program>,
    /// Options of its own, as they were written.
    pub options: Vec<String>,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            // podman's word for the usual one, and docker's.
            "private" | "bridge" | "default" => Ok(Self::Helper(HelperFlag::default())),
            _ => {
                let (name, options) = text.split_once(':').unwrap_or((text, ""));
                let program = Program::ALL.into_iter().find(|program| program.name() == name);
                let options = options.split(',').filter(|option| !option.is_empty());
                match program {
                    Some(_) => Ok(Self::Helper(HelperFlag {
                        program,
                        options: options.map(str::to_owned).collect(),
                    })),
                    None => Err("expected none, host, private, pasta[:OPTION,...] or slirp4netns[:OPTION,...]".into()),
                }
            }
        }
    }
}

/// Whether the container has a cgroup (`--cgroups`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Cgroups {
    /// It has, where that serves anything.
    #[default]
    #[value(alias = "no-conmon")]
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

/// `--ipc`: docker's "shareable" is a namespace that others may join, as all are here.
pub(super) fn parse_ipc(text: &str) -> Result<Sharing, String> {
    match text {
        "shareable" => Ok(Sharing::Private),
        _ => text.parse(),
    }
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
