//! Folders from the top of a copied tree to the current one. A tree may be deeper than a stack, and than a process has
//! descriptors.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, Stat};
use rustix::io::Errno;

use super::{FOLDER, open_folder};
use crate::layer::DiskFolder;
use crate::sys::inode;

/// Number of folders on the way to the current one that stay open, and distance of those that stay open above them.
const MOST_OPEN: usize = 64;

/// Folder whose content is being copied.
pub struct FolderCopy {
    /// Name in the folder above; empty for the topmost.
    name: CString,
    /// Both folders; `None`: closed, since a process has few descriptors.
    open: Option<CopiedFolder>,
    /// Inodes of both folders, by which they are known when they are opened again.
    inodes: (u64, u64),
    /// Names that are not copied yet.
    pub names: std::vec::IntoIter<OsString>,
    /// Attributes that the copy gets at the end. `None`: the topmost folder.
    pub stat: Option<Stat>,
}

/// Folder of a layer, and its copy.
#[derive(Clone)]
pub struct CopiedFolder {
    /// Folder of the layer.
    pub from: DiskFolder,
    /// Its copy.
    pub to: Arc<OwnedFd>,
}

impl FolderCopy {
    /// Lists a folder.
    pub fn new(name: &CStr, pair: CopiedFolder, stat: Option<Stat>) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            inodes: pair.inodes()?,
            names: inode::names(&pair.from)?.into_iter(),
            open: Some(pair),
            stat,
        })
    }
}

impl CopiedFolder {
    fn inodes(&self) -> io::Result<(u64, u64)> {
        Ok((rustix::fs::fstat(&self.from)?.st_ino, rustix::fs::fstat(&self.to)?.st_ino))
    }

    /// Opens a folder inside of both. Errors: ESTALE if it was moved since.
    fn inner(&self, folder: &FolderCopy) -> io::Result<Self> {
        let from = open_folder(self.from.as_fd(), &folder.name)?.ok_or(Errno::STALE)?;
        let to = rustix::fs::openat(&self.to, &folder.name, FOLDER, Mode::empty())?;
        let pair = Self { from, to: Arc::new(to) };
        match pair.inodes()? == folder.inodes {
            true => Ok(pair),
            false => Err(Errno::STALE.into()),
        }
    }
}

/// Returns the last folder of `way`, opened again from the nearest open one above it.
pub fn last_open(way: &mut [FolderCopy]) -> io::Result<Option<CopiedFolder>> {
    let Some(nearest) = way.iter().rposition(|folder| folder.open.is_some()) else {
        return Ok(None);
    };
    let mut last = way.get(nearest).and_then(|folder| folder.open.clone());
    for folder in way.iter_mut().skip(nearest + 1) {
        last = last.map(|above| above.inner(folder)).transpose()?;
        folder.open.clone_from(&last);
    }
    Ok(last)
}

/// Closes the folder that the last one of `way` is too far from.
pub fn close_far(way: &mut [FolderCopy]) {
    let far = way.len().checked_sub(MOST_OPEN).filter(|far| far % MOST_OPEN != 0);
    if let Some(folder) = far.and_then(|far| way.get_mut(far)) {
        folder.open = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::OFlags;

    use super::*;
    use crate::rootfs::copy::{CopyRules, tree};

    #[test]
    fn a_tree_that_is_deeper_than_a_path_and_than_descriptors_go_is_copied() {
        const DEPTH: usize = 3000;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let inner = |at: &OwnedFd| rustix::fs::openat(at, "d", FOLDER, Mode::empty()).unwrap();
        for name in ["from", "to"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let mut at: OwnedFd = std::fs::File::open(path("from")).unwrap().into();
        for level in 0..DEPTH {
            // After the folder's name in some listings, before it in others.
            for name in ["a", "z"] {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                let file = rustix::fs::openat(&at, name, flags, Mode::from_raw_mode(0o600));
                rustix::io::write(file.unwrap(), level.to_string().as_bytes()).unwrap();
            }
            rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o750)).unwrap();
            at = inner(&at);
        }
        tree(&path("from"), &path("to"), CopyRules::default()).unwrap();
        let mut at: OwnedFd = std::fs::File::open(path("to")).unwrap().into();
        for level in 0..DEPTH {
            for name in ["a", "z"] {
                let file = rustix::fs::openat(&at, name, OFlags::RDONLY, Mode::empty()).unwrap();
                let content = io::read_to_string(File::from(file)).unwrap();
                assert_eq!(content, level.to_string());
            }
            at = inner(&at);
            assert_eq!(rustix::fs::fstat(&at).unwrap().st_mode & 0o7777, 0o750);
        }
        for name in ["from", "to"] {
            crate::sys::tree::remove_at(&path(name)).unwrap();
        }
    }
}
