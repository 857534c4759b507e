//! Kinds of failures, for callers that react to them: an HTTP status each, as docker's API answers.

use serde::{Deserialize, Serialize};

/// Kind of a failure. docker's API documents the status that each of its calls answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum ErrorKind {
    /// Failure of usnea, of the machine or of a file of the store: nothing that a caller could mend.
    #[default]
    Internal,
    /// The named container, image, volume, manifest list or object of a registry does not exist.
    NotFound,
    /// The name or the object is in use, or in a state that forbids the request.
    Conflict,
    /// The object is already in the requested state.
    AlreadySo,
    /// The request needs a container that runs.
    NotRunning,
    /// A value, a name or a combination of settings is not valid.
    Invalid,
    /// The kernel, a policy or a registry refuses it.
    Refused,
    /// A peer does not answer, or not correctly.
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

impl ErrorKind {
    /// HTTP status of an answer with this failure.
    pub fn http_status(self) -> u16 {
        match self {
            Self::AlreadySo => 304,
            Self::Invalid | Self::Artifact => 400,
            Self::Refused => 403,
            Self::NotFound => 404,
            Self::Conflict | Self::NotRunning => 409,
            Self::Unreachable | Self::Format => 502,
            Self::Internal | Self::Full | Self::Unread => 500,
        }
    }
}
