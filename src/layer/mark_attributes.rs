//! Writer of whiteouts and opaque folders in the form of extended attributes.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::folder::path_below;
use super::mark::is_empty_file;
use super::whiteout::OPAQUE;

/// Names of the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkAttributes {
    /// Attribute `y` of an opaque folder.
    opaque: &'static str,
    /// Attribute of an empty file that is a whiteout.
    whiteout: &'static str,
    /// Attribute of a folder with such whiteouts and of the layer's root.
    declaration: (&'static str, &'static [u8]),
}

impl MarkAttributes {
    /// Attributes of the kernel's overlay (6.8), mounted with `userxattr`.
    pub const KERNEL: Self =
        Self { opaque: OPAQUE, whiteout: "user.overlay.whiteout", declaration: (OPAQUE, b"x") };

    /// Attributes for file systems that keep those of the kernel's overlay to themselves (fuse-overlayfs).
    pub const OWN: Self = Self {
        opaque: "user.usnea.overlay.opaque",
        whiteout: "user.usnea.overlay.whiteout",
        declaration: ("user.usnea.overlay.whiteouts", b"y"),
    };

    /// True if the file `name` of `folder` is a whiteout of this form.
    pub fn is_whiteout(self, folder: impl AsFd, name: &OsStr, stat: &Stat) -> bool {
        let read = || rustix::fs::lgetxattr(path_below(&folder, name), self.whiteout, &mut [0; 1]);
        is_empty_file(stat) && read() == Ok(1)
    }

    /// Makes the file `name` of `folder`, a folder, opaque.
    pub fn set_opaque(self, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
        let path = path_below(folder, name);
        rustix::fs::lsetxattr(path, self.opaque, b"y", XattrFlags::empty())
    }

    /// Declares that `folder` has whiteouts of this form. The layer's root needs the declaration too.
    pub fn declare(self, folder: impl AsFd) -> Result<(), Errno> {
        let (attribute, value) = self.declaration;
        match rustix::fs::fsetxattr(folder, attribute, value, XattrFlags::CREATE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a whiteout under the unused name `name`. Errors: EEXIST.
    pub fn make_whiteout(self, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        // Readable by its owner, who otherwise could not read the attributes.
        drop(rustix::fs::openat(&folder, name, flags, Mode::RUSR)?);
        let path = path_below(&folder, name);
        rustix::fs::lsetxattr(path, self.whiteout, b"y", XattrFlags::empty())
    }
}
