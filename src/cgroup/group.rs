//! A container's cgroup: creation, queries, freezing, removal.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::limits::{CgroupLimits, CgroupSetting};
use super::placement::{self, CgroupPlacement, CgroupRequest, WATCHERS};
use super::systemd::SystemdManager;
use crate::error::{Context, Error, Result};
use crate::host::cgroup::CONTROLLERS;

/// Time limit for the last process of a group to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Suffix of the group of a container's supervisors.
pub(super) const CALLS: &str = ".calls";
/// Limits of a container that apply to its supervisors too.
const OF_SUPERVISORS: [&str; 5] =
    ["memory.max", "memory.swap.max", "cpu.max", "cpuset.cpus", "cpuset.mems"];

/// Levels of groups that a container may make below its own (cgroup.max.depth). Paths of all groups then fit into
/// PATH_MAX, so that all can be removed.
const DEEPEST: &str = "12";

/// Cgroup of a container, locked by this process.
#[derive(Debug)]
pub struct ContainerCgroup {
    folder: PathBuf,
    /// Open folder of the group, locked so that a sweep leaves it alone.
    file: File,
}

impl ContainerCgroup {
    /// Creates the group. If systemd must be asked, this process is in a scope of its own afterwards, with the group in
    /// that scope. `None`: the group cannot be created, and no limits are set. Errors: a limit cannot be set.
    pub fn make(request: &CgroupRequest) -> Result<Option<Self>> {
        match Self::try_make(request) {
            Ok(group) => Ok(Some(group)),
            Err(error) if request.limits.are_none() => {
                log::debug!("no cgroup: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn try_make(request: &CgroupRequest) -> Result<Self> {
        let home = match &request.placement {
            CgroupPlacement::Folder(folder) => folder.clone(),
            CgroupPlacement::Scope(manager, slice) => {
                let shares = request.limits.shares();
                manager.enter_scope(&super::scope(&request.name), slice.as_deref(), &shares)?;
                let scope = crate::host::cgroup::own_folder()
                    .ok_or_else(|| Error::new("this process has no cgroup"))?;
                set_all(&scope, request.limits.other_shares())?;
                scope
            }
        };
        delegate_controllers(&home);
        sweep(&home);
        let folder = home.join(&request.name);
        let path = || folder.display().to_string();
        std::fs::create_dir(&folder).context(|| format!("cannot make the cgroup {}", path()))?;
        let made = || {
            let file = File::open(&folder).context(path)?;
            let _ = file.try_lock_shared();
            Ok(Self { folder: folder.clone(), file })
        };
        let group: Result<Self> = made();
        // No such file before Linux 4.14.
        let _ = write(&folder.join("cgroup.max.depth"), DEEPEST);
        group
            .and_then(|group| set(&group.folder, &request.limits).map(|()| group))
            .inspect_err(|_| drop(std::fs::remove_dir(&folder)))
    }

    /// Folder of the group.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the group of the container's supervisors, with its limits of memory and processors. `None`: no such
    /// limits.
    pub fn supervisors(&self, limits: &CgroupLimits) -> Result<Option<SupervisorsCgroup>> {
        if !limits.settings().iter().any(is_for_supervisors) {
            return Ok(None);
        }
        let folder = supervisors_folder(&self.folder);
        let path = || folder.display().to_string();
        std::fs::create_dir(&folder).context(|| format!("cannot make the cgroup {}", path()))?;
        let file = File::open(&folder).context(path)?;
        let _ = file.try_lock_shared();
        set_all(&folder, limits.settings().iter().filter(|setting| is_for_supervisors(setting)))?;
        Ok(Some(SupervisorsCgroup(file)))
    }

    /// Kills the remaining processes, and removes the group.
    pub fn remove(self) {
        drop(self.file);
        remove(&self.folder);
    }
}

impl AsFd for ContainerCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Cgroup of a container's supervisors, held open: a sweep leaves it alone.
#[derive(Debug)]
pub struct SupervisorsCgroup(File);

impl SupervisorsCgroup {
    /// Opens the supervisors' group of the container whose group is at `folder`. `None`: no such group.
    pub fn of(folder: &Path) -> Option<Self> {
        File::open(supervisors_folder(folder)).ok().map(Self)
    }
}

impl AsFd for SupervisorsCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn supervisors_folder(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(CALLS);
    path.into()
}

fn is_for_supervisors(setting: &CgroupSetting) -> bool {
    OF_SUPERVISORS.contains(&setting.file.as_str())
}

/// Delegates all available controllers, as far as possible. Processes of ours in the way are moved aside.
fn delegate_controllers(home: &Path) {
    let there = placement::read_words(&home.join("cgroup.controllers"));
    let down = placement::read_words(&home.join("cgroup.subtree_control"));
    let wanted =
        |name: &&&str| there.iter().any(|one| one == *name) && !down.iter().any(|one| one == *name);
    let missing: Vec<_> = CONTROLLERS.iter().filter(wanted).collect();
    if missing.is_empty() {
        return;
    }
    let watchers = home.join(WATCHERS);
    let processes = placement::processes(home);
    if processes.iter().all(|pid| placement::is_usnea(*pid)) {
        let _ = std::fs::create_dir(&watchers);
        for pid in processes {
            let _ = std::fs::write(watchers.join("cgroup.procs"), pid.to_string());
        }
    }
    // With a process in the group, some controllers could still be delegated, to threads: no process could then be
    // created below.
    if !placement::processes(home).is_empty() {
        return;
    }
    for name in missing {
        let _ = std::fs::write(home.join("cgroup.subtree_control"), format!("+{name}"));
    }
}

/// Removes groups that killed processes have left.
fn sweep(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(super::is_name);
        let is_free = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_ours && is_free() {
            // A group with a process stays.
            remove_below(&entry.path());
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Writes limits. Errors: the kernel refuses a value.
fn set(folder: &Path, limits: &CgroupLimits) -> Result<()> {
    set_all(folder, limits.settings().iter())
}

fn set_all<'a>(folder: &Path, settings: impl Iterator<Item = &'a CgroupSetting>) -> Result<()> {
    for CgroupSetting { file, value, is_asked } in settings {
        let path = folder.join(file);
        match write(&path, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked => {}
            Err(error) => {
                let hint = refusal(folder, file, &error);
                let refused = Err::<(), _>(error);
                let refused = refused.context(|| format!("cannot set {file} to '{value}'"));
                return match hint {
                    Some(hint) => refused.hint(|| hint),
                    None => refused,
                };
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Returns a hint for a value that the kernel refused.
fn refusal(folder: &Path, file: &str, error: &io::Error) -> Option<String> {
    if error.kind() == io::ErrorKind::NotFound {
        let uid = rustix::process::getuid();
        return Some(format!(
            "the controller was delegated after your systemd user manager had started: \
             sudo systemctl restart user@{uid} (it ends your sessions), or a reboot"
        ));
    }
    let what = match file {
        "cpuset.cpus" => "processors",
        "cpuset.mems" => "memory nodes",
        _ => return None,
    };
    let there = folder.ancestors().find_map(|folder| {
        std::fs::read_to_string(folder.join(format!("{file}.effective"))).ok()
    })?;
    Some(format!("there are the {what} {}", there.trim()))
}

/// Changes the limits of the container whose group is at `folder`; relative ones are set for its scope too. Errors: the
/// kernel or systemd refuses a value.
pub fn change(folder: &Path, limits: &CgroupLimits) -> Result<()> {
    set(folder, limits)?;
    let supervisors = supervisors_folder(folder);
    if supervisors.exists() {
        let settings = limits.settings().iter();
        set_all(&supervisors, settings.filter(|setting| is_for_supervisors(setting)))?;
    }
    let Some(scope) = folder.parent() else { return Ok(()) };
    let name = scope.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|name| super::is_scope(name)) else { return Ok(()) };
    set_all(scope, limits.other_shares())?;
    let shares = limits.shares();
    match SystemdManager::of_user() {
        Some(manager) if !shares.is_empty() => manager.set_shares(name, &shares),
        _ => Ok(()),
    }
}

/// Writes without creating the file, which cgroupfs would refuse with EACCES.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// Kills the remaining processes of a container's group, and removes it and its supervisors' group. Missing groups
/// count as removed.
pub fn remove(folder: &Path) {
    remove_one(folder);
    remove_one(&supervisors_folder(folder));
}

fn remove_one(folder: &Path) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    while let Err(error) = std::fs::remove_dir(folder) {
        if error.raw_os_error() != Some(libc::EBUSY) || start.elapsed() > PATIENCE {
            return;
        }
        kill(folder);
        remove_below(folder);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Removes the groups that the container has made, such as those of the services of its systemd.
fn remove_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(std::io::Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn kill(folder: &Path) {
    // cgroup.kill exists since Linux 5.14.
    if write(&folder.join("cgroup.kill"), "1").is_err() {
        for pid in placement::processes(folder) {
            let _ = crate::sys::process::signal_child(pid, libc::SIGKILL);
        }
    }
}

/// Freezes or thaws all processes of a group, and waits for the effect. Errors: a missing group; a timeout.
pub fn freeze(folder: &Path, freeze: FreezerState) -> Result<()> {
    let wanted = freeze == FreezerState::Stopped;
    let path = folder.join("cgroup.freeze");
    write(&path, if wanted { "1" } else { "0" }).context(|| path.display().to_string())?;
    let start = Instant::now();
    while is_frozen(folder) != wanted {
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("{}: its processes do not stop", folder.display())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Freezer state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezerState {
    /// All processes are frozen.
    Stopped,
    /// All processes run.
    Running,
}

/// True if the processes of a group are frozen.
pub fn is_frozen(folder: &Path) -> bool {
    count(folder, "cgroup.events", "frozen") == Some(1)
}

/// Number of processes that the kernel has killed for want of memory.
pub fn oom_kills(folder: &Path) -> u64 {
    count(folder, "memory.events", "oom_kill").unwrap_or(0)
}

/// Returns the number after `key` in a file with a key and a number on each line.
pub fn count(folder: &Path, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// Returns the number in a file. `None`: no such file, or "max".
pub fn number(folder: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}
