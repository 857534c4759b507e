//! Inputs of a config, and the annotations that it carries for usnea.

use std::borrow::Cow;
use std::path::Path;

use super::namespace::{NamespaceSharing, NetworkMode};
use super::options::ContainerOptions;
use super::overlay::UPPER;
use super::storage_driver::Stacking;
use crate::error::{Error, Result};
use crate::ids::{ContainerIds, HostIds, IdMaps};
use crate::layer::LowerLayer;

/// Annotation, "1": the process keeps the caller's supplementary groups (crun's name).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Prefix of the name of a container's cgroup.
pub const CGROUP: &str = "usnea-";

/// Annotation, "true": usnea's init is PID 1 and runs the process.
pub const RUN_INIT: &str = "usnea.init";

/// Annotation: the signal that asks the command to end (image spec, conversion.md).
pub const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Root file system of a container.
#[derive(Clone, Copy, Debug)]
pub enum SpecRoot<'a> {
    /// Folder that is the root itself, and is written to (`--rw-root`).
    Itself(&'a Path),
    /// Read-only layers, the topmost first, below a writable one: `upper` and `work` in the inputs' folder.
    Layered(&'a [LowerLayer]),
}

impl<'a> SpecRoot<'a> {
    /// Folder, or file with an image, that config.json names as the root.
    pub(super) fn path(&self) -> Result<&'a Path> {
        match self {
            Self::Itself(path) => Ok(path),
            Self::Layered([top, ..]) => Ok(top.path()),
            Self::Layered([]) => Err(Error::new("a root file system without a layer")),
        }
    }
}

/// Defaults of an image, used where the options set nothing. Empty for a root that is no image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// Words that precede the command.
    pub entrypoint: Vec<String>,
    /// Default command.
    pub cmd: Vec<String>,
    /// Environment variables as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User, in the form of `--user`.
    pub user: Option<String>,
    /// Folders declared as volumes.
    pub volumes: Vec<String>,
    /// Signal that asks the command to end, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// Ports that the command listens on, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

/// Time namespaces of the kernel (5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeNamespace {
    /// Supported by the kernel.
    Available,
    /// Not supported by the kernel.
    Missing,
}

/// Cgroup hierarchy at /sys/fs/cgroup on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupHierarchy {
    /// cgroup v2.
    Unified,
    /// v1, v1 and v2 side by side, or nothing.
    Other,
}

/// Lifetime of the container's writable layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopLayer {
    /// Disposable, removed after the command: no sync to the disk is needed.
    Disposable,
    /// Permanent, mounted again at the next start.
    Persistent,
}

/// Inputs of a config.
#[derive(Clone, Debug)]
pub struct SpecInputs<'a> {
    /// Options from the command line.
    pub options: &'a ContainerOptions,
    /// The container's ID, 12 hex digits: the default host name.
    pub id: &'a str,
    /// The first 32 digits of the container's ID, as systemd takes them for a machine ID.
    pub uuid: &'a str,
    /// Root file system.
    pub root: SpecRoot<'a>,
    /// The container's folder, with `upper`, `work`, `volume-N` and `anonymous-N`. The caller that runs the config
    /// creates [`layer_folders`] and [`super::anonymous_folders`].
    pub folder: &'a Path,
    /// Folder with the writable layer of the root; `None`: in `folder`. The caller creates its `upper` and `work`.
    pub overlay: Option<&'a Path>,
    /// Folder of the named volumes: the files of a volume are in `NAME/_data`.
    pub volumes: &'a Path,
    /// Stacking of the layers.
    pub stacking: Stacking,
    /// Lifetime of the writable layer.
    pub top_layer: TopLayer,
    /// ID maps of the container.
    pub maps: &'a IdMaps<ContainerIds, HostIds>,
    /// Defaults of the image.
    pub image: ImageDefaults,
    /// Command and its arguments.
    pub command: &'a [String],
    /// Host name of the container whose UTS namespace or network is joined.
    pub joined_hostname: Option<String>,
    /// Time namespaces of the kernel.
    pub time_namespace: TimeNamespace,
    /// Cgroup hierarchy at /sys/fs/cgroup on the host.
    pub cgroups: CgroupHierarchy,
}

impl SpecInputs<'_> {
    /// Layers to search for a file of the root, in this order.
    pub(super) fn layers(&self) -> Cow<'_, [LowerLayer]> {
        match (self.root, self.overlay) {
            (SpecRoot::Itself(path), _) => Cow::Owned(vec![LowerLayer::Folder(path.to_path_buf())]),
            (SpecRoot::Layered(lowers), None) => Cow::Borrowed(lowers),
            (SpecRoot::Layered(lowers), Some(overlay)) => {
                let upper = LowerLayer::Folder(overlay.join(UPPER));
                Cow::Owned([&[upper], lowers].concat())
            }
        }
    }

    /// Host name to set; None: the host's name is used.
    pub(super) fn hostname(&self) -> Option<String> {
        match (&self.options.uts, &self.options.hostname) {
            (NamespaceSharing::Host | NamespaceSharing::Joined(_), _) => None,
            (NamespaceSharing::Private, Some(name)) => Some(name.as_str().to_owned()),
            // The host's /etc/hosts, which such a container has, knows the host's name alone.
            (NamespaceSharing::Private, None) if self.options.network() == NetworkMode::Host => {
                Some(host_name())
            }
            (NamespaceSharing::Private, None) => {
                Some(self.joined_hostname.clone().unwrap_or_else(|| self.id.to_owned()))
            }
        }
    }

    /// Host name that processes of the container see.
    pub(super) fn seen_hostname(&self) -> String {
        self.hostname().or_else(|| self.joined_hostname.clone()).unwrap_or_else(host_name)
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
