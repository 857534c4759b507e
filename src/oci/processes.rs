//! Processes of a container: those of its cgroup; without one, those that share its mount namespace, or a PID namespace
//! of its own.

use std::os::fd::AsFd;
use std::path::Path;

use super::Runtime;
use super::state::OciContainer;
use crate::error::{Error, Result};
use crate::sys::process;

/// Rounds of killing: processes may fork until they are killed.
const ROUNDS: usize = 1000;

/// Way to know the processes of a container.
pub(super) enum ContainerProcesses {
    /// Processes of a cgroup.
    Cgroup(std::path::PathBuf),
    /// Processes of these namespaces.
    Namespaces(Vec<SeenNamespace>),
    /// None: the first process has ended, and its namespaces are not known.
    Ended,
}

/// Namespace of a process: its name in `/proc/PID/ns`, device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SeenNamespace {
    name: &'static str,
    device: u64,
    inode: u64,
}

impl SeenNamespace {
    fn of(pid: &str, name: &'static str) -> Option<Self> {
        let stat = rustix::fs::stat(format!("/proc/{pid}/ns/{name}")).ok()?;
        Some(Self { name, device: stat.st_dev, inode: stat.st_ino })
    }
}

impl ContainerProcesses {
    /// Returns the processes of a container.
    pub fn of(container: &OciContainer) -> Self {
        if let Some(folder) = &container.record.cgroup {
            return Self::Cgroup(folder.clone());
        }
        let Some((process, _)) = container.process() else { return Self::Ended };
        let pid = process.pid.to_string();
        // Namespaces that this process shares say nothing.
        let own = ["mnt", "pid"].into_iter().filter_map(|name| {
            SeenNamespace::of(&pid, name)
                .filter(|found| SeenNamespace::of("self", name) != Some(*found))
        });
        Self::Namespaces(own.filter(|found| found.name == "mnt" || is_first(process.pid)).collect())
    }

    /// PIDs of the processes, sorted.
    pub fn pids(&self) -> Vec<i32> {
        let mut pids = match self {
            Self::Cgroup(folder) => of_cgroup(folder),
            Self::Namespaces(namespaces) => all_pids()
                .into_iter()
                .filter(|pid| {
                    let pid = pid.to_string();
                    namespaces.iter().any(|namespace| {
                        SeenNamespace::of(&pid, namespace.name) == Some(*namespace)
                    })
                })
                .collect(),
            Self::Ended => Vec::new(),
        };
        pids.sort_unstable();
        pids
    }

    /// Sends all processes a signal; returns their number.
    pub fn signal(&self, signal: i32) -> usize {
        let mut count = 0;
        for pid in self.pids() {
            let Ok(pidfd) = process::open_pidfd(pid) else { continue };
            // Looked at again: the descriptor refers to the process that had the number at that moment.
            if self.pids_include(pid) && process::pidfd_signal(pidfd.as_fd(), signal).is_ok() {
                count += 1;
            }
        }
        count
    }

    fn pids_include(&self, pid: i32) -> bool {
        match self {
            Self::Cgroup(folder) => of_cgroup(folder).contains(&pid),
            Self::Namespaces(namespaces) => {
                let pid = pid.to_string();
                namespaces
                    .iter()
                    .any(|namespace| SeenNamespace::of(&pid, namespace.name) == Some(*namespace))
            }
            Self::Ended => false,
        }
    }

    /// Kills all processes until none is left.
    pub fn end(&self) {
        for _ in 0..ROUNDS {
            if self.signal(libc::SIGKILL) == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// True if the process is process 1 of its PID namespace: all others there are the container's.
fn is_first(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|line| line.split_whitespace().last()).is_some_and(|last| last == "1")
}

fn of_cgroup(folder: &Path) -> Vec<i32> {
    let list = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

fn all_pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the PIDs of a container's processes. Errors: it has ended.
pub fn processes(runtime: &Runtime, id: &str) -> Result<Vec<i32>> {
    let container = OciContainer::find(runtime, id)?;
    let Some((process, _)) = container.process() else {
        return Err(Error::not_running(format!("the container {id} is not running")));
    };
    let mut pids = ContainerProcesses::of(&container).pids();
    if !pids.contains(&process.pid) {
        // A created container's process is hidden.
        pids.insert(0, process.pid);
    }
    Ok(pids)
}
