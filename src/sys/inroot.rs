//! Paths that an image or a container can influence: resolved once, inside a root, to a descriptor; only the
//! descriptor is used after that. openat2(2), kernel 5.6: no path check of ours could be as tight.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

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

fn make(root: BorrowedFd<'_>, path: &Path, kind: Kind, symlinks: Symlinks) -> io::Result<OwnedFd> {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut here = open(root, Path::new("."), OFlags::PATH, symlinks)?;
    let mut so_far = std::path::PathBuf::new();
    while let Some(name) = names.next() {
        so_far.push(name);
        let last = names.clone().next().is_none();
        here = match open(root, &so_far, OFlags::PATH, symlinks) {
            Ok(found) => found,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                // Made in the folder just resolved; EEXIST here is a link to nothing: the open below then says ENOENT.
                let made = if last && kind == Kind::File {
                    let flags = OFlags::CREATE
                        | OFlags::EXCL
                        | OFlags::WRONLY
                        | OFlags::NOFOLLOW
                        | OFlags::CLOEXEC;
                    rustix::fs::openat(&here, name, flags, Mode::from_raw_mode(0o644)).map(drop)
                } else {
                    rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755))
                };
                match made {
                    Ok(()) | Err(Errno::EXIST) => open(root, &so_far, OFlags::PATH, symlinks)?,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        };
    }
    Ok(here)
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
