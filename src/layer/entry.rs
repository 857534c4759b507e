//! Layer of a stack, and the meaning of one name in it: the rule that all readers of folders share.

use std::ffi::OsStr;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::folder::{DiskFolder, LayerFolder};
use super::mark::{FolderMarks, WhiteoutForms, is_empty_file};
use super::whiteout::{Whiteouts, is_device};

/// Visibility of the layers below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Lower content is visible too.
    Seen,
    /// Lower content is hidden.
    Hidden,
}

/// Layer of a stack: its root, and the form of its whiteouts.
#[derive(Clone, Debug)]
pub struct Layer<F = DiskFolder> {
    /// Root folder of the layer.
    pub root: F,
    /// Meaning of names that begin with `.wh.`.
    pub whiteouts: Whiteouts,
}

/// Meaning of a name in one layer.
#[derive(Clone, Debug)]
pub enum LayerEntry<F = DiskFolder> {
    /// No file: the layers below decide.
    Missing,
    /// Whiteout: no file, here and in the layers below.
    Whiteout,
    /// File of any kind but a folder: hides the layers below.
    File(Stat),
    /// Folder.
    Folder(F, Below),
}

impl<F: LayerFolder> Layer<F> {
    /// Returns the meaning of `name` in a folder of this layer.
    pub fn entry(&self, folder: &F, name: &OsStr) -> Result<LayerEntry<F>, Errno> {
        let stat = match folder.stat(name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                return Ok(match self.named().is_hidden_by_name(folder, name) {
                    true => LayerEntry::Whiteout,
                    false => LayerEntry::Missing,
                });
            }
            Err(error) => return Err(error),
        };
        if self.is_whiteout(folder, name, &stat)? {
            return Ok(LayerEntry::Whiteout);
        }
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return Ok(LayerEntry::File(stat));
        }
        let inner = folder.open_folder(name)?;
        let below = self.below(folder, name, &inner)?;
        Ok(LayerEntry::Folder(inner, below))
    }

    /// True if the file under `name` is a whiteout, in any form but a name.
    pub fn is_whiteout(&self, folder: &F, name: &OsStr, stat: &Stat) -> Result<bool, Errno> {
        if is_device(stat) || !is_empty_file(stat) {
            return Ok(is_device(stat));
        }
        let declares = |folder: &F| Ok(FolderMarks::read(folder)?.has_attribute_whiteouts);
        let attributes = declares(folder)? && declares(&self.root)?;
        Ok(WhiteoutForms { attributes, names: false }.is_whiteout(folder, name, stat))
    }

    /// Returns the visibility of the layers below the folder `inner`, whose name in `folder` is `name`.
    pub fn below(&self, folder: &F, name: &OsStr, inner: &F) -> Result<Below, Errno> {
        Ok(match self.is_opaque(inner)? || self.named().is_hidden_by_name(folder, name) {
            true => Below::Hidden,
            false => Below::Seen,
        })
    }

    /// True if a folder of the layer hides those below by a mark of its own.
    pub fn is_opaque(&self, folder: &F) -> Result<bool, Errno> {
        Ok(self.named().is_opaque(folder, FolderMarks::read(folder)?))
    }

    /// True if the name itself is a mark, and no file's.
    pub fn is_mark(&self, name: &OsStr) -> bool {
        self.named().is_mark(name)
    }

    fn named(&self) -> WhiteoutForms {
        WhiteoutForms { attributes: false, names: self.whiteouts == Whiteouts::Names }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, XattrFlags};

    use super::*;

    fn layer(root: &Path, whiteouts: Whiteouts) -> Layer {
        let root = rustix::fs::open(root, DiskFolder::FLAGS, Mode::empty()).unwrap().into();
        Layer { root, whiteouts }
    }

    fn meaning(layer: &Layer, name: &str) -> &'static str {
        match layer.entry(&layer.root, name.as_ref()).unwrap() {
            LayerEntry::Missing => "missing",
            LayerEntry::Whiteout => "whiteout",
            LayerEntry::File(_) => "file",
            LayerEntry::Folder(_, Below::Seen) => "folder",
            LayerEntry::Folder(_, Below::Hidden) => "opaque",
        }
    }

    #[test]
    fn names_are_marks_only_in_layers_of_that_form() {
        let top = tempfile::tempdir().unwrap();
        for name in [".wh.gone", ".wh.file", "file", ".wh.folder", ".wh..wh.plnk"] {
            fs::write(top.path().join(name), "").unwrap();
        }
        for name in ["folder", "opaque", "plain"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        fs::write(top.path().join("opaque/.wh..wh..opq"), "").unwrap();
        symlink("opaque", top.path().join("link")).unwrap();
        let names = layer(top.path(), Whiteouts::Names);
        for (name, expected) in [
            ("gone", "whiteout"),
            // These were made after the whiteout: a whiteout is of the layers below.
            ("file", "file"),
            ("folder", "opaque"),
            ("opaque", "opaque"),
            ("plain", "folder"),
            ("link", "file"),
            ("nothing", "missing"),
        ] {
            assert_eq!(meaning(&names, name), expected, "{name}");
        }
        assert_eq!(meaning(&names, &"x".repeat(255)), "missing");
        assert!(names.is_mark(".wh.gone".as_ref()) && names.is_mark(".wh..wh.plnk".as_ref()));
        let plain = layer(top.path(), Whiteouts::Overlay);
        for (name, expected) in [("gone", "missing"), ("folder", "folder"), ("opaque", "folder")] {
            assert_eq!(meaning(&plain, name), expected, "{name}");
        }
        assert!(!plain.is_mark(".wh.gone".as_ref()));
    }

    /// As the kernel's overlay lists folders (6.8): the attribute of an empty file alone means nothing.
    #[test]
    fn attributes_are_whiteouts_where_folder_and_layer_declare_them() {
        let top = tempfile::tempdir().unwrap();
        let set = |name: &str, attribute: &str, value: &[u8]| {
            let path = top.path().join(name);
            rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty()).unwrap();
        };
        for name in ["gone", "full", "empty"] {
            fs::write(top.path().join(name), if name == "full" { "x" } else { "" }).unwrap();
        }
        fs::create_dir(top.path().join("d")).unwrap();
        fs::write(top.path().join("d/gone"), "").unwrap();
        for name in ["gone", "full", "d/gone"] {
            set(name, "user.overlay.whiteout", b"y");
        }
        let device = top.path().join("device");
        rustix::fs::mknodat(CWD, device, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let layer = layer(top.path(), Whiteouts::Overlay);
        let inner = layer.root.open_folder("d".as_ref()).unwrap();
        let is_inner_gone = || {
            let entry = layer.entry(&inner, "gone".as_ref()).unwrap();
            matches!(entry, LayerEntry::Whiteout)
        };
        assert_eq!((meaning(&layer, "gone"), meaning(&layer, "device")), ("file", "whiteout"));
        set("d", "user.overlay.opaque", b"x");
        assert!(!is_inner_gone(), "the layer does not declare them");
        set("", "user.overlay.opaque", b"x");
        assert!(is_inner_gone());
        assert_eq!(
            ["gone", "full", "empty"].map(|name| meaning(&layer, name)),
            ["whiteout", "file", "file"]
        );
        set("d", "user.overlay.opaque", b"y");
        assert!(!is_inner_gone(), "an opaque folder has no whiteouts");
        assert_eq!(meaning(&layer, "d"), "opaque");
    }
}
