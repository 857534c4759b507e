//! Marks of overlayfs in extended attributes, and the forms of whiteouts in a layer.

use std::ffi::OsStr;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::folder::LayerFolder;
use super::whiteout::{OPAQUE_NAME, WhiteoutName, is_device, whiteout_name};

/// Prefixes of overlayfs's own attributes, and of those with the same meaning that usnea writes in their place. The second
/// needs real root.
const PREFIXES: [&[u8]; 3] = [b"user.overlay.", b"trusted.overlay.", OWN_PREFIX];

/// Prefix of [`super::MarkAttributes::OWN`].
const OWN_PREFIX: &[u8] = b"user.usnea.overlay.";

/// True if an attribute is one of overlayfs's own, and not a file's own under an escaped name.
pub fn is_overlay_attribute(name: &[u8]) -> bool {
    overlay_name(name).is_some_and(|name| !name.starts_with(b"overlay."))
}

/// Returns the name of an overlayfs attribute without its prefix.
fn overlay_name(attribute: &[u8]) -> Option<&[u8]> {
    PREFIXES.iter().find_map(|prefix| attribute.strip_prefix(*prefix))
}

/// Returns the name on disk for an attribute that a process names. Names of overlayfs's own attributes are stored one
/// level deeper, as in the kernel's overlay (6.7). `None`: unchanged.
pub fn escaped(name: &[u8]) -> Option<Vec<u8>> {
    PREFIXES.iter().find_map(|prefix| {
        let rest = name.strip_prefix(*prefix)?;
        Some([*prefix, b"overlay.", rest].concat())
    })
}

/// Returns the name that a process sees of an attribute on disk. `None`: it is overlayfs's own.
pub fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    for prefix in PREFIXES {
        if let Some(rest) = name.strip_prefix(prefix) {
            let rest = rest.strip_prefix(b"overlay.")?;
            return Some([prefix, rest].concat());
        }
    }
    Some(name.to_vec())
}

/// True if one of overlayfs's own attributes exists, under either prefix. `read` reads an attribute.
fn has_overlay_attribute<T>(name: &str, read: impl Fn(&[u8]) -> Result<T, Errno>) -> bool {
    PREFIXES.iter().any(|prefix| read(&[*prefix, name.as_bytes()].concat()).is_ok())
}

/// True if the data of a file may lie in a lower layer: it is marked so by a kernel overlay with `metacopy`. `read`
/// reads an attribute of the file.
pub fn has_metacopy<T>(stat: &Stat, read: impl Fn(&[u8]) -> Result<T, Errno>) -> bool {
    // Such a file is a hole, beside a few blocks of attributes.
    let is_hole = stat.st_mode & libc::S_IFMT == libc::S_IFREG
        && stat.st_size > 0
        && stat.st_blocks <= 16
        && stat.st_blocks * 512 < stat.st_size;
    is_hole && has_overlay_attribute("metacopy", read)
}

/// Marks of a folder in its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderMarks {
    /// True if the folder hides those below.
    pub is_opaque: bool,
    /// True if the folder, or as the root its layer, may have whiteouts in the form of attributes.
    pub has_attribute_whiteouts: bool,
    /// True if a kernel overlay with `redirect_dir` moved the folder: its content lies elsewhere.
    pub is_redirected: bool,
}

impl FolderMarks {
    /// Reads the marks of a folder. A single system call where there are none.
    pub fn read(folder: &impl LayerFolder) -> Result<Self, Errno> {
        let mut marks = Self::default();
        for attribute in folder.own_xattr_names()?.split(|byte| *byte == 0) {
            match overlay_name(attribute) {
                Some(b"opaque") => match folder.own_xattr(attribute) {
                    // Another value means nothing, as to the kernel's overlay.
                    Ok(value) => {
                        marks.is_opaque |= value == b"y";
                        marks.has_attribute_whiteouts |= value == b"x";
                    }
                    // A caller without rights to the folder cannot read its attributes.
                    Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
                    Err(errno) => return Err(errno),
                },
                Some(b"redirect") => marks.is_redirected = true,
                Some(b"whiteouts") if attribute.starts_with(OWN_PREFIX) => {
                    marks.has_attribute_whiteouts = true;
                }
                _ => {}
            }
        }
        Ok(marks)
    }
}

