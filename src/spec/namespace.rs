//! Namespaces of the container's own, of the host, or of others: `--network`, `--pid`, `--ipc`, `--uts`, `--cgroupns`.
//!
//! A namespace of another container is written to config.json as the path `container:ID`. The caller that runs the
//! config puts the path of that container's process there at each start.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
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
    /// The network namespace of others.
    Joined(JoinTarget),
}

/// Owner of a namespace that a container joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinTarget {
    /// Container, by name or ID: `container:NAME`.
    Container(String),
    /// Pod, by ID. No option names one: the container is made in the pod.
    Pod(String),
    /// Namespace at an absolute path: `ns:PATH` (podman).
    Path(PathBuf),
}

/// Begin of a path in config.json that stands for a container.
const CONTAINER: &str = "container:";
/// Begin of a path in config.json that stands for a pod.
const POD: &str = "pod:";

impl JoinTarget {
    /// Parses `container:NAME` and `ns:PATH`; `None`: another word.
    fn parse(text: &str) -> Option<Result<Self, String>> {
        match text.split_once(':')? {
            ("container", "") => Some(Err("container: needs the name or ID of a container".into())),
            ("container", name) => Some(Ok(Self::Container(name.to_owned()))),
            ("ns", path) if path.starts_with('/') => Some(Ok(Self::Path(path.into()))),
            ("ns", _) => Some(Err("ns: needs an absolute path".into())),
            _ => None,
        }
    }

    /// Reads a namespace's path in config.json.
    pub fn of_path(path: &Path) -> Self {
        let text = path.to_str().unwrap_or_default();
        match (text.strip_prefix(CONTAINER), text.strip_prefix(POD)) {
            (Some(id), _) => Self::Container(id.to_owned()),
            (_, Some(id)) => Self::Pod(id.to_owned()),
            _ => Self::Path(path.into()),
        }
    }

    /// Path for config.json.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Container(id) => format!("{CONTAINER}{id}").into(),
            Self::Pod(id) => format!("{POD}{id}").into(),
            Self::Path(path) => path.clone(),
        }
    }
}

/// The words of the command line.
impl Display for JoinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "{CONTAINER}{name}"),
            Self::Pod(id) => write!(f, "{POD}{id}"),
            Self::Path(path) => write!(f, "ns:{}", path.display()),
        }
    }
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
    /// Owner of the network namespace.
    pub fn sharing(&self) -> NamespaceSharing {
        match self {
            Self::None | Self::Helper(_) | Self::Named(..) => NamespaceSharing::Private,
            Self::Host => NamespaceSharing::Host,
            Self::Joined(target) => NamespaceSharing::Joined(target.clone()),
        }
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

impl NetworkMode {
    /// Parses a value of `--network`. An empty one asks for no network, as if it was not given (docker, podman).
    pub fn of_flag(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Named(Vec::new(), None)),
            _ => text.parse(),
        }
    }

    /// True if the value asks for a network.
    pub fn is_asked(&self) -> bool {
        !matches!(self, Self::Named(attachments, None) if attachments.is_empty())
    }
}

impl FromStr for NetworkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let program = NetworkHelper::ALL.into_iter().find(|program| program.name() == name);
        match name {
            "container" | "ns" if text.contains(':') => {
                JoinTarget::parse(text).unwrap_or_else(|| Err(text.into())).map(Self::Joined)
            }
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
    /// Create a cgroup, where that is possible.
    #[default]
    #[value(aliases = ["no-conmon", "split"])]
    Enabled,
    /// Stay in the cgroup of usnea.
    Disabled,
}

/// Owner of a namespace: the container, the host, or others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NamespaceSharing {
    /// Namespace of the container's own.
    #[default]
    Private,
    /// Namespace of the host.
    Host,
    /// Namespace of others.
    Joined(JoinTarget),
}

/// `--ipc`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IpcMode {
    /// A namespace of its own; docker's "shareable" is one that others may join, as all are here.
    #[default]
    Private,
    /// The same without /dev/shm.
    None,
    /// The host's.
    Host,
    /// The namespace of others. A container's /dev/shm comes with it.
    Joined(JoinTarget),
}

impl IpcMode {
    /// Owner of its namespace.
    pub fn sharing(&self) -> NamespaceSharing {
        match self {
            Self::Private | Self::None => NamespaceSharing::Private,
            Self::Host => NamespaceSharing::Host,
            Self::Joined(target) => NamespaceSharing::Joined(target.clone()),
        }
    }
}

impl FromStr for IpcMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" | "shareable" => Ok(Self::Private),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => JoinTarget::parse(text).map_or_else(
                || Err("expected private, shareable, none, host, container:NAME or ns:PATH".into()),
                |target| target.map(Self::Joined),
            ),
        }
    }
}

impl FromStr for NamespaceSharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => JoinTarget::parse(text).map_or_else(
                || Err("expected private, host, container:NAME or ns:PATH".into()),
                |target| target.map(Self::Joined),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_container_or_an_absolute_path() {
        for (text, target) in [
            ("container:web", JoinTarget::Container("web".into())),
            ("ns:/run/netns/a:b", JoinTarget::Path("/run/netns/a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(NetworkMode::Joined(target.clone())));
            assert_eq!(text.parse(), Ok(NamespaceSharing::Joined(target.clone())));
            assert_eq!(text.parse(), Ok(IpcMode::Joined(target.clone())));
            assert_eq!(target.to_string(), text);
            assert_eq!(JoinTarget::of_path(&target.path()), target);
        }
        for wrong in ["container:", "ns:", "ns:run/netns/a", "ns:../x", "containers:x"] {
            assert!(wrong.parse::<NamespaceSharing>().is_err(), "{wrong}");
            assert!(wrong.parse::<IpcMode>().is_err(), "{wrong}");
            assert!(wrong.parse::<NetworkMode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pod_is_no_value_of_an_option() {
        let target = JoinTarget::Pod("0a".into());
        assert_eq!(JoinTarget::of_path(&target.path()), target);
        assert!("pod:0a".parse::<NamespaceSharing>().is_err());
        assert!("pod:0a".parse::<IpcMode>().is_err());
    }

    #[test]
    fn a_joined_network_is_the_only_one() {
        let join = |one: &str, other: &str| {
            one.parse::<NetworkMode>().unwrap().join(other.parse().unwrap()).is_ok()
        };
        assert!(join("container:a", "container:a"));
        for other in ["container:b", "ns:/a", "host", "none", "private", "web"] {
            assert!(!join("container:a", other), "{other}");
        }
    }
}
