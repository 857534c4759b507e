//! Errors of a child's steps: object and errno. The code that carries out a step adds the step.

use std::io;

/// Failure within a step: its object and the errno.
pub struct Trouble {
    /// Object of the failure; may be empty.
    pub what: String,
    /// errno, or 0 when `what` is the whole message.
    pub errno: i32,
}

/// Result of a step, or of a part of a step.
pub type Done<T = ()> = Result<T, Trouble>;

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self { what: String::new(), errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Adds the object of a failure: `answer.on(|| path)`.
pub trait On<T> {
    /// Sets the object that the errno belongs to.
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> Done<T>;
}

impl<T, E: Into<Trouble>> On<T> for Result<T, E> {
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> Done<T> {
        self.map_err(|error| Trouble { what: what().into(), ..error.into() })
    }
}
