//! Namespaces of a container: new ones, those of another container, and the host's.
//!
//! Entering a namespace needs CAP_SYS_ADMIN in the user namespace that owns it (setns(2)). A user gets that capability
//! for another container by entering that container's base. So the launch enters that base instead of making one, then
//! the namespaces, and makes the container there. Both containers then share one base, which must have all IDs of the
//! new container. If the new container maps them differently, it gets a user namespace of its own below.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::ids::{BaseIds, HostIds, IdMaps};
use crate::sys::namespace::{self, Namespaces};
use crate::userns::{self, Levels};

/// Namespace of a container, of one kind.
#[derive(Debug)]
pub enum Namespace {
    /// Made for the container.
    New,
    /// Existing namespace, which the launch enters.
    Join(JoinedNamespace),
    /// The host's.
    Host,
}

/// Namespace to enter, opened by the planner.
#[derive(Debug)]
pub struct JoinedNamespace {
    /// Path in config.json.
    pub path: PathBuf,
    /// Kind of the namespace.
    pub kind: Namespaces,
    /// Descriptor of the namespace.
    pub namespace: OwnedFd,
}

/// Order in which namespaces are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOrder {
    /// Base first: the other namespaces belong to it.
    BaseFirst,
    /// First the namespaces that this process may enter, then base, then the rest.
    AsAllowed,
}

/// Namespaces of a container, one of each kind.
#[derive(Debug)]
pub struct ContainerNamespaces(Vec<(Namespaces, Namespace)>);

/// Namespaces to enter, and the user namespace (base) from which that is possible.
#[derive(Debug)]
pub struct NamespacesToJoin {
    /// User namespace to enter; `None`: this process's own.
    pub base: Option<OwnedFd>,
    /// Maps of that user namespace.
    pub maps: IdMaps<BaseIds, HostIds>,
    /// Order of entering.
    pub order: JoinOrder,
    /// Namespaces to enter.
    pub namespaces: Vec<JoinedNamespace>,
    /// New namespaces that the base process makes, instead of the container's process. A network helper enters a
    /// network namespace through /proc of a process in it. In a joined PID namespace that process cannot be the
    /// container's, which is hidden.
    pub made_in_base: Namespaces,
}

impl ContainerNamespaces {
    /// Reads the namespaces of a config. Errors: a path that leads to no namespace of its kind.
    pub fn of_config(spec: &Spec) -> Result<Self> {
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let mut all: Vec<_> =
            Namespaces::ALL.iter().map(|(kind, ..)| (*kind, Namespace::Host)).collect();
        for asked in list.into_iter().flatten() {
            let kind = kind_of(asked.typ());
            let namespace = match asked.path() {
                Some(path) => open(path, kind)?,
                None => Namespace::New,
            };
            all.retain(|(other, _)| *other != kind);
            all.push((kind, namespace));
        }
        let all = Self(all);
        if !all.new_ones().contains(Namespaces::MOUNT) {
            fail!("config.json: a container needs a mount namespace");
        }
        Ok(all)
    }

    /// Set of the new namespaces.
    pub fn new_ones(&self) -> Namespaces {
        let new = self.0.iter().filter(|(_, namespace)| matches!(namespace, Namespace::New));
        new.fold(Namespaces::default(), |all, (kind, _)| all.with(*kind))
    }

    /// Returns the namespaces to enter; `None`: none. `new`: the namespaces that are made. Errors: a namespace that
    /// this user cannot enter.
    pub fn into_joined(self, new: Namespaces) -> Result<Option<NamespacesToJoin>> {
        let joined = self.0.into_iter().filter_map(|(_, namespace)| match namespace {
            Namespace::Join(joined) => Some(joined),
            Namespace::New | Namespace::Host => None,
        });
        let joined: Vec<_> = joined.collect();
        if let Some(user) = joined.iter().find(|joined| joined.kind == Namespaces::USER) {
            let shown = user.path.display();
            fail!("config.json: joining the user namespace {shown} cannot be applied");
        }
        let Some(first) = joined.first() else { return Ok(None) };
        let base_fd = base_of(first)?;
        for other in &joined[1..] {
            if !is_same(&base_of(other)?, &base_fd)? {
                let (one, other) = (first.path.display(), other.path.display());
                fail!(
                    "config.json: the namespaces {one} and {other} belong to different user namespaces"
                );
            }
        }
        let maps = userns::maps_in(base_fd.as_fd())?;
        let is_hidden = joined.iter().any(|joined| joined.kind == Namespaces::PID);
        let made_in_base = match is_hidden {
            true => new.both(Namespaces::NET),
            false => Namespaces::default(),
        };
        let (base, order) = (Some(base_fd), JoinOrder::BaseFirst);
        Ok(Some(NamespacesToJoin { base, maps, order, namespaces: joined, made_in_base }))
    }

