//! Errors of a child's steps: object and errno. The code that carries out a step adds the step.

use std::io;

/// Failure within a step: its object and the errno.
pub struct StepError {
    /// Object of the failure; may be empty.
    pub what: String,
    /// errno, or 0 when `what` is the whole message.
    pub errno: i32,
}

/// Result of a step, or of a part of a step.
pub type StepResult<T = ()> = Result<T, StepError>;

impl<E: Into<io::Error>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self { what: String::new(), errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Adds the object of a failure: `answer.on(|| path)`.
pub trait OnObject<T> {
    /// Sets the object that the errno belongs to.
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> StepResult<T>;
}

impl<T, E: Into<StepError>> OnObject<T> for Result<T, E> {
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> StepResult<T> {
        self.map_err(|error| StepError { what: what().into(), ..error.into() })
    }
}
