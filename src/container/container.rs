//! Stored containers: each has a folder `containers/ID` in the store, from `create` to `rm`.
//!
//! ```text
//! container.json config.json    the record, and the spec that was made from it
//! state.json exit.json stopped  see `monitor::record`
//! log log.1 ...                 see `monitor::log`
//! image                         symbolic link to the manifest of its image, which is thereby in use (`image::store`)
//! upper/ work/                  the writable layer, and the work folder of overlayfs
//! ```
//!
//! A command that starts or removes a container has the exclusive lock on its folder; its monitor holds the lock while
//! the container runs. Reading needs no lock. Names are symbolic links (`names`).

use std::fs::File;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::folder::Folder;
use super::foreground;
use super::names::{self, Names};
use super::usnea::Usnea;
use crate::engine::BundleIdentity;
use crate::error::{Context, Error, Result};
use crate::files::LockAttempt;
use crate::hint;
use crate::monitor::Status;
use crate::monitor::record::{self, CONFIG, CONTAINER, Record};
use crate::object_id::ContainerId;
use crate::spec;

/// Container of a store.
#[derive(Clone, Debug)]
pub struct Container {
    /// Path of the store that has the container.
    pub store: PathBuf,
    /// Folder of the container.
    pub folder: PathBuf,
    /// Settings of the container.
    pub record: Record,
}

impl Container {
    /// Returns the container's identity in the state of the OCI specification.
    pub(super) fn identity(&self) -> BundleIdentity {
        BundleIdentity::of_container(&self.record.id, self.folder.clone())
    }

    /// Returns the container's spec. Errors: a missing or damaged spec.
    pub fn spec(&self) -> Result<Spec> {
        let absent = || Error::new(format!("container {} has no {CONFIG}", self.short_id()));
        self.spec_if_any()?.ok_or_else(absent)
    }

    /// Returns the container's spec; `None`: a missing spec. Replaces the store's path in it by the current one: a home
    /// directory may have another path on another machine.
    pub fn spec_if_any(&self) -> Result<Option<Spec>> {
        let spec = record::read::<Spec>(&self.folder, CONFIG)?;
        Ok(spec.map(|mut spec| {
            if let Some(before) = self.store_of(&spec).filter(|before| *before != self.store) {
                spec::move_paths(&mut spec, &before, &self.store);
            }
            spec
        }))
    }

    /// Returns the path that the store had when the spec was written, derived from the path of the writable layer.
    fn store_of(&self, spec: &Spec) -> Option<PathBuf> {
        let inside = Path::new("containers").join(&self.record.id).join("upper");
        let upper =
            spec::layer_folders(spec).into_iter().find(|folder| folder.ends_with(&inside))?;
        upper.ancestors().nth(inside.iter().count()).map(Path::to_owned)
    }
}

/// The error for verbs that need a running container; hints at `start`.
pub(super) fn not_running(container: &Container, status: &Status, start: &str) -> Error {
    let name = &container.record.name;
    let start = if matches!(status, Status::Paused(_)) { "unpause" } else { start };
    Error::not_running(format!("container {name} is not running: it is {}", status.word()))
        .hint(format!("usnea {start} {name}"))
}

pub(super) fn elsewhere(name: &str, host: &str) -> Error {
    use crate::host::process_id::host_name;
    if host == host_name() {
        return Error::conflict(format!(
            "container {name} runs in another PID namespace of {host}"
        ))
        .hint("use the command where the container was started");
    }
    Error::conflict(format!("container {name} runs on {host}")).hint(hint::OTHER_HOST)
}

/// Outcome of locking a container's folder.
pub(super) enum Hold {
    /// The lock; on a file system without locks, a container that does not run.
    Ours(File),
    /// Another process has the lock: the container runs, or another command starts or removes it.
    Others,
    /// No folder: the container was removed.
    Gone,
}

impl Container {
    /// Opens the container with this ID. `None`: no such container. Errors: a damaged record.
    pub fn open(store: &Path, id: &ContainerId) -> Result<Option<Self>> {
        let folder = store.join("containers").join(id);
        let mut folder = folder;
        let mut record = record::read(&folder, CONTAINER)?;
        if record.is_none()
            && let Some(shown) = foreground::folder(store, id)
        {
            record = record::read(&shown, CONTAINER)?;
            folder = shown;
        }
        Ok(record.map(|record| Self { store: store.to_owned(), folder, record }))
    }

