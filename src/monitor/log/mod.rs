//! Log of a container: text that a person can read, in the form of CRI (Kubernetes' logs, podman's k8s-file):
//!
//! ```text
//! 2026-11-24T23:28:18.123456789Z stdout F a whole line
//! 2026-11-24T23:28:18.123456789Z stderr P the beginning of one, whose rest comes in the next line of stderr
//! 2026-11-24T23:28:19.000000000Z usnea F 8192 bytes were lost: No space left on device
//! ```
//!
//! Not docker's JSON: here bytes stay unchanged, whatever they are, writing is copying, and `grep` finds lines. A
//! reader gets exactly the written bytes: a last line without a newline is a `P` with no successor.
//!
//! `write` (the monitor's side) and `read` (`usnea logs`) share only this format.

mod changes;
mod read;
mod write;

pub use changes::LogChanges;
pub use read::{LogLine, Position, Reader};
pub use write::LogWriter;

/// Name of the log in the container's folder; older files are `log.1`, `log.2` and so on.
pub const FILE: &str = "log";

/// Source of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
    /// The monitor itself.
    Ourselves,
}

impl Source {
    /// Word of the source in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
            Self::Ourselves => "usnea",
        }
    }
}

#[cfg(test)]
mod tests;
