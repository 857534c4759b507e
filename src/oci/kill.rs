//! `kill`: sends a signal to the processes of a container.

use std::os::fd::AsFd;

use super::Runtime;
use super::processes::ContainerProcesses;
use super::state::{ContainerStatus, OciContainer};
use crate::error::{Context, Error, Result};
use crate::sys::process;

/// Receivers of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillScope {
    /// The container's first process.
    First,
    /// All its processes.
    All,
}

/// Sends a signal. Errors: the container has ended.
pub fn kill(runtime: &Runtime, id: &str, signal: i32, scope: KillScope) -> Result<()> {
    let container = OciContainer::find(runtime, id)?;
    let status = container.status();
    if scope == KillScope::All {
        let all = ContainerProcesses::of(&container);
        // Processes without the first one may be left in a joined PID namespace.
        if all.signal(signal) > 0 || status == ContainerStatus::Stopped {
            return Ok(());
        }
    }
    let running = || {
        Error::not_running(format!(
            "cannot kill the container {id}: it is not running, but {}",
            status.name()
        ))
    };
    let (_, pidfd) = container.process().ok_or_else(running)?;
    match process::pidfd_signal(pidfd.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(running()),
        answer => answer.context(|| format!("cannot signal the container {id}")),
    }
}