    /// Opens the container whose ID is the text `id` of a record. `None`: no such container, or no ID.
    pub(super) fn open_recorded(store: &Path, id: &str) -> Result<Option<Self>> {
        id.parse().map_or(Ok(None), |id| Self::open(store, &id))
    }

    /// Returns the container's current status.
    pub fn status(&self) -> Result<Status> {
        Status::of(&self.folder)
    }

    /// Returns the current status, for operations that are only possible on the machine on which the container runs.
    /// Errors: the container runs on another machine.
    pub fn status_here(&self) -> Result<Status> {
        let status = self.status()?;
        match status.elsewhere() {
            Some(host) => Err(elsewhere(&self.record.name, host)),
            None => Ok(status),
        }
    }

    /// Takes the lock, without waiting.
    pub(super) fn try_lock(&self) -> Result<Hold> {
        try_lock(&self.folder)
    }

    /// Returns the short ID: the first 12 digits.
    pub fn short_id(&self) -> &str {
        self.record.id.short()
    }
}

pub(super) fn try_lock(folder: &Path) -> Result<Hold> {
    match crate::files::grip(folder) {
        Ok(LockAttempt::Ours(lock)) => Ok(Hold::Ours(lock)),
        Ok(LockAttempt::Held) => Ok(Hold::Others),
        Ok(LockAttempt::Gone) => Ok(Hold::Gone),
        // A file system without locks: the state file tells whether the container runs.
        Err(error) => {
            log::debug!("{}: {error}", folder.display());
            if Status::of(folder)?.state().is_some() {
                return Ok(Hold::Others);
            }
            let file = File::open(folder);
            Ok(Hold::Ours(file.context(|| format!("cannot lock {}", folder.display()))?))
        }
    }
}

/// Returns the IDs of all containers of a store.
pub fn ids(store: &Path) -> Result<Vec<ContainerId>> {
    let folder = store.join("containers");
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(foreground::ids(store));
        }
        answer => answer.context(|| format!("cannot list {}", folder.display()))?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.context(|| format!("cannot list {}", folder.display()))?;
        ids.extend(entry.file_name().into_string().ok().and_then(|name| name.try_into().ok()));
    }
    ids.extend(foreground::ids(store));
    Ok(ids)
}

/// Returns all containers, the newest first. Leaves out a container with a damaged record, with a warning.
pub fn all(usnea: &Usnea) -> Result<Vec<Container>> {
    all_in(usnea.store()?)
}

/// Same as [`all`], for the store in the folder `store`.
pub(super) fn all_in(store: &Path) -> Result<Vec<Container>> {
    let mut all = Vec::new();
    for id in ids(store)? {
        match Container::open(store, &id) {
            Ok(container) => all.extend(container),
            Err(error) => {
                log::warn!("container {0}: {error}; 'usnea rm -f {0}' removes it", id.short());
            }
        }
    }
    all.sort_by(|a, b| b.record.created.cmp(&a.record.created).then(a.record.id.cmp(&b.record.id)));
    Ok(all)
}

/// Returns the IDs of containers with a damaged record.
pub fn damaged(usnea: &Usnea) -> Result<Vec<ContainerId>> {
    let store = usnea.store()?;
    let mut ids = ids(store)?;
    ids.retain(|id| Container::open(store, id).is_err());
    Ok(ids)
}

/// Returns the ID of the container that `text` names: its full ID, its name, or a prefix of its ID. Errors: no
/// container, or several.
pub fn find_id(usnea: &Usnea, text: &str) -> Result<ContainerId> {
    find_id_in(usnea.store()?, text)
}

