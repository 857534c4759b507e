//! Paths that an image or a container controls: resolved once, inside a root, to a descriptor. Only the descriptor is
//! used afterwards. openat2(2), Linux 5.6: no check of paths in a program could be as tight.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Treatment of symbolic links on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Follow links as a process would whose root directory is the root.
    Follow,
    /// Refuse paths with links (ELOOP).
    Refuse,
}

/// Kind of a mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPointKind {
    /// A folder.
    Directory,
    /// Any other file: a missing one is created as an empty regular file.
    File,
}

fn resolve(symlinks: Symlinks) -> ResolveFlags {
    let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if symlinks == Symlinks::Refuse { flags | ResolveFlags::NO_SYMLINKS } else { flags }
}

/// Opens `path` below `root` with `flags` (close-on-exec always). Errors: openat2(2).
pub fn open(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    symlinks: Symlinks,
) -> io::Result<OwnedFd> {
    loop {
        match rustix::fs::openat2(
            &root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve(symlinks),
        ) {
            // EAGAIN: a concurrent rename left the kernel unsure (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => continue,
            answer => return Ok(answer?),
        }
    }
}

/// Symbolic links to missing files that a path may have, as in the kernel's own limit (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Opens `path` below `root` as a mount point, creating missing parts (folders with mode 0755). A symbolic link with no
/// target inside the root is ENOENT, never followed out of the root. The exception is a link in place of a file: its
/// target is created, inside the root. In many images `/etc/resolv.conf` is a link to a file that systemd-resolved
/// makes.
pub fn mount_point(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: MountPointKind,
    symlinks: Symlinks,
) -> io::Result<OwnedFd> {
    match open(root, path, OFlags::PATH, symlinks) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            make(root, path, kind, symlinks, MOST_LINKS)
        }
        answer => answer,
    }
}

/// Creates the missing parts of `path`, from the outside in. Each folder is resolved anew from the root, and only a
/// name in the folder is created. A link that appears meanwhile is resolved in the root too.
fn make(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: MountPointKind,
    symlinks: Symlinks,
    links: u32,
) -> io::Result<OwnedFd> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL)); // "/" is always there
    };
    let folder = match open(root, parent, OFlags::PATH, symlinks) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            make(root, parent, MountPointKind::Directory, symlinks, links)?
        }
        answer => answer?,
    };
    let made = match kind {
        MountPointKind::File => make_file(&folder, name).map(Some),
        MountPointKind::Directory => {
            let made = rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755));
            made.map(|()| None).map_err(io::Error::from)
        }
    };
    match made {
        Ok(Some(file)) => Ok(file),
        Ok(None) => open(root, path, OFlags::PATH, symlinks),
        // Created concurrently by another process; or a link to a missing file, which this open reports as ENOENT.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            match open(root, path, OFlags::PATH, symlinks) {
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOENT)
                        && kind == MountPointKind::File
                        && links > 0 =>
                {
                    let target = rustix::fs::readlinkat(&folder, name, Vec::new())?;
                    let target = parent.join(OsStr::from_bytes(target.as_bytes()));
                    make(root, &target, kind, symlinks, links - 1)
                }
                answer => answer,
            }
        }
        Err(error) => Err(error),
    }
}

/// Creates an empty file `name` in `folder`, mode 0644. Errors: EEXIST if the name exists.
pub fn make_file(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?)
}

/// Creates a folder `name` in `folder`, mode 0755, and opens it (O_PATH). Errors: EEXIST if the name exists.
pub fn make_directory(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// Reads a small regular file below `root`: at most `limit` bytes (EFBIG), never a FIFO or a device (EINVAL).
pub fn read(root: impl AsFd, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file: std::fs::File =
        open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Symlinks::Follow)?
            .into();
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(content)
}

/// Sets the permissions of `name` itself, never of a link's target (fchmodat2(2), kernel 6.6). Older kernels: by a
/// descriptor and `/proc`.
pub fn change_mode(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(name.as_bytes())?;
    match super::inode::fchmodat2(&folder, &path, mode, libc::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::NOSYS) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
        }
        answer => Ok(answer?),
    }
}
