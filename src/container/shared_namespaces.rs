//! Namespaces of other containers: `--network`, `--pid`, `--ipc`, `--uts` and `--cgroupns` with `container:NAME`.
//!
//! ```text
//! settle    at creation: replaces the container's name by its ID; the path in config.json is `container:ID`
//! plan      at each start: replaces the ID by a path below /proc of that container's process, which must run
//! ```
//!
//! If the other container shares a namespace with the host, so does the new container.
//!
//! **Network.** The host name is that of the other container at the creation. `/etc/hosts` and `/etc/resolv.conf` are
//! copies of that container's files, made at each start; docker shares the files themselves. The network helper belongs
//! to the container that made the network namespace. When that container ends, the others keep the namespace without
//! external connectivity, until they are started again. They cannot take over the helper as members of a pod do. Ports
//! and addresses belong to the other container, which gets them again at its next start.
//!
//! **PID namespace.** The end of its process 1 kills all its processes, including those of containers that have joined
//! it. The end of a container that has joined it kills only that container's processes (see `engine::keeper`).
//!
//! A container can be removed while others have joined its namespaces, as with docker: their next start fails.
//!
//! **Pods.** In the config.json of a member, the path is `pod:ID`. At each start `pods::plan` replaces it by the
//! namespaces of another member, or by new ones.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{Mode, OFlags};

use super::{Container, find_in, pods};
use crate::engine::{self, LaunchOptions, Plan, RunningContainer};
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::host::process_id::{self, ProcessId};
use crate::monitor::{pod, protocol};
use crate::net::GeneratedFile;
use crate::object_id::short;
use crate::spec::{self, ContainerOptions, IpcMode, JoinTarget, NamespaceSharing, NetworkMode};
use crate::sys::inroot;
use crate::userns::Base;

/// Size limit of a copied file, in bytes.
const LIMIT: u64 = 1 << 20;
/// Folder of POSIX shared memory, which belongs to the IPC namespace.
const SHARED_MEMORY: &str = "/dev/shm";

/// Kinds of namespaces that can be joined: their names in messages and in `/proc/PID/ns`.
const KINDS: [(LinuxNamespaceType, &str, &str); 5] = [
    (LinuxNamespaceType::Network, "network", "net"),
    (LinuxNamespaceType::Pid, "PID namespace", "pid"),
    (LinuxNamespaceType::Ipc, "IPC namespace", "ipc"),
    (LinuxNamespaceType::Uts, "UTS namespace", "uts"),
    (LinuxNamespaceType::Cgroup, "cgroup namespace", "cgroup"),
];

/// Requirement for the containers whose namespaces are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherContainers {
    /// All must run.
    MustRun,
    /// The plan is only checked: new namespaces replace those of a container that does not run.
    MayRun,
}

