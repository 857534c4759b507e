//! `delete`: removes what a container has left.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Runtime;
use super::processes::ContainerProcesses;
use super::state::{self, ContainerStatus, OciContainer};
use crate::cgroup::{self, FreezerState};
use crate::error::{Error, ErrorKind, Result};
use crate::hint;
use crate::hook_point::HookPoint;

/// Treatment of a container that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// An error.
    Stopped,
    /// The container is killed. A container that does not exist is no error.
    Forced,
}

/// Time for killed processes to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container. Errors: it runs, and is not to be killed.
pub fn delete(runtime: &Runtime, id: &str, deletion: Deletion) -> Result<()> {
    remove_abandoned(runtime);
    let container = match OciContainer::find(runtime, id) {
        Err(error) if deletion == Deletion::Forced && error.kind() == ErrorKind::NotFound => {
            return Ok(());
        }
        answer => answer?,
    };
    let status = container.status();
    if status != ContainerStatus::Stopped {
        if deletion == Deletion::Stopped {
            let text =
                format!("cannot delete the container {id}: it is {}, not stopped", status.name());
            return Err(Error::conflict(text).hint(hint::KILL_OR_FORCE));
        }
        end(&container)?;
    }
    remove(&container)
}

/// Removes what is left of containers whose creator was killed: they have ended with it. A workload manager that kills
/// a step kills all processes of usnea in it, and its later calls name no container (Slurm with `RunTimeRun`).
pub(super) fn remove_abandoned(runtime: &Runtime) {
    let found = state::ids(runtime).unwrap_or_default();
    let found = found.iter().filter_map(|id| OciContainer::find(runtime, id).ok());
    for container in found.filter(OciContainer::is_abandoned) {
        // Another process may remove the same one.
        if let Err(error) = end(&container).and_then(|()| remove(&container)) {
            log::debug!("{error}");
        }
    }
}

/// Removes the processes that a container whose first process has ended left in joined namespaces, its cgroup and its
/// state.
pub(super) fn remove(container: &OciContainer) -> Result<()> {
    let hooks = container.hooks()?;
    ContainerProcesses::of(container).end();
    if let Some(folder) = &container.record.cgroup {
        cgroup::remove(folder);
    }
    container.remove()?;
    container.run_hooks_of(hooks, HookPoint::Poststop)
}

/// Kills the container's first process, and waits for its end.
fn end(container: &OciContainer) -> Result<()> {
    let Some((_, pidfd)) = container.process() else { return Ok(()) };
    let _ = crate::sys::process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
    if let Some(folder) =
        container.record.cgroup.as_ref().filter(|folder| cgroup::is_frozen(folder))
    {
        // On cgroup v2 a killed process ends even when frozen; its children may not.
        cgroup::freeze(folder, FreezerState::Running)?;
    }
    let start = Instant::now();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    while start.elapsed() < PATIENCE {
        let turn = Timespec { tv_sec: 1, tv_nsec: 0 };
        if matches!(poll(&mut fds, Some(&turn)), Ok(1)) {
            return Ok(());
        }
    }
    Err(Error::new(format!("the container {} does not end", container.record.state.id)))
}