/// Forms of whiteouts in a layer, or in one of its folders, beside devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhiteoutForms {
    /// Some empty files are whiteouts, by their attribute.
    pub attributes: bool,
    /// Names that begin with `.wh.` are whiteouts.
    pub names: bool,
}

impl WhiteoutForms {
    /// True if the file under `name` is a whiteout, in any form but a name.
    pub fn is_whiteout(self, folder: &impl LayerFolder, name: &OsStr, stat: &Stat) -> bool {
        is_device(stat)
            || self.attributes && is_empty_file(stat) && has_whiteout_attribute(folder, name)
    }

    /// True if a whiteout by name hides `name` in the layers below.
    pub fn is_hidden_by_name(self, folder: &impl LayerFolder, name: &OsStr) -> bool {
        self.names && exists(folder, &whiteout_name(name))
    }

    /// True if a folder with these marks hides those below.
    pub fn is_opaque(self, folder: &impl LayerFolder, marks: FolderMarks) -> bool {
        marks.is_opaque || self.names && exists(folder, OPAQUE_NAME.as_ref())
    }

    /// True if the name itself is a mark, and no file's.
    pub fn is_mark(self, name: &OsStr) -> bool {
        self.names && WhiteoutName::parse(name) != WhiteoutName::File
    }
}

/// True if a file may be a whiteout in the form of an attribute.
pub(super) fn is_empty_file(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_size == 0
}

fn has_whiteout_attribute(folder: &impl LayerFolder, name: &OsStr) -> bool {
    has_overlay_attribute("whiteout", |attribute| folder.xattr(name, attribute))
}

// A name that is too long does not exist.
fn exists(folder: &impl LayerFolder, name: &OsStr) -> bool {
    folder.stat(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::DiskFolder;

    fn set(path: &std::path::Path, attribute: &str, value: &[u8]) {
        rustix::fs::lsetxattr(path, attribute, value, rustix::fs::XattrFlags::empty()).unwrap();
    }

    #[test]
    fn the_overlays_own_attributes_are_hidden_and_others_of_their_name_kept_deeper() {
        assert_eq!(unescaped(b"user.overlay.opaque"), None);
        assert_eq!(unescaped(b"user.mine").as_deref(), Some(&b"user.mine"[..]));
        let kept = escaped(b"user.overlay.opaque").expect("escaped");
        assert_eq!(kept, b"user.overlay.overlay.opaque");
        assert!(is_overlay_attribute(b"trusted.overlay.opaque") && !is_overlay_attribute(&kept));
        assert!(!is_overlay_attribute(b"user.overlays.opaque"));
        assert_eq!(unescaped(&kept).as_deref(), Some(&b"user.overlay.opaque"[..]));
        let twice = escaped(&kept).expect("escaped");
        assert_eq!(unescaped(&twice), Some(kept));
        assert_eq!(escaped(b"user.mine"), None);
    }

    #[test]
    fn y_hides_the_layers_below_and_x_declares_whiteouts() {
        let top = tempfile::tempdir().unwrap();
        let folder: DiskFolder =
            rustix::fs::open(top.path(), DiskFolder::FLAGS, rustix::fs::Mode::empty())
                .unwrap()
                .into();
        assert_eq!(FolderMarks::read(&folder), Ok(FolderMarks::default()));
        set(top.path(), "user.overlay.opaque", b"x");
        let declared = FolderMarks { has_attribute_whiteouts: true, ..FolderMarks::default() };
        assert_eq!(FolderMarks::read(&folder), Ok(declared));
        set(top.path(), "user.overlay.opaque", b"y");
        let opaque = FolderMarks { is_opaque: true, ..FolderMarks::default() };
        assert_eq!(FolderMarks::read(&folder), Ok(opaque));
        set(top.path(), "user.overlay.overlay.redirect", b"a process's own");
        assert_eq!(FolderMarks::read(&folder), Ok(opaque));
        set(top.path(), "user.overlay.redirect", b"/elsewhere");
        assert!(FolderMarks::read(&folder).unwrap().is_redirected);
    }
}
