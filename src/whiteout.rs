//! How a layer says what of the layers below it is gone, and how that is read: one understanding for whoever unpacks
//! layers, copies them, or looks into them without a mount.
//!
//! | | device | attribute | name |
//! | --- | --- | --- | --- |
//! | a file or folder is gone | character device 0:0 | empty file with `user.overlay.whiteout` | file `.wh.NAME` |
//! | a folder hides those below | `user.overlay.opaque` = `y` | the same | file `.wh..wh..opq` in it |
//!
//! The first is the kernel's overlay's, and the second too since 6.7. The third is that of the image spec (layer.md,
//! "Whiteouts"), for file systems that hold neither: NFS, an overlay. The kernel's overlay does not read names; ours does, and
//! a copy needs no whiteouts. fuse-overlayfs, as a file system to write to, takes none of the three (it keeps such names and
//! attributes for itself): there a layer with whiteouts is an error.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Prefix of the name of a whiteout where whiteouts are names.
pub const PREFIX: &[u8] = b".wh.";

/// The name that makes a folder opaque where whiteouts are names.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";

/// The attribute of a folder that hides those below: the kernel's overlay reads it when it is mounted with `userxattr`.
pub const OPAQUE: &str = "user.overlay.opaque";

/// Whether names are whiteouts too. Devices and attributes are, everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whiteouts {
    /// Names are names.
    #[default]
    Overlay,
    /// Names that begin with `.wh.` are whiteouts.
    Names,
}

/// The name of the whiteout of `name`.
pub fn name_of(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// Whether the file `name` in `folder` stands for nothing, in the forms that the kernel's overlay reads.
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
    /// Whether the name itself says something of another name or of its folder, and is no file.
    pub fn is_mark(self, name: &[u8]) -> bool {
        self == Self::Names && name.starts_with(PREFIX)
    }

    /// Whether a name in `folder` says that `name` is gone.
    pub fn has_mark(self, folder: impl AsFd, name: &[u8]) -> bool {
        self == Self::Names && exists(folder, &name_of(name))
    }

    /// Whether the folder, open for reading or by its path alone, hides those below it.
    pub fn hides_below(self, folder: impl AsFd) -> bool {
        // O_PATH has no attributes of its own; this path leads to what was opened (proc_pid_fd(5)).
        let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        let mut value = [0; 1];
        // "x" says something else: that there may be whiteouts in the form of attributes in it.
        rustix::fs::getxattr(path, OPAQUE, &mut value).is_ok_and(|_| value == *b"y")
            || self == Self::Names && exists(folder, OPAQUE_NAME.as_bytes())
    }
}

// A name that is too long is none that there is.
fn exists(folder: impl AsFd, name: &[u8]) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The form for layers on the file system of `folder`, which is empty and ours: tried, and read back by other descriptors,
/// since some file systems take what they do not keep. Errors: the folder cannot be written to.
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
    // What is left goes with the folder.
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
