//! Whiteouts: marks in a layer for removed files of the layers below. Shared by all code that unpacks or copies layers,
//! or reads them without a mount.
//!
//! | | device | attribute | name |
//! | --- | --- | --- | --- |
//! | a removed file or folder | character device 0:0 | empty file with `user.overlay.whiteout` | file `.wh.NAME` |
//! | a folder hides those below | `user.overlay.opaque` = `y` | the same | file `.wh..wh..opq` in it |
//!
//! The first form is that of the kernel's overlay, which also reads the second since 6.7. The third is that of the
//! image spec (layer.md, "Whiteouts"), for file systems without support for either: NFS, an overlay. The kernel's
//! overlay does not read names; ours does, and a copy needs no whiteouts. fuse-overlayfs, as a writable file system,
//! accepts none of the three, and reserves such names and attributes for itself. A layer with whiteouts is an error
//! there.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Prefix of a whiteout's name, if whiteouts are names.
pub const PREFIX: &[u8] = b".wh.";

/// Name of the file that makes a folder opaque, if whiteouts are names.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";

/// Attribute that makes a folder opaque: the kernel's overlay reads it if mounted with `userxattr`.
pub const OPAQUE: &str = "user.overlay.opaque";

/// Meaning of names as whiteouts. Devices and attributes are whiteouts everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whiteouts {
    /// Names have no special meaning.
    #[default]
    Overlay,
    /// Names that begin with `.wh.` are whiteouts.
    Names,
}

/// Returns the name of the whiteout of `name`.
pub fn name_of(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// True if the file `name` in `folder` is a whiteout, in a form that the kernel's overlay reads.
pub fn is_whiteout(folder: impl AsFd, name: impl AsRef<Path>, stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::RegularFile if stat.st_size == 0 => {
            let folder = folder.as_fd().as_raw_fd();
            let path = Path::new("/proc/self/fd").join(folder.to_string()).join(name);
            ["user.overlay.whiteout", "trusted.overlay.whiteout"]
                .iter()
                .any(|attribute| rustix::fs::lgetxattr_query(&path, *attribute).is_ok())
        }
        _ => false,
    }
}

impl Whiteouts {
    /// True if the name itself marks another name or its folder, and is no file.
    pub fn is_mark(self, name: &[u8]) -> bool {
        self == Self::Names && name.starts_with(PREFIX)
    }

    /// True if a name in `folder` marks `name` as removed.
    pub fn has_mark(self, folder: impl AsFd, name: &[u8]) -> bool {
        self == Self::Names && exists(folder, &name_of(name))
    }

    /// True if the folder, open for reading or by its path alone, hides those below it.
    pub fn hides_below(self, folder: impl AsFd) -> bool {
        // O_PATH descriptors have no attributes; this path leads to the open folder (proc_pid_fd(5)).
        let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        let mut value = [0; 1];
        // "x" has another meaning: the folder may contain whiteouts in the form of attributes.
        rustix::fs::getxattr(path, OPAQUE, &mut value).is_ok_and(|_| value == *b"y")
            || self == Self::Names && exists(folder, OPAQUE_NAME.as_bytes())
    }
}

// A name that is too long does not exist.
fn exists(folder: impl AsFd, name: &[u8]) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Finds the form for layers on the file system of `folder`, which is empty and ours. The form is tried, and read back
/// by other descriptors: some file systems accept more than they store. Errors: the folder is not writable.
pub fn tried_in(folder: BorrowedFd<'_>) -> Result<Whiteouts, Errno> {
    const TRIAL: &str = "whiteout-trial";
    rustix::fs::mkdirat(folder, TRIAL, Mode::RWXU)?;
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(folder, TRIAL, flags, Mode::empty())
    };
    let write = || -> Result<(), Errno> {
        let inner = open()?;
        rustix::fs::mknodat(&inner, "gone", FileType::CharacterDevice, Mode::empty(), 0)?;
        rustix::fs::fsetxattr(&inner, OPAQUE, b"y", XattrFlags::empty())
    };
    let written = write();
    let is_kept = || -> Result<bool, Errno> {
        let inner = open()?;
        let stat = rustix::fs::statat(&inner, "gone", AtFlags::SYMLINK_NOFOLLOW)?;
        let names = Dir::read_from(&inner)?.filter_map(Result::ok);
        let is_listed = names.into_iter().any(|entry| entry.file_name() == c"gone");
        Ok(is_listed
            && is_whiteout(&inner, "gone", &stat)
            && Whiteouts::Overlay.hides_below(&inner))
    };
    let form = match written.and_then(|()| is_kept()) {
        Ok(true) => Whiteouts::Overlay,
        // A full disk is no answer.
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => {
            let _ = crate::sys::tree::remove(folder, TRIAL.as_bytes());
            return Err(errno);
        }
        _ => Whiteouts::Names,
    };
    // Leftovers are removed with the folder.
    let _ = crate::sys::tree::remove(folder, TRIAL.as_bytes());
    Ok(form)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn names_say_something_only_where_they_are_whiteouts() {
        let top = tempfile::tempdir().unwrap();
        let folder = File::open(top.path()).unwrap();
        std::fs::write(top.path().join(".wh.gone"), "").unwrap();
        assert!(Whiteouts::Names.has_mark(&folder, b"gone"));
        assert!(!Whiteouts::Overlay.has_mark(&folder, b"gone"));
        assert!(!Whiteouts::Names.has_mark(&folder, b"there"));
        assert!(!Whiteouts::Names.has_mark(&folder, &[b'x'; 255]));
        assert!(!Whiteouts::Names.hides_below(&folder));
        std::fs::write(top.path().join(OPAQUE_NAME), "").unwrap();
        assert!(Whiteouts::Names.hides_below(&folder));
        assert!(!Whiteouts::Overlay.hides_below(&folder));
        assert!(Whiteouts::Names.is_mark(b".wh.x") && !Whiteouts::Overlay.is_mark(b".wh.x"));
    }

    #[test]
    fn a_trial_leaves_nothing_behind() {
        let top = tempfile::tempdir().unwrap();
        let folder = File::open(top.path()).unwrap();
        tried_in(folder.as_fd()).unwrap();
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