/// Resolves the options for joined namespaces: replaces names of containers by IDs, and namespaces that such a
/// container shares with the host by the host's. Errors: an unknown container; options that only the other container
/// can have.
pub(super) fn settle(store: &Path, options: &mut ContainerOptions) -> Result<()> {
    spec::refuse_joined(options)?;
    let own_name = options.name.clone();
    let settled = |setting: Setting, kind, sharing: NamespaceSharing| {
        let name = match &sharing {
            NamespaceSharing::Joined(JoinTarget::Container(name)) => name,
            NamespaceSharing::Joined(JoinTarget::Path(path)) if is_hosts(path, kind) => {
                return Ok(NamespaceSharing::Host);
            }
            _ => return Ok(sharing),
        };
        let settled = || {
            let container = find_in(store, name)?;
            if own_name.as_ref().is_some_and(|own| own.as_str() == container.record.name) {
                fail!(Invalid: "a container cannot join its own namespaces");
            }
            let spec = container.spec()?;
            if kind == LinuxNamespaceType::Ipc && !has_shared_memory(&spec) {
                fail!(Conflict: "container {name} has no shared memory to share: its IPC mode is none");
            }
            Ok(match has_own(&spec, kind) {
                true => {
                    NamespaceSharing::Joined(JoinTarget::Container(container.record.id.to_string()))
                }
                false => NamespaceSharing::Host,
            })
        };
        settled().context(|| setting.with(format!("container:{name}")))
    };
    let network = options.network().sharing();
    if let NamespaceSharing::Joined(_) = network {
        let network = settled(Setting::Network, LinuxNamespaceType::Network, network)?;
        options.network = vec![match network {
            NamespaceSharing::Joined(target) => NetworkMode::Joined(target),
            _ => NetworkMode::Host,
        }];
    }
    if let Some(mode @ IpcMode::Joined(_)) = &options.ipc {
        let ipc = settled(Setting::Ipc, LinuxNamespaceType::Ipc, mode.sharing())?;
        options.ipc = Some(match ipc {
            NamespaceSharing::Joined(target) => IpcMode::Joined(target),
            _ => IpcMode::Host,
        });
    }
    options.pid = Some(settled(Setting::Pid, LinuxNamespaceType::Pid, options.pid_sharing())?);
    options.uts = settled(Setting::Uts, LinuxNamespaceType::Uts, options.uts.clone())?;
    let cgroup = settled(Setting::Cgroupns, LinuxNamespaceType::Cgroup, options.cgroup_sharing());
    options.cgroupns = Some(cgroup?);
    Ok(())
}

/// Returns the host name that a container with these options gets from another container. `None`: it has its own.
pub(super) fn joined_hostname(store: &Path, options: &ContainerOptions) -> Result<Option<String>> {
    let of = |target: &JoinTarget| match target {
        JoinTarget::Container(id) => hostname(store, &find_in(store, id)?.spec()?).map(Some),
        // Members with a UTS namespace of their own have host names of their own.
        JoinTarget::Pod(id) if options.uts != NamespaceSharing::Private => {
            Ok(pod::open(store, id)?.map(|pod| pod.hostname))
        }
        JoinTarget::Pod(_) | JoinTarget::Path(_) => Ok(None),
    };
    match (&options.uts, options.network()) {
        (NamespaceSharing::Joined(target), _) => of(target),
        (NamespaceSharing::Private, NetworkMode::Joined(target)) => of(&target),
        _ => Ok(None),
    }
}

/// Returns the host name that the processes of a container see.
pub(super) fn hostname(store: &Path, spec: &Spec) -> Result<String> {
    if let Some(name) = spec.hostname() {
        return Ok(name.clone());
    }
    match joined(spec, LinuxNamespaceType::Uts) {
        Some(JoinTarget::Container(id)) => {
            let other =
                Container::open_recorded(store, &id)?.map(|other| other.spec()).transpose()?;
            other.map_or_else(|| Ok(process_id::host_name()), |other| hostname(store, &other))
        }
        Some(JoinTarget::Pod(id)) => {
            let pod = pod::open(store, &id)?;
            Ok(pod.map_or_else(process_id::host_name, |pod| pod.hostname))
        }
        _ => Ok(process_id::host_name()),
    }
}

/// Returns the owner of a namespace that a container joins; `None`: the namespace is its own, or the host's.
pub(super) fn joined(spec: &Spec, kind: LinuxNamespaceType) -> Option<JoinTarget> {
    let namespaces = spec.linux().as_ref()?.namespaces().as_ref()?;
    let namespace = namespaces.iter().find(|namespace| namespace.typ() == kind)?;
    namespace.path().as_deref().map(JoinTarget::of_path)
}

