//! Error type of usnea: the failed operation, its object and cause, a hint, and the exit status.
//!
//! An error is created where the cause is known, and gains a phrase of context on each level that knows more.
//! `cli::main` prints the error once. No code here prints.

mod kind;
mod phrase;
mod setting;

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

pub use kind::ErrorKind;
pub use phrase::{Phrase, PhrasePart, SettingNotation, one_line};
pub use setting::Setting;

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

/// Failure: phrases from the outermost to the cause, a hint, an exit status, its kind. Serializable, to cross a pipe.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Error {
    phrases: Vec<Phrase>,
    hint: Option<String>,
    status: u8,
    kind: ErrorKind,
    #[serde(default)]
    is_endpoint_specific: bool,
    #[serde(default)]
    errno: Option<i32>,
}

impl Error {
    /// Creates a failure with this cause: lower case, no full stop.
    pub fn new(cause: impl Display) -> Self {
        Self::of(cause.to_string())
    }

    /// Creates a failure whose cause names settings.
    pub fn of(cause: impl Into<Phrase>) -> Self {
        Self {
            phrases: vec![cause.into()],
            hint: None,
            status: STATUS_OURS,
            kind: ErrorKind::Internal,
            is_endpoint_specific: false,
            errno: None,
        }
    }

    /// Creates a failure of something that does not exist.
    pub fn not_found(cause: impl Into<Phrase>) -> Self {
        Self::of(cause).of_kind(ErrorKind::NotFound)
    }

    /// Creates a failure of something in use, or in a state that forbids the request.
    pub fn conflict(cause: impl Into<Phrase>) -> Self {
        Self::of(cause).of_kind(ErrorKind::Conflict)
    }

    /// Creates a failure of a request that needs a running container.
    pub fn not_running(cause: impl Into<Phrase>) -> Self {
        Self::of(cause).of_kind(ErrorKind::NotRunning)
    }

    /// Creates a failure of an invalid value, name or combination of settings.
    pub fn invalid(cause: impl Into<Phrase>) -> Self {
        Self::of(cause).of_kind(ErrorKind::Invalid)
    }

    /// Creates a failure that the kernel or a policy demands.
    pub fn refused(cause: impl Into<Phrase>) -> Self {
        Self::of(cause).of_kind(ErrorKind::Refused)
    }

    /// Creates a failure with all these reasons, each once, the first hint, and the kind that all have.
    pub fn joined(reasons: &[Self]) -> Self {
        let mut texts: Vec<String> = reasons.iter().map(Self::to_string).collect();
        texts.dedup();
        let kinds = reasons.iter().map(Self::kind);
        let kind = kinds.reduce(|one, other| if one == other { one } else { ErrorKind::Internal });
        Self {
            hint: reasons.iter().find_map(Self::hint_text).map(str::to_owned),
            kind: kind.unwrap_or_default(),
            ..Self::new(texts.join("; "))
        }
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

    /// Removes the hint.
    pub fn without_hint(mut self) -> Self {
        self.hint = None;
        self
    }

    /// Returns the hint, if any.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Puts `phrase` before the cause.
    pub fn within(mut self, phrase: impl Into<Phrase>) -> Self {
        self.phrases.push(phrase.into());
        self
    }

    /// Escapes the control characters: the words of an error about a file of others may be theirs.
    pub fn in_one_line(mut self) -> Self {
        self.phrases = self.phrases.into_iter().map(Phrase::in_one_line).collect();
        self
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
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        if self.kind == ErrorKind::Internal {
            self.kind = kind;
        }
        self
    }

    /// Sets the kind of a failure of this peer alone. An inner kind stays, as the more specific one.
    pub fn at_endpoint(mut self, kind: ErrorKind) -> Self {
        if self.kind == ErrorKind::Internal {
            self.kind = kind;
            self.is_endpoint_specific = true;
        }
        self
    }

    /// Kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// True if the failure concerns this peer alone: another peer may succeed.
    pub fn is_endpoint_specific(&self) -> bool {
        self.is_endpoint_specific
    }

    /// Text of the failure, from the outermost phrase to the cause, with settings in this notation.
    pub fn text(&self, notation: SettingNotation) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(notation, &mut text);
        text
    }

    fn write(&self, notation: SettingNotation, to: &mut impl fmt::Write) -> fmt::Result {
        for (index, phrase) in self.phrases.iter().rev().enumerate() {
            if index > 0 {
                to.write_str(": ")?;
            }
            phrase.write(notation, to)?;
        }
        Ok(())
    }
}

/// Text for the command line.
impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(SettingNotation::Flag, f)
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

/// Context for errors: `result.context(
///
/// format!("cannot open {path}"))` names the operation and its object.
pub trait Context<T> {
    /// Puts `phrase` before the cause.
    fn context<S: Into<Phrase>>(self, phrase: impl FnOnce() -> S) -> Result<T>;
    /// Sets the kind of a failure that has none.
    fn of_kind(self, kind: ErrorKind) -> Result<T>;
    /// Adds a hint to a failure that has none.
    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<S: Into<Phrase>>(self, phrase: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().within(phrase()))
    }

    fn of_kind(self, kind: ErrorKind) -> Result<T> {
        self.map_err(|error| error.into().of_kind(kind))
    }

    fn hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().hint(hint()))
    }
}

/// `fail!("{name}: not a program")`: returns an [`Error`] made from a format string. `fail!(Invalid: "...")` sets its
/// kind.
#[macro_export]
macro_rules! fail {
    ($kind:ident: $($argument:tt)*) => {
        return Err($crate::error::Error::new(format!($($argument)*))
            .of_kind($crate::error::ErrorKind::$kind))
    };
    ($($argument:tt)*) => { return Err($crate::error::Error::new(format!($($argument)*))) };
}

#[cfg(test)]
mod tests {
    use super::phrase::{LONGEST_TEXT, cut};
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
        assert_eq!(error.hint_text(), Some("create it first"));
        assert_eq!(error.status(), STATUS_OURS);
        assert!(!error.is_endpoint_specific());
    }

    #[test]
    fn a_long_path_is_cut_in_its_middle() {
        let path = format!("/a{}/end", "/é".repeat(20_000));
        let error = Err::<(), _>(Error::new(&path)).context(|| path.clone()).unwrap_err();
        let text = error.to_string();
        assert!(text.len() < 2 * LONGEST_TEXT, "{}", text.len());
        assert!(text.starts_with("/a/é") && text.ends_with("é/end") && text.contains(" bytes]"));
        assert_eq!(cut("x".repeat(LONGEST_TEXT)).len(), LONGEST_TEXT);
    }

    #[test]
    fn an_error_that_came_through_a_reader_keeps_its_kind_and_hint() {
        let inner = Error::new("gone").hint("look elsewhere").of_kind(ErrorKind::Unreachable);
        let error = Error::from(std::io::Error::other(inner)).of_kind(ErrorKind::NotFound);
        assert_eq!(
            (error.kind(), error.hint_text()),
            (ErrorKind::Unreachable, Some("look elsewhere"))
        );
    }
}
