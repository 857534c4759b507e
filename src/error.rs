//! The one error type: what was being done, on what, why, the way out, and the exit status it leads to.
//!
//! An error is made where the cause is known, gains one phrase of context on each level that knows more, and is
//! printed once, by `cli::main`. Nothing here prints.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Exit status of usnea when usnea itself failed (docker's).
pub const STATUS_OURS: u8 = 125;
/// Exit status when the command was found and cannot be invoked (docker's).
pub const STATUS_CANNOT_INVOKE: u8 = 126;
/// Exit status when the command was not found (docker's).
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status of a program that SIGPIPE ended, as shells have it: nobody reads its output.
pub const STATUS_UNREAD: u8 = 128 + libc::SIGPIPE as u8;

/// Result with usnea's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where somebody goes another way because of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Kind {
    /// Anything else: it would be the same elsewhere.
    #[default]
    Other,
    /// Who was asked does not have it.
    Absent,
    /// Who was asked does not give it to us.
    Denied,
    /// Who was asked does not answer, or not as it should.
    Unreachable,
    /// There is no room for it on the disk, or in a quota.
    Full,
    /// What came is no image.
    Artifact,
    /// The manifest's format is refused by its registry.
    Format,
    /// Nobody reads what is written to standard output: no reason for a message.
    Unread,
}

/// A failure: phrases from the outermost to the cause, a hint, an exit status, its kind. It can cross a pipe.
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
    /// A failure whose cause is `cause`: lower case, no full stop.
    pub fn new(cause: impl Display) -> Self {
        let phrases = vec![cut(cause.to_string())];
        Self { phrases, hint: None, status: STATUS_OURS, kind: Kind::Other, errno: None }
    }

    /// The number of the system call's error that it came from.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// Adds the way out: a whole sentence or a command to type. The innermost hint stays: it knows most.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The way out, where one is known.
    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Sets the exit status that this failure leads to (125 otherwise).
    pub fn exit_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The exit status that this failure leads to.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Says what kind of failure it is. What was said before stays: the innermost knows most.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        if self.kind == Kind::Other {
            self.kind = kind;
        }
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is the failure of the one that was asked alone: another may do better.
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

/// What system calls fail with, as the bare text of the errno ("No such file or directory"). An error of ours that came
/// through a reader is itself again.
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

/// The longest phrase, in bytes: longer ones are paths that nobody reads to their end.
const LONGEST_PHRASE: usize = 2000;

/// A phrase, its middle left out where it is too long.
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

/// `result.context(|| format!("cannot open {path}"))`: says what was being done, on what.
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
