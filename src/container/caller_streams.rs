//! Standard streams of this process, for the verbs that a command line calls.

use rustix::stdio::{stderr, stdin, stdout};

use crate::engine::CallerStreams;

impl CallerStreams<'static> {
    /// Standard streams of this process.
    pub fn of_process() -> Self {
        Self { input: stdin(), output: stdout(), error: stderr() }
    }
}
