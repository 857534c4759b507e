//! `start`: lets the command of a created container run.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::Runtime;
use super::state::{ContainerStatus, OciContainer};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::hook_point::HookPoint;

/// Starts a created container. Errors: it is in another state.
pub fn start(runtime: &Runtime, id: &str) -> Result<()> {
    let container = OciContainer::find(runtime, id)?;
    let refused = |status: ContainerStatus| {
        Error::conflict(format!(
            "cannot start the container {id}: it is {}, not created",
            status.name()
        ))
    };
    let status = container.status();
    if status != ContainerStatus::Created {
        return Err(refused(status));
    }
    // The rename decides between two starts at the same time: a file is renamed once.
    let fifo = container.fifo();
    let taken = fifo.with_file_name(files::random_name(".start-"));
    std::fs::rename(&fifo, &taken).map_err(|_| refused(ContainerStatus::Running))?;
    // Only the container's process reads there: without it, opening fails.
    let opened =
        std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&taken);
    let written = opened.and_then(|mut fifo| fifo.write_all(&[0]));
    let _ = std::fs::remove_file(&taken);
    match written {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(refused(ContainerStatus::Stopped));
        }
        answer => answer.context(|| format!("cannot start the container {id}"))?,
    }
    after(&container)
}

/// Work after the command's start: the poststart hooks, whose failures are warnings.
pub(super) fn after(container: &OciContainer) -> Result<()> {
    container.run_hooks(HookPoint::Poststart)
}
