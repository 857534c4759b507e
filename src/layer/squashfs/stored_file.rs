//! File of an image that was located once: its attributes, link target and content are read without another look-up.

use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::file::SquashfsFile;
use super::format::{InodeKind, InodeRef};
use super::image::SquashfsImage;
use super::inode::Inode;

/// File of any kind in an image, by its inode. Errors of all methods: EIO for content that contradicts itself.
#[derive(Clone)]
pub struct StoredFile {
    pub(super) image: Arc<SquashfsImage>,
    pub(super) inode: Inode,
}

impl StoredFile {
    /// Reads the inode at a location.
    pub fn at(image: &Arc<SquashfsImage>, location: InodeRef) -> Result<Self, Errno> {
        let inode = image.inode(location)?;
        Ok(Self { image: Arc::clone(image), inode })
    }

    /// Location of the inode, which hard links share.
    pub fn location(&self) -> InodeRef {
        self.inode.reference
    }

    /// Returns the attributes (lstat(2)).
    pub fn stat(&self) -> Stat {
        self.image.stat(&self.inode)
    }

    /// Opens a regular file for reading. Errors: ELOOP for a symbolic link, EISDIR for a folder, EINVAL for another kind.
    pub fn open(&self) -> Result<SquashfsFile, Errno> {
        match self.inode.kind {
            InodeKind::Symlink => Err(Errno::LOOP),
            _ => SquashfsFile::open(&self.image, &self.inode),
        }
    }

    /// Returns the target of a symbolic link. Errors: EINVAL for another kind of file.
    pub fn read_link(&self) -> Result<Vec<u8>, Errno> {
        self.image.read_link(&self.inode)
    }

    /// Returns the value of an extended attribute. Errors: ENODATA for a missing one.
    pub fn xattr(&self, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        self.image.xattr(&self.inode, attribute)
    }

    /// Returns the names of all extended attributes, a zero after each.
    pub fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.image.xattr_names(&self.inode)
    }
}
