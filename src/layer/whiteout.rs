//! Whiteouts as devices and names: what a name means in a layer. [`super`]
//! lists all forms, and where each is read.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// Prefix of a whiteout's name, if whiteouts are names.
const PREFIX: &[u8] = b".wh.";

/// Prefix of aufs's own files, which docker once put into layers.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Name of the file that makes a folder opaque, if whiteouts are names.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";

/// Attribute that makes a folder opaque: the kernel's overlay reads it if mounted with `userxattr`.
pub const OPAQUE: &str = "user.overlay.opaque";

/// Form of whiteouts in a layer. Devices and attributes are read as whiteouts in layers of every form, names only in those
/// of the form `Names`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whiteouts {
    /// Names have no special meaning.
    #[default]
    Overlay,
    /// Names that begin with `.wh.` are whiteouts.
    Names,
    /// Whiteouts are attributes of usnea's own, which the kernel's overlay does not read.
    Attributes,
}

impl Whiteouts {
    /// True if the kernel's overlay reads the form.
    pub fn are_read_by_kernel(self) -> bool {
        self == Self::Overlay
    }
}

/// Meaning of a name where whiteouts are names (image spec, layer.md, "Whiteouts").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhiteoutName<'a> {
    /// File of the layer.
    File,
    /// Whiteout of this name in the same folder.
    Whiteout(&'a OsStr),
    /// Mark of the folder as opaque.
    Opaque,
    /// File of aufs's own, without meaning.
    Aufs,
    /// Whiteout of no possible name: of nothing, `.` or `..`.
    Nothing,
}

impl<'a> WhiteoutName<'a> {
    /// Parses a name.
    pub fn parse(name: &'a OsStr) -> Self {
        match name.as_bytes().strip_prefix(PREFIX) {
            None => Self::File,
            Some(_) if name == OPAQUE_NAME => Self::Opaque,
            Some(_) if name.as_bytes().starts_with(AUFS_PREFIX) => Self::Aufs,
            Some(b"" | b"." | b"..") => Self::Nothing,
            Some(removed) => Self::Whiteout(OsStr::from_bytes(removed)),
        }
    }
}

/// Returns the name of the whiteout of `name`.
pub fn whiteout_name(name: &OsStr) -> OsString {
    OsString::from_vec([PREFIX, name.as_bytes()].concat())
}

/// True if a file is the device 0:0, a whiteout.
pub fn is_device(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_are_of_a_name() {
        let parse = |name: &'static str| WhiteoutName::parse(name.as_ref());
        let whiteout = |name: &'static str| WhiteoutName::Whiteout(name.as_ref());
        assert_eq!((parse("a"), parse(".wh")), (WhiteoutName::File, WhiteoutName::File));
        assert_eq!((parse(".wh.a"), parse(".wh....")), (whiteout("a"), whiteout("...")));
        assert_eq!(parse(".wh..wh..opq"), WhiteoutName::Opaque);
        for wrong in [".wh.", ".wh..", ".wh..."] {
            assert_eq!(parse(wrong), WhiteoutName::Nothing);
        }
        for name in [".wh..wh.plnk", ".wh..wh.aufs", ".wh..wh..opq2", ".wh..wh."] {
            assert_eq!(parse(name), WhiteoutName::Aufs);
        }
    }
}
