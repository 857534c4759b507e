//! Paths that an image or a container can influence: resolved once, inside a root, to a descriptor; only the
//! descriptor is used after that. openat2(2), kernel 5.6: no path check of ours could be as tight.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What is done with symbolic links on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Followed, as a process whose root directory is the root would see them.
    Follow,
    /// None may be on the way (ELOOP).
    Refuse,
}

/// What a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// Anything else: an empty regular file is made where there is none.
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
            // EAGAIN: something was renamed meanwhile and the kernel could not be sure (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => continue,
            answer => return Ok(answer?),
        }
    }
}

/// The place to mount on: `path` below `root`, made with its folders (mode 0755) where it is missing. A symbolic link
/// that leads to nothing inside the root is ENOENT, never followed out of it.
pub fn mount_point(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: Kind,
    symlinks: Symlinks,
) -> io::Result<OwnedFd> {
    match open(root, path, OFlags::PATH, symlinks) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            make(root, path, kind, symlinks)
        }
        answer => answer,
    }
}

/// Makes what is missing of `path`, from the outside in. Each folder is resolved anew from the root, and only a name in
/// it is made: a link that appears meanwhile is resolved in the root too.
fn make(root: BorrowedFd<'_>, path: &Path, kind: Kind, symlinks: Symlinks) -> io::Result<OwnedFd> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL)); // "/" is always there
    };
    let folder = match open(root, parent, OFlags::PATH, symlinks) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            make(root, parent, Kind::Directory, symlinks)?
        }
        answer => answer?,
    };
    let made = match kind {
        Kind::File => make_file(&folder, name).map(Some),
        Kind::Directory => {
            let made = rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755));
            made.map(|()| None).map_err(io::Error::from)
        }
    };
    match made {
        Ok(Some(file)) => Ok(file),
        Ok(None) => open(root, path, OFlags::PATH, symlinks),
        // Made by somebody else meanwhile; or a link to nothing, which this opening calls ENOENT.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            open(root, path, OFlags::PATH, symlinks)
        }
        Err(error) => Err(error),
    }
}

/// Makes an empty file named `name` in `folder`, mode 0644. Errors: EEXIST when there is anything of that name.
pub fn make_file(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?)
}

/// Makes a folder named `name` in `folder`, mode 0755, and opens it (O_PATH). Errors: EEXIST when there is anything of that
/// name.
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

/// Sets the permissions of `name` itself, never of what a link leads to (fchmodat2(2), kernel 6.6; before that by a
/// descriptor of it and `/proc`).
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
