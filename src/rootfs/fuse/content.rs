//! Content of a FUSE mount: what a server process takes from its caller, and the file system that it makes of it.

use std::os::fd::{BorrowedFd, OwnedFd};

use fuser::{Filesystem, Notifier};

use super::confine::ServerReach;
use crate::error::Result;

/// Content of a FUSE mount, open before the server process exists. The methods are called in the order of their
/// declaration, in the server process.
pub trait FuseContent: Sized {
    /// Operations of the file system.
    type Server: Filesystem;

    /// Reads what the server needs of the caller's /proc.
    fn prepare(&mut self) {}

    /// Moves the content into mounts of the server's own; returns them, to be attached in its root. The server is still
    /// in the caller's mount namespace.
    fn take_mounts(&mut self) -> Vec<OwnedFd> {
        Vec::new()
    }

    /// Returns the descriptors that the server keeps open.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Returns the files that the server opens by itself.
    fn reach(&self) -> ServerReach<'_>;

    /// Makes the file system, in the confined process. Errors: the content is unusable.
    fn open(self, limits: ServerLimits) -> Result<OpenContent<Self::Server>>;
}

/// Content as a file system of fuser.
pub struct OpenContent<S> {
    /// Operations.
    pub server: S,
    /// Takes the sender of notices to the kernel, before the first request.
    pub connect: Box<dyn FnOnce(Notifier)>,
}

/// Limits of a server process.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Largest number of open files (RLIMIT_NOFILE).
    pub open_files: u64,
    /// Side that moves the shown IDs.
    pub mover: Mover,
}

/// Side that moves the shown IDs, if they are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// The server, if it has maps.
    Server,
    /// The kernel, by an idmapped mount. The kernel then reports the caller only for a new file, not for a change.
    Kernel,
}
