//! Image as a layer: folders, as the readers of layers use those.

use std::ffi::{CStr, OsStr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::file::SquashfsFile;
use super::format::{InodeKind, InodeRef, LONGEST_NAME};
use super::image::SquashfsImage;
use super::inode::Inode;
use super::listing::ListedEntry;
use super::stored_file::StoredFile;
use crate::layer::LayerFolder;

/// Folder of an image. `st_ino` is the inode number that the image states: in an image that contradicts itself, two
/// files may look like links of each other.
#[derive(Clone)]
pub struct SquashfsFolder(Arc<ImageFolder>);

struct ImageFolder {
    file: StoredFile,
    parent: Option<SquashfsFolder>,
}

impl SquashfsFolder {
    /// Opens the root of an image. Errors: EIO for a root that is no folder.
    pub fn root(image: &Arc<SquashfsImage>) -> Result<Self, Errno> {
        let file = StoredFile::at(image, image.root())?;
        match file.inode.kind {
            InodeKind::Folder => Ok(Self(Arc::new(ImageFolder { file, parent: None }))),
            _ => Err(Errno::IO),
        }
    }

    /// The image of the folder.
    pub fn image(&self) -> &Arc<SquashfsImage> {
        &self.0.file.image
    }

    /// The folder itself as a file.
    pub fn itself(&self) -> &StoredFile {
        &self.0.file
    }

    /// Looks a name up. Errors: ENOENT.
    pub fn find(&self, name: &OsStr) -> Result<StoredFile, Errno> {
        let location = self.image().lookup(&self.0.file.inode, name)?.ok_or(Errno::NOENT)?;
        self.at(location)
    }

    /// Reads the inode at a location that the image gave.
    pub fn at(&self, location: InodeRef) -> Result<StoredFile, Errno> {
        StoredFile::at(self.image(), location)
    }

    /// Opens a subfolder that was looked up. Errors: ENOTDIR for another kind of file; EIO for a folder that contains
    /// itself.
    pub fn open_found(&self, found: StoredFile) -> Result<Self, Errno> {
        match found.inode.kind {
            InodeKind::Folder if self.is_below(&found.inode) => Err(Errno::IO),
            InodeKind::Folder => {
                Ok(Self(Arc::new(ImageFolder { file: found, parent: Some(self.clone()) })))
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Calls `visit` with each entry, in the order of the names.
    pub fn for_each_stored(&self, mut visit: impl FnMut(&ListedEntry<'_>)) -> Result<(), Errno> {
        self.image().list(&self.0.file.inode, 0, |entry| {
            visit(entry);
            ControlFlow::Continue(())
        })
    }

    /// True if the folder is this one or above it.
    fn is_below(&self, folder: &Inode) -> bool {
        let mut here = Some(self);
        while let Some(SquashfsFolder(open)) = here {
            if open.file.inode.reference == folder.reference {
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
        Ok(self.find(name)?.stat())
    }

    /// Errors also: EIO for a folder that contains itself.
    fn open_folder(&self, name: &OsStr) -> Result<Self, Errno> {
        self.open_found(self.find(name)?)
    }

    fn open_file(&self, name: &OsStr) -> Result<SquashfsFile, Errno> {
        self.find(name)?.open()
    }

    fn read_link(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.find(name)?.read_link()
    }

    fn for_each_entry(&self, mut visit: impl FnMut(&CStr, u64, FileType)) -> Result<(), Errno> {
        let mut name = [0; LONGEST_NAME + 1];
        self.for_each_stored(|entry| {
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
        })
    }

    fn xattr(&self, name: &OsStr, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        self.find(name)?.xattr(attribute)
    }

    fn xattr_names(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        self.find(name)?.xattr_names()
    }

    fn own_stat(&self) -> Result<Stat, Errno> {
        Ok(self.itself().stat())
    }

    fn own_xattr(&self, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        self.itself().xattr(attribute)
    }

    fn own_xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.itself().xattr_names()
    }
}

fn file_type(kind: InodeKind) -> FileType {
    FileType::from_raw_mode(kind.mode_bits())
}