/// Same as [`find_id`], for the store in the folder `store`.
pub(super) fn find_id_in(store: &Path, text: &str) -> Result<ContainerId> {
    let there = |id: &ContainerId| {
        store.join("containers").join(id).is_dir() || foreground::folder(store, id).is_some()
    };
    if let Some(id) = text.parse().ok().filter(there) {
        return Ok(id);
    }
    let is_name = text.parse::<crate::spec::ContainerName>().is_ok();
    if is_name
        && let Some(id) = names::find(store, text).and_then(|id| id.try_into().ok()).filter(there)
    {
        return Ok(id);
    }
    if is_name && let Some(id) = foreground::find(store, text) {
        return Ok(id);
    }
    let none = || Error::not_found(format!("no container is called '{}'", text.escape_debug()));
    if text.is_empty() {
        return Err(none());
    }
    let mut found = ids(store)?;
    found.retain(|id| id.starts_with(text));
    match found.len() {
        0 => Err(none()).hint(|| hint::LIST_CONTAINERS),
        1 => Ok(found.remove(0)),
        count => {
            Err(Error::conflict(format!("{count} containers have an ID that begins with {text}"))
                .hint("give more digits"))
        }
    }
}

/// Returns the container that `text` names, as [`find_id`].
pub fn find(usnea: &Usnea, text: &str) -> Result<Container> {
    find_in(usnea.store()?, text)
}

/// Same as [`find`], for the store in the folder `store`.
pub(super) fn find_in(store: &Path, text: &str) -> Result<Container> {
    let id = find_id_in(store, text)?;
    let gone = || Error::not_found(format!("container {} is gone, or was never whole", id.short()));
    Container::open(store, &id)?.ok_or_else(gone).hint(|| hint::remove_by_force(id.short()))
}

/// Moves a container's folder away for removal, and frees its name. The caller removes the returned folder.
pub(super) fn move_to_tmp(
    store: &Path,
    id: &ContainerId,
    name: Option<&str>,
    lock: File,
) -> Result<Folder> {
    let names = Names::lock(store)?;
    let folder = Folder::move_to_tmp(store, &store.join("containers").join(id), lock)?;
    if let Some(name) = name {
        names.release(name, id);
    }
    Ok(folder)
}

/// Returns the disk space of the container's folder, in bytes; without folders that only others may read.
pub fn size(container: &Container) -> u64 {
    folder_size(&container.folder)
}

/// Returns the disk space of a folder, in bytes.
pub(super) fn folder_size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

/// Returns the process IDs of a running container, as this process sees them. These are the members of its PID
/// namespace; with `--pid host`, the descendants of its first process. Of a shared PID namespace, the processes with
/// the container's own mount namespace.
pub(super) fn processes(state: &record::State) -> Vec<i32> {
    let first = state.process.pid;
    let own = namespace(std::process::id() as i32, "pid");
    let of_it = namespace(first, "pid");
    if of_it.is_none() || of_it == own {
        return descendants(first);
    }
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Links to namespaces of other users' processes cannot be read; those processes are found as descendants.
    let mut within: Vec<i32> = numbers.filter(|pid| namespace(*pid, "pid") == of_it).collect();
    retain_own(first, &mut within);
    within.extend(descendants(first));
    within.sort_unstable();
    within.dedup();
    within
}

/// Leaves out members of a PID namespace that belong to other containers. usnea has started each process whose parent
/// is outside. If such a process has another mount namespace, all processes there belong to another container. A
/// container that has joined the PID namespace is identified by its mount namespace alone.
fn retain_own(first: i32, within: &mut Vec<i32>) {
    let mounts = namespace(first, "mnt");
    if inner_pid(first) != Some(1) {
        within.retain(|pid| namespace(*pid, "mnt") == mounts);
        return;
    }
    let is_put = |pid: &&i32| parent(**pid).is_none_or(|parent| !within.contains(&parent));
    let others = within.iter().filter(is_put).filter_map(|pid| namespace(*pid, "mnt"));
    let others: Vec<_> = others.filter(|other| Some(other) != mounts.as_ref()).collect();
    within.retain(|pid| namespace(*pid, "mnt").is_none_or(|its| !others.contains(&its)));
}

fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// Returns a process's PID in its own PID namespace (proc_pid_status(5), NSpid).
fn inner_pid(pid: i32) -> Option<i32> {
    status_line(pid, "NSpid:")?.split_whitespace().last()?.parse().ok()
}

fn parent(pid: i32) -> Option<i32> {
    status_line(pid, "PPid:")?.trim().parse().ok()
}

fn status_line(pid: i32, key: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key).map(str::to_owned))
}

fn descendants(first: i32) -> Vec<i32> {
    let mut all = vec![first];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        at += 1;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    all
}
