//! Owner, mode, times and hard links of an inode, by a descriptor that may be O_PATH.
//!
//! A name in a folder that others may write to can lead to another file a moment later (CVE-2018-15664,
//! CVE-2019-19921). So a file is opened once, without following a link, and all operations go by that descriptor.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{
    AtFlags, Dir, FileType, FsWord, Gid, Mode, OFlags, ResolveFlags, Timestamps, Uid,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// `f_type` of procfs (statfs(2)).
pub const PROC_SUPER_MAGIC: FsWord = 0x9fa0;

/// Opens the file `name` itself, never a link's target, for the functions of this module (O_PATH). Errors: ESTALE if
/// the file is not of this kind, as after a concurrent replacement.
pub fn open(folder: impl AsFd, name: impl Arg, kind: FileType) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == kind {
        true => Ok(file),
        false => Err(Errno::STALE),
    }
}

/// Sets owner and group (chown(2)).
pub fn change_owner(file: impl AsFd, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
    rustix::fs::chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH)
}

/// Sets the permissions (fchmodat2(2), kernel 6.6; before that by `/proc`). Errors: EOPNOTSUPP for a symbolic link.
pub fn change_mode(file: impl AsFd, mode: u32) -> Result<(), Errno> {
    match fchmodat2(&file, c"", mode, libc::AT_EMPTY_PATH) {
        // EPERM: from system call filters that do not know this call.
        Err(Errno::NOSYS | Errno::PERM) => by_number(&file, |folder, number| {
            rustix::fs::chmodat(folder, number, Mode::from_raw_mode(mode), FOLLOW)
        }),
        answer => answer,
    }
}

/// Sets the times of access and of change (AT_EMPTY_PATH, kernel 5.8; before that by `/proc`).
pub fn change_times(file: impl AsFd, times: &Timestamps) -> Result<(), Errno> {
    match rustix::fs::utimensat(&file, c"", times, AtFlags::EMPTY_PATH) {
        Err(Errno::INVAL) => {
            by_number(&file, |folder, number| rustix::fs::utimensat(folder, number, times, FOLLOW))
        }
        answer => answer,
    }
}

/// Makes a hard link. By `/proc`: AT_EMPTY_PATH requires a capability over the whole machine (linkat(2)).
pub fn link(file: impl AsFd, folder: impl AsFd, name: impl Arg) -> Result<(), Errno> {
    let name = name.into_c_str()?;
    by_number(&file, |numbers, number| {
        rustix::fs::linkat(numbers, number, &folder, &*name, AtFlags::SYMLINK_FOLLOW)
    })
}

/// Flag to follow a descriptor's name in [`by_number`], which leads to the file itself (proc_pid_fd(5)).
const FOLLOW: AtFlags = AtFlags::empty();

/// Calls fchmodat2(2), which rustix lacks.
pub(super) fn fchmodat2(
    folder: impl AsFd,
    name: &std::ffi::CStr,
    mode: u32,
    flags: libc::c_int,
) -> Result<(), Errno> {
    const FCHMODAT2: libc::c_long = 452; // the same on every architecture but alpha
    let folder = folder.as_fd().as_raw_fd();
    // SAFETY: `name` is a C string that outlives the call, and `folder` is open as long.
    match unsafe { libc::syscall(FCHMODAT2, folder, name.as_ptr(), mode, flags) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Does `act` with the descriptor's name in `/proc/self/fd`. Errors: EOPNOTSUPP if another file system is mounted on
/// the way: a container may do that with its own `/proc` (CVE-2019-16884, CVE-2025-52881).
fn by_number<T>(
    file: impl AsFd,
    act: impl FnOnce(&OwnedFd, &str) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags | OFlags::NOFOLLOW, Mode::empty())?;
    if rustix::fs::fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::OPNOTSUPP);
    }
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let numbers = match rustix::fs::openat2(&proc, c"self/fd", flags, Mode::empty(), resolve) {
        Err(Errno::XDEV | Errno::NOENT) => return Err(Errno::OPNOTSUPP),
        answer => answer?,
    };
    act(&numbers, &file.as_fd().as_raw_fd().to_string())
}

/// Lists the names in a folder, sorted by their bytes.
pub fn names(folder: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let top = tempfile::tempdir().unwrap();
        let open = File::open(top.path()).unwrap().into();
        (top, open)
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn pipes_and_links_are_changed_themselves() {
        let (top, folder) = folder();
        let pipe = top.path().join("pipe");
        rustix::fs::mkfifoat(&folder, "pipe", Mode::RUSR).unwrap();
        let open = super::open(&folder, "pipe", FileType::Fifo).unwrap();
        change_mode(&open, 0o622).unwrap();
        assert_eq!(mode(&pipe), 0o622);
        by_number(&open, |folder, number| {
            rustix::fs::chmodat(folder, number, Mode::from_raw_mode(0o644), FOLLOW)
        })
        .unwrap();
        assert_eq!(mode(&pipe), 0o644);
        symlink("pipe", top.path().join("link")).unwrap();
        let link = super::open(&folder, "link", FileType::Symlink).unwrap();
        let time = rustix::fs::Timespec { tv_sec: 5, tv_nsec: 6 };
        let times = Timestamps { last_access: time, last_modification: time };
        change_times(&link, &times).unwrap();
        by_number(&link, |folder, number| rustix::fs::utimensat(folder, number, &times, FOLLOW))
            .unwrap();
        assert_eq!(top.path().join("link").symlink_metadata().unwrap().mtime(), 5);
        assert_ne!(pipe.metadata().unwrap().mtime(), 5);
        change_mode(&link, 0o600).unwrap_err();
        assert_eq!(mode(&pipe), 0o644);
    }

    #[test]
    fn an_exchanged_file_is_not_opened() {
        let (top, folder) = folder();
        fs::write(top.path().join("file"), "").unwrap();
        symlink("file", top.path().join("link")).unwrap();
        for kind in [FileType::RegularFile, FileType::Fifo, FileType::Directory] {
            assert_eq!(super::open(&folder, "link", kind).unwrap_err(), Errno::STALE);
        }
        assert_eq!(super::open(&folder, "none", FileType::Fifo).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn a_file_gets_another_name_wherever_it_is_now() {
        let (top, folder) = folder();
        let path = |name: &str| top.path().join(name);
        fs::write(path("file"), "x").unwrap();
        let open = super::open(&folder, "file", FileType::RegularFile).unwrap();
        fs::rename(path("file"), path("moved")).unwrap();
        symlink("/etc/passwd", path("file")).unwrap();
        link(&open, &folder, "second").unwrap();
        let number = |name: &str| path(name).symlink_metadata().unwrap().ino();
        assert_eq!(number("moved"), number("second"));
    }
}
