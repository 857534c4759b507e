//! Owners of the files in a mounted image: the mount shows no owner that the user has no ID for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::node::LayerNode;
use crate::error::{Context, Result};
use crate::layer::squashfs::ImageFile;
use crate::layer::{LayerFolder, LowerFolder, LowerLayer};

/// Owners in an image.
pub(super) struct MountedImageOwners {
    root: LowerFolder,
    /// Path and handle of the folder of the last file: files of a folder are read one after the other.
    last: Mutex<(PathBuf, LowerFolder)>,
}

impl MountedImageOwners {
    /// Opens the image in a file. Errors: a damaged one; the file was replaced.
    pub(super) fn open(file: &ImageFile) -> Result<Self> {
        let root = LowerLayer::Image(file.clone()).open()?;
        Ok(Self { last: Mutex::new((PathBuf::new(), root.clone())), root })
    }

    /// Gives the file `name` in the folder at `folder` its owner in the image.
    pub(super) fn apply(&self, folder: &Path, name: &OsStr, node: &mut LayerNode) -> Result<()> {
        let stat = self.folder(folder).and_then(|folder| folder.stat(name));
        set_owner(node, &stat.context(|| "cannot read its owner in the image")?);
        Ok(())
    }

    /// Gives the root folder its owner in the image.
    pub(super) fn apply_to_root(&self, node: &mut LayerNode) -> Result<()> {
        let stat = self.root.own_stat();
        set_owner(node, &stat.context(|| "cannot read the owner of its root in the image")?);
        Ok(())
    }

    fn folder(&self, path: &Path) -> Result<LowerFolder, Errno> {
        let mut last = self.last.lock();
        if last.0 != path {
            let mut folder = self.root.clone();
            for name in path {
                folder = folder.open_folder(name)?;
            }
            *last = (path.to_owned(), folder);
        }
        Ok(last.1.clone())
    }
}

fn set_owner(node: &mut LayerNode, stat: &Stat) {
    (node.uid, node.gid) = (stat.st_uid, stat.st_gid);
}
