//! What goes wrong in a child: on what, and the errno. The step is known to whoever carries it out.

use std::io;

/// What went wrong within a step: on what, and the errno.
pub struct Trouble {
    /// On what; may be empty.
    pub what: String,
    /// The errno, or 0 when `what` says it all.
    pub errno: i32,
}

/// What a step, or a part of it, answers.
pub type Done<T = ()> = Result<T, Trouble>;

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self { what: String::new(), errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// `answer.on(|| path)`: says on what.
pub trait On<T> {
    /// Puts `what` to the errno.
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> Done<T>;
}

impl<T, E: Into<Trouble>> On<T> for Result<T, E> {
    fn on<S: Into<String>>(self, what: impl FnOnce() -> S) -> Done<T> {
        self.map_err(|error| Trouble { what: what().into(), ..error.into() })
    }
}
