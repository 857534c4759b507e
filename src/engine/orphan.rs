//! Orphan: a process that outlives the command that starts it, and that reports once whether it is ready.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::sys::process::{self, Child, Forked};

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

/// Orphan that has not reported yet.
#[derive(Debug)]
pub struct StartingOrphan {
    /// Name of the orphan in messages.
    what: &'static str,
    /// Process that makes the orphan.
    maker: Child,
    answer: OwnedFd,
    /// True if this process adopts orphans again afterwards.
    adopts: bool,
}

impl StartingOrphan {
    /// Waits until the orphan is ready. Errors: the orphan reported one, or died.
    pub fn finish(self) -> Result<()> {
        let mut text = String::new();
        let read = File::from(self.answer).read_to_string(&mut text);
        let waited = self.maker.wait();
        if self.adopts {
            process::adopt_orphans().context(|| "cannot adopt orphans")?;
        }
        read.context(|| format!("cannot read of {}", self.what))?;
        waited.context(|| "cannot wait for a process")?;
        match text.as_str() {
            READY => Ok(()),
            text => Err(serde_json::from_str(text)
                .unwrap_or_else(|_| Error::new(format!("{} died as it began", self.what)))),
        }
    }
}

/// Starts an orphan, and returns when it is ready. Errors: those of [`begin`] and of [`StartingOrphan::finish`].
pub fn start(what: &'static str, make: impl FnOnce(OrphanReport)) -> Result<()> {
    begin(what, make)?.finish()
}

/// Starts an orphan. `make` runs in a process that makes the orphan and exits. `what`: name of the orphan in messages.
/// Until [`StartingOrphan::finish`], this process adopts no orphans: the new one must not become its child, since it ends
/// its children with the container. Errors: no process can be made.
pub fn begin(what: &'static str, make: impl FnOnce(OrphanReport)) -> Result<StartingOrphan> {
    let (answer, answering) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    let adopts = process::adopts_orphans().context(|| "cannot look for orphans")?;
    process::leave_orphans().context(|| "cannot leave orphans")?;
    match process::fork().context(|| "cannot make a process") {
        Ok(Forked::Child) => {
            drop(answer);
            make(OrphanReport(answering));
            process::exit_now(0)
        }
        Ok(Forked::Parent(maker)) => Ok(StartingOrphan { what, maker, answer, adopts }),
        Err(error) => {
            if adopts {
                process::adopt_orphans().context(|| "cannot adopt orphans")?;
            }
            Err(error)
        }
    }
}
