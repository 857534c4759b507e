//! Plan of a launch: the steps and their inputs, as data. Planning changes nothing on the system.

pub mod bundle;
pub mod config_checks;
pub mod devices;
pub mod from_spec;
pub mod mount;
pub mod namespace;
pub mod notify;
pub mod process;
pub mod process_steps;
pub mod root_steps;
pub mod running;
pub mod scheduling;
pub mod secrets;
pub mod sockets;
pub mod step;

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::cgroup;
use crate::engine::hooks::{BundleIdentity, Hooks};
use crate::engine::streams::Stdin;
use crate::ids::{BaseIds, ContainerIds, IdPair, Map};
use crate::layer::LowerLayer;
use crate::layer::squashfs::ImageFile;
use crate::net::Network;
use crate::readiness::NotifyRequest;
use crate::spec::Stacking;
use crate::sys::namespace::Namespaces;
use crate::userns::Levels;
use mount::{MountSource, PlannedMount};
use namespace::NamespacesToJoin;
use secrets::LaunchSecrets;
use sockets::ListenSockets;
use step::{MemoryLayers, Step};

/// Launch of a container: all decisions made before the first process.
#[derive(Debug)]
pub struct Plan {
    /// User namespaces: base, and the container's own, if any.
    pub levels: Levels,
    /// Steps, in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// Options that config.json cannot express.
    pub options: LaunchOptions,
    /// Hooks of the config.
    pub hooks: Hooks,
}

/// Runtime options that config.json cannot express.
#[derive(Clone, Debug, Default)]
pub struct LaunchOptions {
    /// Writable layers of the overlays, in memory; `None`: their folders exist already.
    pub layers: Option<MemoryLayers>,
    /// Source of the command's standard input.
    pub stdin: Stdin,
    /// Number of descriptors from 3 on that the command inherits (`--preserve-fds`).
    pub preserve_fds: u32,
    /// Numbers of further descriptors that the command inherits (`--preserve-fd`).
    pub preserve_fd: Vec<u32>,
    /// Sockets of socket activation, the first of those descriptors.
    pub sockets: Option<ListenSockets>,
    /// Network helpers, and files such as `/etc/resolv.conf`.
    pub network: Network,
    /// Moment at which the command may run.
    pub begin: StartTrigger,
    /// Identity for the state that hooks and a seccomp agent get.
    pub container: BundleIdentity,
    /// Readiness notification to the service manager; `None`: no service manager waits.
    pub notify: Option<NotifyRequest>,
    /// FIFO at which the command waits ([`StartTrigger::AtFifo`]), open for reading and writing.
    pub fifo: Option<Arc<OwnedFd>>,
    /// Secrets of the container.
    pub secrets: LaunchSecrets,
    /// Lifetime of the container.
    pub lifetime: Lifetime,
    /// Session keyring of the command.
    pub keyring: SessionKeyring,
    /// System call that changes the root to the container's.
    pub root_change: RootChange,
    /// Runtime folder, through which containers share the servers of images; `None`: each has its own.
    pub image_servers: Option<PathBuf>,
}

impl LaunchOptions {
    /// Numbers of the descriptors after 2 that the command inherits.
    pub fn passed(&self) -> impl Iterator<Item = RawFd> {
        let named = self.preserve_fd.iter().map(|number| *number as RawFd);
        (3..self.first_other()).chain(named)
    }

    /// Number after the last inherited descriptor in the sequence from 3 on.
    pub fn first_other(&self) -> RawFd {
        let sockets = self.sockets.as_ref().map_or(3, |sockets| sockets.numbers().end);
        sockets.max(3 + self.preserve_fds as RawFd)
    }
}

/// Lifetime of a container, relative to the process that launches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Ends with that process.
    #[default]
    BoundToParent,
    /// Outlives that process, without any process of usnea beside the container.
    Independent,
}

/// Session keyring of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionKeyring {
    /// New and empty.
    #[default]
    New,
    /// Keyring of the caller.
    Callers,
}

/// System call that changes the root to the container's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootChange {
    /// pivot_root(2), which detaches the old root.
    #[default]
    Pivot,
    /// chroot(2): for a host whose root is a ramfs, from which the kernel allows no pivot_root(2).
    Chroot,
}

