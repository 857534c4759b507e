//! Access to the file of a node: by its folder and name, by a descriptor if it has no name, or by its location in an image.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::layers::FsResult;
use super::node::{Node, NodePlace, UPPER};
use super::overlay::OverlayTree;
use super::xattr;
use crate::layer::squashfs::StoredFile;
use crate::layer::{DiskFolder, LayerFolder, LowerFile, LowerFolder, path_of};

/// Way to a file.
#[derive(Clone)]
pub enum FileReach {
    /// Under a name in a folder.
    Name(DiskFolder, Box<OsStr>),
    /// By a descriptor of the file itself.
    Held(Arc<OwnedFd>),
    /// In an image, which is only read. Changes are EROFS: a file is copied up before.
    Stored(StoredFile),
}

/// Attributes for CAP_SYS_ADMIN of the initial user namespace (xattr(7)). The kernel lists them of no file on disk; those
/// of an image can neither be read through a mount of a user nor be copied.
const TRUSTED: &[u8] = b"trusted.";

impl FileReach {
    /// Way to the file `name` in a folder. Errors: ENOENT in an image.
    pub fn of_name(folder: &LowerFolder, name: &OsStr) -> FsResult<Self> {
        match folder {
            LowerFolder::Disk(folder) => Ok(Self::Name(folder.clone(), name.into())),
            LowerFolder::Squashfs(folder) => folder.find(name).map(Self::Stored),
        }
    }

    /// Way to an open folder itself.
    pub fn of_folder(folder: &LowerFolder) -> Self {
        match folder {
            LowerFolder::Disk(folder) => Self::Held(folder.descriptor().clone()),
            LowerFolder::Squashfs(folder) => Self::Stored(folder.itself().clone()),
        }
    }

    /// lstat(2) of the file.
    pub fn stat(&self) -> FsResult<Stat> {
        match self {
            Self::Name(folder, name) => folder.stat(name),
            Self::Held(fd) => rustix::fs::fstat(fd),
            Self::Stored(file) => Ok(file.stat()),
        }
    }

    /// Opens a regular file for reading. Errors: ELOOP for a symbolic link.
    pub fn open_content(&self) -> FsResult<LowerFile> {
        match self {
            Self::Stored(file) => file.open().map(LowerFile::Squashfs),
            _ => self.open(OFlags::RDONLY | OFlags::NONBLOCK).map(LowerFile::from),
        }
    }

    /// Returns the target of a symbolic link.
    pub fn read_link(&self) -> FsResult<Vec<u8>> {
        match self {
            Self::Name(folder, name) => folder.read_link(name),
            Self::Held(fd) => {
                Ok(rustix::fs::readlinkat(fd, "", Vec::with_capacity(256))?.into_bytes())
            }
            Self::Stored(file) => file.read_link(),
        }
    }

    /// Opens a file on disk. Errors: ELOOP for a symbolic link.
    pub fn open(&self, flags: OFlags) -> FsResult<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        match self {
            Self::Name(folder, name) => {
                rustix::fs::openat(folder, &**name, flags | OFlags::NOFOLLOW, Mode::empty())
            }
            Self::Held(fd) => rustix::fs::open(path_of(fd), flags, Mode::empty()),
            Self::Stored(_) => Err(Errno::ROFS),
        }
    }

    /// Returns folder, name and flags, for the `*at` system calls that accept an empty name.
    pub fn at(&self) -> FsResult<(BorrowedFd<'_>, &OsStr, AtFlags)> {
        match self {
            Self::Name(folder, name) => Ok((folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)),
            Self::Held(fd) => Ok((fd.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH)),
            Self::Stored(_) => Err(Errno::ROFS),
        }
    }

    /// Returns the value of an attribute. Errors: ENODATA for a missing one.
    pub fn attribute(&self, name: &[u8]) -> FsResult<Vec<u8>> {
        match self {
            Self::Name(folder, file) => folder.xattr(file, name),
            Self::Held(fd) => xattr::value_of(&path_of(fd), name),
            Self::Stored(file) => file.xattr(name),
        }
    }

    /// Returns the names of all attributes, a zero after each.
    pub fn attributes(&self) -> FsResult<Vec<u8>> {
        match self {
            Self::Name(folder, file) => folder.xattr_names(file),
            Self::Held(fd) => xattr::list_of(&path_of(fd)),
            Self::Stored(file) => {
                let names = file.xattr_names()?;
                let names = names.split_inclusive(|byte| *byte == 0);
                Ok(names.filter(|name| !name.starts_with(TRUSTED)).flatten().copied().collect())
            }
        }
    }

    /// Sets an attribute.
    pub fn set_attribute(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> FsResult<()> {
        match self {
            Self::Name(folder, file) => {
                rustix::fs::lsetxattr(folder.path_to(file), name, value, flags)
            }
            Self::Held(fd) => rustix::fs::setxattr(path_of(fd), name, value, flags),
            Self::Stored(_) => Err(Errno::ROFS),
        }
    }

    /// Removes an attribute.
    pub fn remove_attribute(&self, name: &[u8]) -> FsResult<()> {
        match self {
            Self::Name(folder, file) => rustix::fs::lremovexattr(folder.path_to(file), name),
            Self::Held(fd) => rustix::fs::removexattr(path_of(fd), name),
            Self::Stored(_) => Err(Errno::ROFS),
        }
    }
}

impl OverlayTree {
    /// Returns the way to the file of `node`, which is at `place`.
    pub(super) fn reach(&self, node: &Arc<Node>, place: &NodePlace) -> FsResult<FileReach> {
        if let Some(held) = place.rare.as_ref().and_then(|rare| rare.held.clone()) {
            return Ok(FileReach::Held(held));
        }
        if place.rare.as_ref().is_some_and(|rare| rare.linked)
            && let (Some(name), Some(work)) = (self.links.name(node.id), &self.work)
        {
            let links = work.links.clone();
            return Ok(FileReach::Name(links.into(), name.into_boxed_os_str()));
        }
        let layer = node.layer();
        if layer != UPPER
            && let Some(location) = node.location
            && let Some(image) = &self.layers[usize::from(layer)].image
        {
            return StoredFile::at(image, location).map(FileReach::Stored);
        }
        match &place.parent {
            Some(parent) => FileReach::of_name(&self.layer_folder(parent, layer)?, &place.name),
            None => Ok(FileReach::of_folder(&self.layer_folder(node, layer)?)),
        }
    }

    /// Returns the known names of a node, each with the number of its folder.
    pub fn names(&self, id: u64) -> Vec<(u64, OsString)> {
        let Ok(node) = self.node(id) else { return Vec::new() };
        let place = node.place.read();
        let first = place.parent.iter().map(|parent| (parent.id, place.name.to_os_string()));
        let others = place.rare.iter().flat_map(|rare| &rare.names);
        first.chain(others.map(|(folder, name)| (folder.id, name.clone()))).collect()
    }

    /// Runs `action` on the file of a node, with its place locked.
    pub(super) fn with<T>(
        &self,
        node: &Arc<Node>,
        action: impl FnOnce(&FileReach) -> FsResult<T>,
    ) -> FsResult<T> {
        let place = node.place.read();
        action(&self.reach(node, &place)?)
    }
}
