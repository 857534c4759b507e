//! Namespaces that are the container's own or the host's: `--network`, `--pid`, `--ipc`, `--uts`.

use std::str::FromStr;

use crate::host::network_helper::NetworkHelper;
use crate::network_attachment::NetworkAttachment;

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
    /// A network namespace of its own on named networks. The helper is that of `--network NAME --network pasta:...`;
    /// `None`: the first that works, unless all networks are internal.
    Named(Vec<NetworkAttachment>, Option<HelperFlag>),
}

/// Network helper and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperFlag {
    /// Helper program; `None`: the first that works.
    pub program: Option<NetworkHelper>,
    /// Options of the helper, as typed.
    pub options: Vec<String>,
}

impl NetworkMode {
    /// True if the container has a network namespace of its own.
    pub fn is_own(&self) -> bool {
        *self != Self::Host
    }

    /// Joins the networks of two options. Errors: networks that exclude each other.
    pub fn join(self, other: Self) -> Result<Self, String> {
        match (self, other) {
            (Self::Named(mut all, helper), Self::Named(more, other)) => {
                for attachment in more {
                    if all.iter().any(|one| one.network == attachment.network) {
                        return Err(format!("network {} is named twice", attachment.network));
                    }
                    all.push(attachment);
                }
                Ok(Self::Named(all, helper.or(other)))
            }
            (Self::Named(all, None), Self::Helper(helper))
            | (Self::Helper(helper), Self::Named(all, None)) => {
                Ok(Self::Named(all, Some(helper)))
            }
            (one, other) if one == other => Ok(one),
            _ => Err("only named networks, and one of private, pasta and slirp4netns with them, can be combined".into()),
        }
    }
}

impl FromStr for NetworkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let program = NetworkHelper::ALL.into_iter().find(|program| program.name() == name);
        match name {
            "none" | "host" | "private" | "bridge" | "default" if text.contains(':') => {
                Err(format!("network {name} has no options"))
            }
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            // podman's word for the usual network, and docker's words.
            "private" | "bridge" | "default" => Ok(Self::Helper(HelperFlag::default())),
            _ if program.is_some() => {
                let options = options.split(',').filter(|option| !option.is_empty());
                let options = options.map(str::to_owned).collect();
                Ok(Self::Helper(HelperFlag { program, options }))
            }
            // podman's list of names; docker's list `name=NAME,KEY=VALUE` is a single network.
            _ if text.contains(',') && !text.contains([':', '=']) => {
                let mut names = text.split(',').map(str::parse::<Self>);
                let first = names.next().unwrap_or_else(|| Err("no network".into()))?;
                names.try_fold(first, |all, next| all.join(next?))
            }
            _ => Ok(Self::Named(vec![text.parse()?], None)),
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