/// True if the path leads to the namespace of this process.
fn is_hosts(path: &Path, kind: LinuxNamespaceType) -> bool {
    let Some((.., file)) = KINDS.iter().find(|(one, ..)| *one == kind) else { return false };
    let identity = |path: &Path| {
        let stat = rustix::fs::stat(path).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let theirs = identity(path);
    theirs.is_some() && theirs == identity(&Path::new("/proc/self/ns").join(file))
}

fn has_own(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.is_some_and(|all| all.iter().any(|namespace| namespace.typ() == kind))
}

fn is_shared_memory(mount: &Mount) -> bool {
    mount.destination() == Path::new(SHARED_MEMORY)
}

fn has_shared_memory(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(is_shared_memory)
}

/// Plans the launch of `spec` with the current namespaces of other containers. Errors: such a container does not run; a
/// spec that cannot be launched.
pub(super) fn plan(
    store: &Path,
    spec: &Spec,
    base: Base,
    mut options: LaunchOptions,
    others: OtherContainers,
) -> Result<Plan> {
    let mut spec = spec.clone();
    // A spec still has a pod here only if the launch is merely checked or explained.
    pods::stopped(store, &mut spec)?;
    let asked = KINDS.iter().filter_map(|(kind, ..)| joined(&spec, *kind));
    if !asked.into_iter().any(|target| matches!(target, JoinTarget::Container(_))) {
        return Ok(sharing_images(engine::plan(&spec, base, options)?, store, others));
    }
    let mut found: Vec<RunningTarget> = Vec::new();
    for (kind, word, file) in KINDS {
        let Some(JoinTarget::Container(id)) = joined(&spec, kind) else { continue };
        let target = match found.iter().find(|target| target.id == id) {
            Some(target) => target,
            None => match RunningTarget::find(store, &id, word) {
                Ok(target) => {
                    found.push(target);
                    &found[found.len() - 1]
                }
                Err(_) if others == OtherContainers::MayRun => {
                    set_path(&mut spec, kind, None);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        set_path(&mut spec, kind, Some(format!("/proc/{}/ns/{file}", target.running.pid()).into()));
        match kind {
            LinuxNamespaceType::Network => target.copy_files(&mut options.network.files),
            LinuxNamespaceType::Ipc => {
                set_shared_memory(
                    &mut spec,
                    &format!("/proc/{}/root{SHARED_MEMORY}", target.running.pid()),
                );
            }
            _ => {}
        }
    }
    let plan = engine::plan(&spec, base, options)?;
    // The plan has opened the namespaces. If the process still lives, they are those of its container.
    match found.iter().find(|target| !target.process.lives()) {
        Some(target) => fail!(Conflict: "container {} has just ended", target.name),
        None => Ok(sharing_images(plan, store, others)),
    }
}

/// Lets the container share the servers of its images, if the plan is to be carried out.
fn sharing_images(mut plan: Plan, store: &Path, others: OtherContainers) -> Plan {
    if others == OtherContainers::MustRun && plan.images().next().is_some() {
        plan.options.image_servers = protocol::folder(store).ok();
    }
    plan
}

/// Sets the path of a namespace; `None`: a new namespace. A new IPC namespace loses the other container's /dev/shm.
fn set_path(spec: &mut Spec, kind: LinuxNamespaceType, path: Option<PathBuf>) {
    if kind == LinuxNamespaceType::Ipc && path.is_none() {
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        mounts.retain(|mount| !is_shared_memory(mount));
        spec.set_mounts(Some(mounts));
    }
    change_path(spec, kind, path);
}

fn change_path(spec: &mut Spec, kind: LinuxNamespaceType, path: Option<PathBuf>) {
    let Some(mut linux) = spec.linux().clone() else { return };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    for namespace in namespaces.iter_mut().filter(|namespace| namespace.typ() == kind) {
        namespace.set_path(path.clone());
    }
    linux.set_namespaces(Some(namespaces));
    spec.set_linux(Some(linux));
}

/// Replaces `pod:ID` in a spec by `path`; `None`: by new namespaces.
pub(super) fn replace_pod(spec: &mut Spec, id: &str, path: Option<&Path>) {
    let pod = JoinTarget::Pod(id.to_owned());
    for (kind, ..) in KINDS {
        if joined(spec, kind).as_ref() == Some(&pod) {
            change_path(spec, kind, path.map(Path::to_owned));
        }
    }
    let is_pods = |mount: &Mount| {
        let source = mount.source().as_deref().map(JoinTarget::of_path);
        is_shared_memory(mount) && source.as_ref() == Some(&pod)
    };
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    match path {
        Some(path) => {
            let shared = mounts.iter_mut().filter(|mount| is_pods(mount));
            for mount in shared {
                mount.set_source(Some(path.to_owned()));
            }
        }
        None => mounts.retain(|mount| !is_pods(mount)),
    }
    spec.set_mounts(Some(mounts));
}

/// Adds a /dev/shm of `bytes`, unless an option mounts something else there.
pub(super) fn make_shared_memory(spec: &mut Spec, bytes: Option<u64>) -> Result<()> {
    if has_shared_memory(spec) {
        return Ok(());
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let at = mounts.iter().position(|mount| mount.destination().starts_with(SHARED_MEMORY));
    let mount = spec::shared_memory(bytes)?;
    mounts.insert(at.unwrap_or(mounts.len()), mount);
    spec.set_mounts(Some(mounts));
    Ok(())
}

/// Sets the source of the mount for the other container's /dev/shm, unless an option mounts something else there.
fn set_shared_memory(spec: &mut Spec, source: &str) {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in mounts.iter_mut().filter(|mount| is_shared_memory(mount)) {
        let target = mount.source().as_deref().map(JoinTarget::of_path);
        if matches!(target, Some(JoinTarget::Container(_))) {
            mount.set_source(Some(source.into()));
        }
    }
    spec.set_mounts(Some(mounts));
}

/// Running container whose namespaces are joined.
struct RunningTarget {
    id: String,
    name: String,
    /// First process of the container.
    process: ProcessId,
    /// Process whose namespaces can be opened: with `--init`, not the first process.
    running: RunningContainer,
}

impl RunningTarget {
    /// Finds the container. `kind`: namespace to join, for messages. Errors: the container was removed, or does not run
    /// on this machine.
    fn find(store: &Path, id: &str, kind: &str) -> Result<Self> {
        let container = Container::open_recorded(store, id)?.ok_or_else(|| {
            Error::not_found(format!("cannot join {kind}: container {} is gone", short(id)))
        })?;
        let name = container.record.name.clone();
        let status = container.status_here()?;
        let Some(state) = status.state().filter(|_| status.is_running()) else {
            return Err(Error::conflict(format!(
                "cannot join {kind} of a non running container: {name} is {}",
                status.word()
            ))
            .hint(format!("usnea start {name}")));
        };
        let ended = || Error::conflict(format!("container {name} has just ended"));
        let pidfd = state.process.open().ok_or_else(ended)?;
        let spec = container.spec()?;
        let process = state.process;
        let running = RunningContainer::of(pidfd, process.pid, &spec, state.cgroup.clone());
        let running = running.context(|| format!("container {name}"))?;
        Ok(Self { id: id.to_owned(), name, process, running })
    }

    /// Replaces the content of the generated files, such as /etc/hosts, by that of the container's own files.
    fn copy_files(&self, files: &mut [GeneratedFile]) {
        let paths: Vec<_> = files.iter().map(|file| file.path).collect();
        let read = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open("/", flags, Mode::empty()).context(|| "its root")?;
            let text = |path: &&str| {
                let bytes = inroot::read(&root, Path::new(path), LIMIT).ok()?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            };
            Ok(paths.iter().map(text).collect::<Vec<_>>())
        };
        // In the container's namespaces: other processes may not access a root that a FUSE server provides.
        match self.running.inside(read) {
            Ok(texts) => {
                for (file, text) in files.iter_mut().zip(texts) {
                    file.content = text.unwrap_or_else(|| std::mem::take(&mut file.content));
                }
            }
            Err(error) => log::debug!("the files of {}: {error}", self.name),
        }
    }
}
