//! Error type of usnea: the failed operation, its object and cause, a hint, and the exit status.
//!
//! An error is created where the cause is known, and gains a phrase of context on each level that knows more.
//! `cli::main` prints the error once. No code here prints.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Exit status of a failure of usnea itself (docker's).
pub const STATUS_OURS: u8 = 125;
/// Exit status of a command that was found and cannot be invoked (docker's).
pub const STATUS_CANNOT_INVOKE: u8 = 126;
/// Exit status of a command that was not found (docker's).
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status of a program ended by SIGPIPE, as in shells: nobody reads its output.
pub const STATUS_UNREAD: u8 = 128 + libc::SIGPIPE as u8;

/// Result with usnea's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of a failure, for callers that react to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Kind {
    /// Any other failure, which would be the same elsewhere.
    #[default]
    Other,
    /// The peer does not have the requested object.
    Absent,
    /// The peer refuses access.
    Denied,
    /// The peer does not answer, or not correctly.
    Unreachable,
    /// The disk, or a quota, is full.
    Full,
    /// The received object is no image.
    Artifact,
    /// The registry refuses the manifest's format.
    Format,
    /// Standard output is closed: no reason for a message.
    Unread,
}

/// Failure: phrases from the outermost to the cause, a hint, an exit status, its kind. Serializable, to cross a pipe.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Error {
    phrases: Vec<String>,
    hint: Option<String>,
    status: u8,
    kind: Kind,
    #[serde(default)]
    errno: Option<i32>,
}

impl Error {
    /// Creates a failure with this cause: lower case, no full stop.
    pub fn new(cause: impl Display) -> Self {
        let phrases = vec![cut(cause.to_string())];
        Self { phrases, hint: None, status: STATUS_OURS, kind: Kind::Other, errno: None }
    }

    /// Error number of the system call that failed.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// Adds a hint: a whole sentence or a command to type. An inner hint stays, as the more specific one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Returns the hint, if any.
    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Sets the exit status of this failure (125 otherwise).
    pub fn exit_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Exit status of this failure.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Sets the kind of the failure. An inner kind stays, as the more specific one.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        if self.kind == Kind::Other {
            self.kind = kind;
        }
        self
    }

    /// Kind of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True if the failure concerns this peer alone: another peer may succeed.
    pub fn is_of_place(&self) -> bool {
        matches!(self.kind, Kind::Absent | Kind::Denied | Kind::Unreachable)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut phrases = self.phrases.iter().rev();
        write!(f, "{}", phrases.next().map(String::as_str).unwrap_or_default())?;
        phrases.try_for_each(|phrase| write!(f, ": {phrase}"))
    }
}

impl std::error::Error for Error {}

/// Converts an error of a system call: the bare text of the errno ("No such file or directory"). An [`Error`] that was
/// passed through a reader is unwrapped.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let errno = error.raw_os_error();
        let text = match error.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(error) => error.to_string(),
        };
        Self { errno, ..Self::new(text.split(" (os error").next().unwrap_or(&text)) }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(errno: nix::errno::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

/// Longest phrase in bytes: longer ones are paths that nobody reads to their end.
const LONGEST_PHRASE: usize = 2000;

/// Shortens a phrase that is too long, in its middle.
fn cut(phrase: String) -> String {
    if phrase.len() <= LONGEST_PHRASE {
        return phrase;
    }
    let half = LONGEST_PHRASE / 4;
    let beginning = phrase.get(..phrase.floor_char_boundary(half)).unwrap_or_default();
    let end = phrase.get(phrase.ceil_char_boundary(phrase.len() - half)..).unwrap_or_default();
    let left_out = phrase.len() - beginning.len() - end.len();
    format!("{beginning}[{left_out} bytes]{end}")
}

/// Context for errors: `result.context(
///
/// format!("cannot open {path}"))` names the operation and its object.
pub trait Context<T> {
    /// Puts `phrase` before the cause.
    fn context<S: Into<String>>(self, phrase: impl FnOnce() -> S) -> Result<T>;
    /// Adds a hint to a failure that has none.
    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<S: Into<String>>(self, phrase: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| {
            let mut error: Error = error.into();
            error.phrases.push(cut(phrase().into()));
            error
        })
    }

    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().hint(hint()))
    }
}

/// `fail!("{name}: not a program")`: returns an [`Error`] made from a format string.
#[macro_export]
macro_rules! fail {
    ($($argument:tt)*) => { return Err($crate::error::Error::new(format!($($argument)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_from_the_outside_to_the_cause() {
        let cause: Result<()> = Err(std::io::Error::from_raw_os_error(libc::ENOENT).into());
        let error = cause
            .context(|| "bind /nope")
            .hint(|| "create it first")
            .context(|| "cannot mount the root filesystem")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot mount the root filesystem: bind /nope: No such file or directory"
        );
        assert_eq!(error.way_out(), Some("create it first"));
        assert_eq!(error.status(), STATUS_OURS);
        assert!(!error.is_of_place());
    }

    #[test]
    fn a_long_path_is_cut_in_its_middle() {
        let path = format!("/a{}/end", "/é".repeat(20_000));
        let error = Err::<(), _>(Error::new(&path)).context(|| path.clone()).unwrap_err();
        let text = error.to_string();
        assert!(text.len() < 2 * LONGEST_PHRASE, "{}", text.len());
        assert!(text.starts_with("/a/é") && text.ends_with("é/end") && text.contains(" bytes]"));
        assert_eq!(cut("x".repeat(LONGEST_PHRASE)).len(), LONGEST_PHRASE);
    }

    #[test]
    fn an_error_that_came_through_a_reader_keeps_its_kind_and_hint() {
        let inner = Error::new("gone").hint("look elsewhere").of_kind(Kind::Unreachable);
        let error = Error::from(std::io::Error::other(inner)).of_kind(Kind::Absent);
        assert_eq!((error.kind(), error.way_out()), (Kind::Unreachable, Some("look elsewhere")));
    }
}
