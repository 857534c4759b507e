//! Failure of a request, with what the decision to retry needs.

use crate::error::{self, Error};

/// Class of a failure, for the decision to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A retry may succeed.
    Passing,
    /// No connection: no address, no listener, or no TLS.
    Unanswered,
    /// A retry would fail again.
    Lasting,
}

/// Reason for a missing answer, or for an answer that the server cannot give now.
#[derive(Debug)]
pub struct RequestFailure {
    /// Error to report when no retry follows.
    pub error: Error,
    /// Class of the failure.
    pub kind: FailureKind,
    /// Wait that the registry demands before the next request (`Retry-After`).
    pub after: Option<std::time::Duration>,
}

impl RequestFailure {
    /// Makes a failure that a retry cannot cure.
    pub fn lasting(error: Error) -> Self {
        Self { error, kind: FailureKind::Lasting, after: None }
    }

    /// Makes a lasting failure whose cause is the server at that address.
    pub(super) fn unusable(error: Error) -> Self {
        Self::lasting(error.at_endpoint(error::ErrorKind::Unreachable))
    }

    /// Makes a failure that a retry may cure.
    pub fn passing(error: Error) -> Self {
        Self { error, kind: FailureKind::Passing, after: None }
    }
}

impl From<Error> for RequestFailure {
    fn from(error: Error) -> Self {
        Self::lasting(error)
    }
}
