//! Errors within a step: object and errno. The caller adds the step ([`super::messages::StepFailure`]).

use std::io;

/// Failure within a step: the object of the failed action, and the errno.
pub struct StepError {
    /// Object of the failed action, such as a path; may be empty.
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
    /// Sets the object of the failed action.
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> StepResult<T>;
}

impl<T, E: Into<StepError>> OnObject<T> for Result<T, E> {
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> StepResult<T> {
        self.map_err(|error| StepError { what: what().into(), ..error.into() })
    }
}
