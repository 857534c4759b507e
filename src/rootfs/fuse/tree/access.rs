//! Access to the file of a node: by its folder and name, or by a descriptor if it has no name.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, XattrFlags};

use super::layers::FsResult;
use super::node::{Node, NodePlace};
use super::overlay::OverlayTree;
use super::xattr;
use crate::layer::{DiskFolder, LayerFolder, path_of};

/// Way to a file.
pub enum FileReach {
    /// Under a name in a folder.
    Name(DiskFolder, Box<OsStr>),
    /// By a descriptor of the file itself.
    Held(Arc<OwnedFd>),
}

impl FileReach {
    /// lstat(2) of the file.
    pub fn stat(&self) -> FsResult<Stat> {
        match self {
            Self::Name(folder, name) => folder.stat(name),
            Self::Held(fd) => rustix::fs::fstat(fd),
        }
    }

    /// Opens the file. Errors: ELOOP for a symbolic link.
    pub fn open(&self, flags: OFlags) -> FsResult<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        match self {
            Self::Name(folder, name) => {
                rustix::fs::openat(folder, &**name, flags | OFlags::NOFOLLOW, Mode::empty())
            }
            Self::Held(fd) => rustix::fs::open(path_of(fd), flags, Mode::empty()),
        }
    }

    /// Returns folder, name and flags, for the `*at` system calls that accept an empty name.
    pub fn at(&self) -> (BorrowedFd<'_>, &OsStr, AtFlags) {
        match self {
            Self::Name(folder, name) => (folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW),
            Self::Held(fd) => (fd.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH),
        }
    }

    /// Returns the value of an attribute. Errors: ENODATA for a missing one.
    pub fn attribute(&self, name: &[u8]) -> FsResult<Vec<u8>> {
        match self {
            Self::Name(folder, file) => folder.xattr(file, name),
            Self::Held(fd) => xattr::value_of(&path_of(fd), name),
        }
    }

    /// Returns the names of all attributes, a zero after each.
    pub fn attributes(&self) -> FsResult<Vec<u8>> {
        match self {
            Self::Name(folder, file) => folder.xattr_names(file),
            Self::Held(fd) => xattr::list_of(&path_of(fd)),
        }
    }

    /// Sets an attribute.
    pub fn set_attribute(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> FsResult<()> {
        match self {
            Self::Name(folder, file) => {
                rustix::fs::lsetxattr(folder.path_to(file), name, value, flags)
            }
            Self::Held(fd) => rustix::fs::setxattr(path_of(fd), name, value, flags),
        }
    }

    /// Removes an attribute.
    pub fn remove_attribute(&self, name: &[u8]) -> FsResult<()> {
        match self {
            Self::Name(folder, file) => rustix::fs::lremovexattr(folder.path_to(file), name),
            Self::Held(fd) => rustix::fs::removexattr(path_of(fd), name),
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
        match &place.parent {
            Some(parent) => {
                Ok(FileReach::Name(self.layer_folder(parent, node.layer())?, place.name.clone()))
            }
            None => {
                Ok(FileReach::Held(self.layer_folder(node, node.layer())?.descriptor().clone()))
            }
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
