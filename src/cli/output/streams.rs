//! Standard streams of this process, for the verbs.

use std::fs::File;
use std::os::fd::BorrowedFd;

use crate::container::CallerStreams;
use crate::error::{Context, Result};

/// Returns the standard streams of this process.
pub fn of_process() -> CallerStreams<'static> {
    CallerStreams {
        input: rustix::stdio::stdin(),
        output: rustix::stdio::stdout(),
        error: rustix::stdio::stderr(),
    }
}

/// Duplicates a standard stream: unlike `std::io::stdout`, the duplicate has no buffer.
pub fn duplicate(stream: BorrowedFd<'_>) -> Result<File> {
    Ok(stream.try_clone_to_owned().context(|| "cannot duplicate a standard stream")?.into())
}