/// Moment at which a command may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartTrigger {
    /// As soon as the container is set up.
    #[default]
    AtOnce,
    /// When the caller starts the created container.
    AtStart,
    /// When a byte arrives in the FIFO of the options. The launch returns earlier, while the command waits.
    AtFifo,
    /// Never: the container's process holds the namespaces for the commands of a group (`group`).
    Never,
}

impl Plan {
    /// Returns the cgroup to make.
    pub(super) fn cgroup(&self) -> Option<&cgroup::CgroupRequest> {
        self.steps.iter().find_map(|step| match step {
            Step::Cgroup(wanted, _) => Some(wanted),
            _ => None,
        })
    }

    /// Returns the namespaces of the first process.
    pub(super) fn first_namespaces(&self) -> Namespaces {
        let namespaces = self.steps.iter().find_map(|step| match step {
            Step::Namespaces(namespaces) => Some(*namespaces),
            _ => None,
        });
        namespaces.unwrap_or_default()
    }

    /// True if all other processes of the container end with the command. In its own PID namespace the kernel kills
    /// them, in a joined one the keeper does.
    pub(super) fn owns_pid_namespace(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Namespaces(namespaces) | Step::Container(namespaces, _) => {
                namespaces.contains(Namespaces::PID)
            }
            Step::JoinNamespaces(join) => join.contains(Namespaces::PID),
            _ => false,
        })
    }

    /// True if base is that of another container, whose maps are written already.
    pub(super) fn joins_base(&self) -> bool {
        self.joined().is_some()
    }

    /// Returns the namespaces of other containers to enter, and their base.
    pub(super) fn joined(&self) -> Option<&NamespacesToJoin> {
        self.steps.iter().find_map(|step| match step {
            Step::JoinNamespaces(join) => Some(join),
            _ => None,
        })
    }

    /// Images that the launch mounts.
    pub fn images(&self) -> impl Iterator<Item = &ImageFile> {
        let mounts = self.steps.iter().filter_map(|step| match step {
            Step::Root(mount) | Step::Mount(mount) => Some(mount),
            _ => None,
        });
        mounts.flat_map(PlannedMount::images)
    }

    /// Keeps the files of images open that are open in `layers`, for the launch.
    pub fn hold_images(&mut self, layers: &[LowerLayer]) {
        for step in &mut self.steps {
            let Step::Root(PlannedMount { source: MountSource::Overlay { lowers, .. }, .. }) = step
            else {
                continue;
            };
            for lower in lowers.iter_mut().filter(|lower| lower.image().is_some()) {
                if let Some(layer) = layers.iter().find(|layer| *layer == lower) {
                    *lower = layer.clone();
                }
            }
        }
    }

    /// True if the command waits for the caller once the container is set up.
    pub(super) fn is_held(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Hold | Step::HoldAtFifo))
    }

    /// True if the command has a terminal of its own.
    pub(super) fn has_terminal(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Terminal(_)))
    }

    /// True if the container's process is a child of the first one.
    pub(super) fn has_keeper(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Container(..)))
    }

    /// Returns the IDs in base of the container's root. `None`: the container has no root.
    pub(super) fn root_in_base(&self) -> Option<IdPair<BaseIds>> {
        self.in_base(IdPair::new(0, 0))
    }

    /// Returns the IDs in base of the container's first user and group: they can make files in a root whose layers are
    /// ID-mapped (`idmapped`). `None`: base's root can.
    pub(super) fn owner_of_layers(&self, stacking: Stacking) -> Option<IdPair<BaseIds>> {
        let first = |map: &Map<ContainerIds, BaseIds>| map.first().map(|line| line.outside);
        let maps = self.levels.container.as_ref().filter(|_| stacking.idmapped)?;
        Some(IdPair::new(first(&maps.uids)?, first(&maps.gids)?))
    }

    /// Returns the user and group of the command, as IDs in base.
    pub fn user_in_base(&self) -> Option<IdPair<BaseIds>> {
        let who = self.steps.iter().find_map(|step| match step {
            Step::Credentials(who) => Some(IdPair::new(who.uid, who.gid)),
            _ => None,
        })?;
        self.in_base(who)
    }

    fn in_base(&self, who: IdPair<ContainerIds>) -> Option<IdPair<BaseIds>> {
        match &self.levels.container {
            // The container's user namespace is base itself.
            None => Some(IdPair::new(who.uid.number(), who.gid.number())),
            Some(maps) => maps.outside_of(who),
        }
    }
}