    /// Returns the user namespace of the config.
    pub fn user(&self) -> &Namespace {
        let user = self.0.iter().find(|(kind, _)| *kind == Namespaces::USER);
        user.map_or(&Namespace::Host, |(_, namespace)| namespace)
    }

    /// Returns the namespaces to enter for a process that may enter them directly, or after it has entered the user
    /// namespace of the config. `None`: none. `maps`: those of that user namespace.
    pub fn into_joined_from_here(
        self,
        maps: &IdMaps<BaseIds, HostIds>,
    ) -> Option<NamespacesToJoin> {
        let (mut namespaces, mut base) = (Vec::new(), None);
        for (kind, namespace) in self.0 {
            match namespace {
                Namespace::Join(joined) if kind == Namespaces::USER => {
                    base = Some(joined.namespace)
                }
                Namespace::Join(joined) => namespaces.push(joined),
                Namespace::New | Namespace::Host => {}
            }
        }
        (base.is_some() || !namespaces.is_empty()).then(|| NamespacesToJoin {
            base,
            maps: maps.clone(),
            order: JoinOrder::AsAllowed,
            namespaces,
            made_in_base: Namespaces::default(),
        })
    }
}

impl NamespacesToJoin {
    /// Kinds of the namespaces.
    pub fn kinds(&self) -> Namespaces {
        let kinds = self.namespaces.iter().map(|joined| joined.kind);
        kinds.fold(Namespaces::default(), Namespaces::with)
    }

    /// Returns the levels of a container in this base. Errors: base lacks IDs of the container.
    pub fn levels(&self, levels: Levels) -> Result<Levels> {
        levels.within(&self.maps).ok_or_else(|| {
            let path = self.namespaces.first().map(|first| first.path.display().to_string());
            let path = path.unwrap_or_default();
            Error::refused(format!(
                "config.json: the namespace {path} belongs to a container with other IDs"
            ))
        })
    }

    /// True if a namespace of this kind is entered.
    pub fn contains(&self, kind: Namespaces) -> bool {
        self.namespaces.iter().any(|joined| joined.kind == kind)
    }
}

fn kind_of(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NET,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

fn open(path: &Path, kind: Namespaces) -> Result<Namespace> {
    let shown = path.display();
    if kind == Namespaces::MOUNT {
        fail!("config.json: joining the mount namespace {shown} cannot be applied");
    }
    let cannot = || format!("config.json: cannot join the namespace {}", path.display());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(path, flags, Mode::empty()).context(cannot)?;
    if namespace::kind(namespace.as_fd()).ok() != Some(kind) {
        fail!("config.json: {shown} is no namespace of that type");
    }
    let name =
        Namespaces::ALL.iter().find(|(one, ..)| *one == kind).map_or("", |(_, name, _)| name);
    let ours = rustix::fs::open(format!("/proc/self/ns/{name}"), flags, Mode::empty());
    if is_same(&ours.context(cannot)?, &namespace)? {
        return Ok(Namespace::Host);
    }
    Ok(Namespace::Join(JoinedNamespace { path: path.to_owned(), kind, namespace }))
}

/// Returns the child of this process's user namespace that owns the namespace, directly or through descendants.
fn base_of(joined: &JoinedNamespace) -> Result<OwnedFd> {
    let path = joined.path.display();
    let foreign = |_| {
        Error::new(format!(
            "config.json: the namespace {path} does not belong to a container of yours"
        ))
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let ours = rustix::fs::open("/proc/self/ns/user", flags, Mode::empty());
    let ours = ours.context(|| "/proc/self/ns/user")?;
    let mut owner = namespace::owner(joined.namespace.as_fd()).map_err(foreign)?;
    if is_same(&owner, &ours)? {
        fail!("config.json: the namespace {path} is the host's, which no container can enter");
    }
    loop {
        let parent = namespace::owner(owner.as_fd()).map_err(foreign)?;
        if is_same(&parent, &ours)? {
            return Ok(owner);
        }
        owner = parent;
    }
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> Result<bool> {
    namespace::is_same(one, other).context(|| "cannot stat a namespace")
}
