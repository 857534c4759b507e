//! Failures of commands that go on to their end.

use crate::error::{Error, Result};

/// Failures of a command that goes on to its end.
#[derive(Default)]
pub struct Failures(Vec<Error>);

impl From<Vec<Error>> for Failures {
    fn from(failures: Vec<Error>) -> Self {
        Self(failures)
    }
}

impl Failures {
    /// Adds a failure.
    pub fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    /// True without failures.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Logs all failures but the last, and returns the last as the command's error, with docker's status.
    pub fn end(mut self) -> Result<u8> {
        let Some(last) = self.0.pop() else { return Ok(0) };
        for error in self.0 {
            log::error!("{error}");
        }
        Err(last.exit_status(1))
    }
}
