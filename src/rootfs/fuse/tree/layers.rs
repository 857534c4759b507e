//! Layers of an overlay and the callers of its operations.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Result of an operation.
pub type FsResult<T> = std::result::Result<T, Errno>;

/// Process that requests an operation.
#[derive(Clone, Copy, Debug)]
pub struct FsCaller {
    /// File system user.
    pub uid: u32,
    /// File system group.
    pub gid: u32,
    /// Mask for the mode of new files.
    pub umask: u32,
}

/// Layers of an overlay.
#[derive(Debug, Default)]
pub struct OverlayLayers {
    /// Read-only layers, the topmost first.
    pub lowers: Vec<OwnedFd>,
    /// Writable layer and its work folder, on one file system.
    pub upper: Option<(OwnedFd, OwnedFd)>,
}

impl OverlayLayers {
    /// Returns the descriptors of all layers.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let written = self.upper.iter().flat_map(|(upper, work)| [upper, work]);
        self.lowers.iter().chain(written).map(AsFd::as_fd).collect()
    }
}

/// True if files can be moved from one folder to the other: not between file systems, nor between two mounts of one.
pub fn in_one_mount(one: impl AsFd, other: impl AsFd) -> FsResult<bool> {
    use rustix::fs::{StatxFlags, fstat, statx};
    if fstat(&one)?.st_dev != fstat(&other)?.st_dev {
        return Ok(false);
    }
    // Both are zero where the kernel does not report it (before 5.8).
    let mount = |fd: BorrowedFd<'_>| {
        statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|x| x.stx_mnt_id)
    };
    Ok(match (mount(one.as_fd()), mount(other.as_fd())) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    })
}

/// Reopens a folder for reading: attributes and names cannot be read through O_PATH.
pub fn reopened(fd: OwnedFd) -> FsResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&fd, ".", flags, Mode::empty())
}

/// Returns the attributes of `name` itself (fstatat(2)), not of a link's target.
pub fn stat_at(folder: impl AsFd, name: &OsStr) -> FsResult<rustix::fs::Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}
