//! Image as a layer: folders, as the readers of layers use those.

use std::ffi::{CStr, OsStr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::file::SquashfsFile;
use super::format::{InodeKind, LONGEST_NAME};
use super::image::SquashfsImage;
use super::inode::Inode;
use crate::layer::LayerFolder;

/// Folder of an image. `st_ino` is the inode number that the image states: in an image that contradicts itself, two
/// files may look like links of each other.
#[derive(Clone)]
pub struct SquashfsFolder(Arc<ImageFolder>);

struct ImageFolder {
    image: Arc<SquashfsImage>,
    inode: Inode,
    parent: Option<SquashfsFolder>,
}

impl SquashfsFolder {
    /// Opens the root of an image. Errors: EIO for a root that is no folder.
    pub fn root(image: &Arc<SquashfsImage>) -> Result<Self, Errno> {
        let inode = image.inode(image.root())?;
        match inode.kind {
            InodeKind::Folder => {
                Ok(Self(Arc::new(ImageFolder { image: Arc::clone(image), inode, parent: None })))
            }
            _ => Err(Errno::IO),
        }
    }

    fn image(&self) -> &Arc<SquashfsImage> {
        &self.0.image
    }

    fn inode(&self, name: &OsStr) -> Result<Inode, Errno> {
        let reference = self.image().lookup(&self.0.inode, name)?.ok_or(Errno::NOENT)?;
        self.image().inode(reference)
    }

    /// True if the folder is this one or above it.
    fn is_below(&self, folder: &Inode) -> bool {
        let mut here = Some(self);
        while let Some(SquashfsFolder(open)) = here {
            if open.inode.reference == folder.reference {
                return true;
            }
            here = open.parent.as_ref();
        }
        false
    }
}

impl Drop for ImageFolder {
    /// Drops the parents one after the other: a chain of a million folders would need as many frames of the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(SquashfsFolder(open)) = parent {
            parent = Arc::into_inner(open).and_then(|mut open| open.parent.take());
        }
    }
}

impl LayerFolder for SquashfsFolder {
    type File = SquashfsFile;

    fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        Ok(self.image().stat(&self.inode(name)?))
    }

    /// Errors also: EIO for a folder that contains itself.
    fn open_folder(&self, name: &OsStr) -> Result<Self, Errno> {
        let inode = self.inode(name)?;
        match inode.kind {
            InodeKind::Folder if self.is_below(&inode) => Err(Errno::IO),
            InodeKind::Folder => {
                let (image, parent) = (Arc::clone(self.image()), Some(self.clone()));
                Ok(Self(Arc::new(ImageFolder { image, inode, parent })))
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    fn open_file(&self, name: &OsStr) -> Result<SquashfsFile, Errno> {
        let inode = self.inode(name)?;
        match inode.kind {
            InodeKind::Symlink => Err(Errno::LOOP),
            _ => SquashfsFile::open(self.image(), &inode),
        }
    }

    fn read_link(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.image().read_link(&self.inode(name)?)
    }

    fn for_each_entry(&self, mut visit: impl FnMut(&CStr, u64, FileType)) -> Result<(), Errno> {
        let mut name = [0; LONGEST_NAME + 1];
        self.image().list(&self.0.inode, 0, |entry| {
            let bytes = entry.name.as_bytes();
            if let Some(place) = name.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
            if let Some(end) = name.get_mut(bytes.len()) {
                *end = 0;
            }
            if let Ok(name) = CStr::from_bytes_until_nul(&name) {
                visit(name, entry.number, file_type(entry.kind));
            }
            ControlFlow::Continue(())
        })
    }

    fn xattr(&self, name: &OsStr, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        self.image().xattr(&self.inode(name)?, attribute)
    }

    fn xattr_names(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.image().xattr_names(&self.inode(name)?)
    }

    fn own_stat(&self) -> Result<Stat, Errno> {
        Ok(self.image().stat(&self.0.inode))
    }

    fn own_xattr(&self, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        self.image().xattr(&self.0.inode, attribute)
    }

    fn own_xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.image().xattr_names(&self.0.inode)
    }
}

fn file_type(kind: InodeKind) -> FileType {
    FileType::from_raw_mode(kind.mode_bits())
}
