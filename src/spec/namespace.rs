//! Namespaces that are the container's own or the host's: `--network`, `--pid`, `--ipc`, `--uts`.

use std::str::FromStr;

use crate::host::network_helper::NetworkHelper;

/// Network of the container (`--network`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// A network namespace of its own, with nothing but a loopback interface.
    #[default]
    None,
    /// The host's network.
    Host,
    /// A network namespace of its own, connected by a helper program.
    Helper(HelperFlag),
}

/// Network helper and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperFlag {
    /// Helper program; `None`: the first that works.
    pub program: Option<NetworkHelper>,
    /// Options of the helper, as typed.
    pub options: Vec<String>,
}

impl FromStr for NetworkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            // podman's word for the usual network, and docker's words.
            "private" | "bridge" | "default" => Ok(Self::Helper(HelperFlag::default())),
            _ => {
                let (name, options) = text.split_once(':').unwrap_or((text, ""));
                let program = NetworkHelper::ALL.into_iter().find(|program| program.name() == name);
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

/// Cgroup of the container (`--cgroups`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CgroupMode {
    /// A cgroup of its own, where one can be made.
    #[default]
    #[value(alias = "no-conmon")]
    Enabled,
    /// The cgroup of usnea itself.
    Disabled,
}

/// Owner of a namespace: the container or the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespaceSharing {
    /// Namespace of the container's own.
    #[default]
    Private,
    /// Namespace of the host.
    Host,
}

/// `--ipc`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IpcMode {
    /// A namespace of its own; docker's "shareable" is one that others may join, as all are here.
    #[default]
    #[value(alias = "shareable")]
    Private,
    /// The same without /dev/shm.
    None,
    /// The host's.
    Host,
}

impl IpcMode {
    /// Where its namespace is.
    pub(super) fn sharing(self) -> NamespaceSharing {
        match self {
            Self::Private | Self::None => NamespaceSharing::Private,
            Self::Host => NamespaceSharing::Host,
        }
    }
}

impl FromStr for NamespaceSharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err("expected private or host".into()),
        }
    }
}
