//! Orphan: a process that outlives the command that starts it, and that reports once whether it is ready.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::sys::process::{self, Forked};

const READY: &str = "ready";

/// Report of an orphan to the command that starts it.
#[derive(Debug)]
pub struct OrphanReport(OwnedFd);

impl OrphanReport {
    /// Reports that the orphan is ready. The command may be dead.
    pub fn ready(self) {
        let _ = rustix::io::write(&self.0, READY.as_bytes());
    }

    /// Reports why the orphan cannot be ready. The command may be dead.
    pub fn failed(self, error: &Error) {
        let _ = files::write_json(self.0, error);
    }
}

impl AsFd for OrphanReport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Starts an orphan, and returns when it is ready. `make` runs in a process that
/// makes the orphan and exits. `what`:
/// name of the orphan in messages. Errors: the orphan reported one, or died.
pub fn start(what: &str, make: impl FnOnce(OrphanReport)) -> Result<()> {
    let (answer, answering) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    // The orphan must not become a child of this process, which ends its children with the container.
    let adopts = process::adopts_orphans().context(|| "cannot look for orphans")?;
    process::leave_orphans().context(|| "cannot leave orphans")?;
    let ended = match process::fork().context(|| "cannot make a process") {
        Ok(Forked::Child) => {
            drop(answer);
            make(OrphanReport(answering));
            process::exit_now(0)
        }
        Ok(Forked::Parent(maker)) => {
            drop(answering);
            let mut text = String::new();
            let read = std::fs::File::from(answer).read_to_string(&mut text);
            let waited = maker.wait();
            read.context(|| format!("cannot read of {what}")).map(|_| (text, waited))
        }
        Err(error) => Err(error),
    };
    if adopts {
        process::adopt_orphans().context(|| "cannot adopt orphans")?;
    }
    let (text, waited) = ended?;
    waited.context(|| "cannot wait for a process")?;
    match text.as_str() {
        READY => Ok(()),
        text => Err(serde_json::from_str(text)
            .unwrap_or_else(|_| Error::new(format!("{what} died as it began")))),
    }
}
