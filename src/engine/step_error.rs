//! Errors within a step: object and errno. The caller adds the step ([`super::messages::StepFailure`]).

use std::io;

use crate::error::Error;

/// Failure within a step: the object of the failed action, and the errno.
pub struct StepError {
    /// Object of the failed action, such as a path; may be empty.
    pub what: String,
    /// errno, or 0 when `what` is the whole message.
    pub errno: i32,
    /// Remedy, in place of the one that the step and the errno have.
    pub hint: Option<String>,
}

impl StepError {
    /// Makes a failure whose whole message is `what`.
    pub fn whole(what: impl Into<String>) -> Self {
        Self { what: what.into(), errno: 0, hint: None }
    }

    /// Makes a failure with the whole message of an error, and its hint.
    pub fn of(error: &Error) -> Self {
        Self { hint: error.hint_text().map(str::to_owned), ..Self::whole(error.to_string()) }
    }
}

/// Result of a step, or of a part of a step.
pub type StepResult<T = ()> = Result<T, StepError>;

impl<E: Into<io::Error>> From<E> for StepError {
    fn from(error: E) -> Self {
        let errno = error.into().raw_os_error().unwrap_or(libc::EIO);
        Self { what: String::new(), errno, hint: None }
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
