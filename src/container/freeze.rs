//! Short freeze of a container, such as during a commit: by its cgroup, or without one process by process (SIGSTOP).
//!
//! ```text
//!  caller --fork--> process in the container's user namespace: freezes all, reports, waits for the end of a pipe,
//!                   thaws all. The pipe ends when the caller is killed too, and the process ignores the signals of a
//!                   terminal.
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::files::{namespaces, running};
use super::{Container, processes};
use crate::cgroup::{self, FreezerState};
use crate::error::{Context, Error, Result};
use crate::monitor::record::State;
use crate::sys::process::{self, Child, Forked};
use crate::sys::{namespace, signal};

/// Keeps a container frozen; thaws it on drop.
pub(super) struct Frozen {
    // Write end of a pipe. Closing it is the signal to thaw.
    alive: Option<OwnedFd>,
    freezer: Child,
}

impl Frozen {
    /// Freezes the container. `None`: the container does not run. Errors: a process could not be frozen; all others are
    /// thawed.
    pub(super) fn new(container: &Container) -> Result<Option<Self>> {
        let Some(state) = running(container)? else { return Ok(None) };
        let phrase = || format!("cannot stop the processes of {}", container.record.name);
        let (user, _) = namespaces(&state).context(phrase)?;
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(phrase);
        let ((watched, alive), (stopped, report)) = (pipe()?, pipe()?);
        match process::fork().context(phrase)? {
            Forked::Child => {
                drop((alive, stopped));
                signal::block_all();
                match &state.cgroup {
                    Some(folder) => freeze_cgroup(folder, &report, &watched),
                    None => stop_each(&state, &user, &report, &watched),
                }
                process::exit_now(0)
            }
            Forked::Parent(freezer) => {
                drop((watched, report));
                let frozen = Self { alive: Some(alive), freezer };
                let mut answer = [0; 1];
                let heard =
                    rustix::io::retry_on_intr(|| rustix::io::read(&stopped, &mut answer[..]));
                match (heard, answer) {
                    (Ok(1), [b'y']) => Ok(Some(frozen)),
                    _ => {
                        Err(Error::refused("this user may not signal some of them")).context(phrase)
                    }
                }
            }
        }
    }
}

/// Extent of a freeze.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frozenness {
    /// All processes of the container.
    Whole,
    /// Not all of them.
    Partial,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.alive = None;
        let _ = self.freezer.wait();
    }
}

/// Reports whether all processes are frozen, and waits until the caller ends the freeze.
fn report_and_wait(frozen: Frozenness, report: &OwnedFd, watched: &OwnedFd) {
    let _ = rustix::io::write(report, if frozen == Frozenness::Whole { b"y" } else { b"n" });
    // No bytes are ever written: the read returns when the write end is closed.
    let _ = rustix::io::retry_on_intr(|| rustix::io::read(watched, &mut [0; 1]));
}

fn freeze_cgroup(folder: &Path, report: &OwnedFd, watched: &OwnedFd) {
    let was_stopped = cgroup::is_frozen(folder);
    let stopped = cgroup::freeze(folder, FreezerState::Stopped);
    let frozen = if stopped.is_ok() { Frozenness::Whole } else { Frozenness::Partial };
    report_and_wait(frozen, report, watched);
    if !was_stopped {
        let _ = cgroup::freeze(folder, FreezerState::Running);
    }
}

fn stop_each(state: &State, user: &OwnedFd, report: &OwnedFd, watched: &OwnedFd) {
    let done = namespace::enter(user.as_fd()).map(|()| stop_all(state));
    let (held, frozen) = done.unwrap_or((Vec::new(), Frozenness::Partial));
    report_and_wait(frozen, report, watched);
    for pidfd in &held {
        let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGCONT);
    }
}

/// Stops all processes. Returns those that it stopped, and whether all are stopped. A process may fork until it is
/// stopped: repeats until no new process appears.
fn stop_all(state: &State) -> (Vec<OwnedFd>, Frozenness) {
    const ROUNDS: usize = 100;
    let (mut held, mut frozen) = (Vec::new(), Frozenness::Whole);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..ROUNDS {
        let new: Vec<i32> = processes(state).into_iter().filter(|pid| seen.insert(*pid)).collect();
        if new.is_empty() {
            return (held, frozen);
        }
        for pid in new {
            let Ok(pidfd) = process::open_pidfd(pid) else { continue };
            // A process that is stopped already is left out: it must stay stopped afterwards.
            if is_stopped(pid) {
                continue;
            }
            match process::pidfd_signal(pidfd.as_fd(), libc::SIGSTOP) {
                Ok(()) => held.push(pidfd),
                // The process has just ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(_) => frozen = Frozenness::Partial,
            }
        }
    }
    (held, Frozenness::Partial)
}

fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't']))
}
