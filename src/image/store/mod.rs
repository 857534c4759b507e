//! The image store: files that a person can read with `ls`, each with its own lock, no database.
//!
//! ```text
//! blobs/sha256/<hex>              blobs from registries, verified
//! downloads/sha256-<hex>          a partial blob: the next download resumes it
//! layers/<diff ID>.<owners>/{fs/,layer.json}    unpacked once, shared by all images
//! images.json                     images and their names (replaced atomically); images.lock: its lock
//! images.json.copy                a second copy, in case the first is lost
//! manifests.json                  unfinished manifest lists
//! homes/<hex>                     in a node cache: links to the stores whose containers use its images
//! tmp/                            everything is created here and renamed into place
//! ```
//!
//! **Locks.** A command that needs a blob or a layer before a recorded image needs it (a pull) holds a shared lock on
//! the object. Objects that recorded images need are not removed. A recorded image is not removed while a command holds
//! its manifest's blob (a running container). A command that removes objects holds `images.lock` and first takes an
//! exclusive lock on each object, without waiting. No command waits for the network with a lock that others need. The
//! only exception: commands that want the same blob wait for the command that fetches it.
//!
//! A container needs its image whether it runs or not, and a stopped container has no process to hold a lock. So its
//! folder has a link to the manifest's blob (`containers/ID/image`). The command that makes the container holds the
//! blob until the folder is in place. A command that removes an image checks for such links after it has locked the
//! blob. So one of the two sees the other. An image removed by force loses its names and record; the objects that the
//! container needs stay until the container is removed.
//!
//! **State after a power cut.** Names appear before their content is on the disk; `images.json` is written after one
//! flush of the whole file system. So the objects that a recorded image needs are whole. A layer that no recorded image
//! needs is trusted only within the boot that made it. A blob is hashed again whenever it is unpacked.

mod blobs;
mod census;
mod check;
mod collect;
mod eviction;
mod foreign;
mod images;
mod layers;
mod lists;
mod prune;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod usage;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use blobs::{BlobClaim, DownloadReader, HeldBlob, PartialBlob};
pub use census::Census;
pub use check::{CheckDepth, CheckSettings, FaultOutcome, Repair, StoreFault};
pub use collect::{ForceRemoval, ImageRemoval, RemovalTarget};
pub use images::ImageList;
pub use layers::{HeldLayer, LayerClaim, LayerFacts, LayerTrust, Unpacking};
pub use prune::{PruneResult, PruneScope};
pub use record::{ImageLayer, ImageRecord};
pub use source::StoreSource;
pub use usage::{ImageUsage, StoreUsage, UsageTotals};

use crate::config;
use crate::error::{Context, Result};
use crate::files::{self, Lock, NewFolder};

/// A store: ours, or another user's, which is only read.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    is_shared: bool,
    /// Owner of the store, if another user.
    foreign_owner: Option<u32>,
    /// True if the store does not outlive the command.
    is_temporary: bool,
}

impl Store {
    /// Opens our store; creates missing folders.
    pub fn open(root: &Path) -> Result<Self> {
        let root = config::open_private(root)?;
        config::open_private(&root.join("tmp"))?;
        for folder in ["blobs/sha256", "blobs/sha512", "downloads", "layers"] {
            let folder = root.join(folder);
            files::make_folders(&folder)?;
        }
        let store = Self::open_read_only(&root);
        store.begin_list();
        Ok(store)
    }

    /// Makes a store that does not outlive the command: nothing in it waits for the disk.
    pub fn open_temporary(root: &Path) -> Result<Self> {
        Ok(Self { is_temporary: true, ..Self::open(root)? })
    }

    /// Opens a store for reading: creates nothing.
    pub fn open_read_only(root: &Path) -> Self {
        let mode = root
            .metadata()
            .map_or(0, |metadata| std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()));
        let foreign_owner = Self::foreign_owner(root);
        let is_shared = mode & 0o001 != 0;
        Self { root: root.to_owned(), is_shared, foreign_owner, is_temporary: false }
    }

    /// Root folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if other users may read the store (mode of its folder). Then its layers are unpacked in the form that all
    /// users can use, with owners recorded and no setuid program of ours.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Folder where new objects are created: on the store's file system, private to us.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// True if this process may write to the store: neither its file system nor its folder is read-only.
    pub fn is_writable(&self) -> bool {
        is_writable(&self.root)
    }

    /// True if the store does not outlive the command.
    pub fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Waits until all data of the store is on the disk, unless the store is temporary.
    pub fn flush(&self) -> Result<()> {
        if self.is_temporary { Ok(()) } else { files::sync_filesystem(&self.root) }
    }

    /// Returns a folder for temporary files that never become objects of the store: tmp/, or for a store that is only
    /// readable a new folder in `$TMPDIR`, which is removed with the value.
    pub fn work_folder(&self) -> Result<WorkFolder> {
        match is_writable(&self.tmp()) {
            true => Ok(WorkFolder { path: self.tmp(), _beside: None }),
            false => {
                let beside = NewFolder::folder(&std::env::temp_dir(), BESIDE)?;
                Ok(WorkFolder { path: beside.path.clone(), _beside: Some(beside) })
            }
        }
    }

    /// Removes the remains of killed commands in tmp/. Runs in the base namespace: layers have files of other IDs.
    pub fn sweep(&self) {
        files::sweep(&self.tmp(), &[layers::PREFIX, REMOVED, files::SPOOL, files::FILE_PREFIX]);
    }

    /// Takes the exclusive lock of images.json, to change it or to remove objects that no image needs.
    fn lock_images(&self) -> Result<File> {
        files::lock_file(&self.root.join("images.lock"), Lock::Exclusive)
    }

    /// Takes the same lock for a reader. `None` where the store is not writable for us: the reader goes without a lock.
    fn lock_images_for_reading(&self) -> Result<Option<File>> {
        match rustix::fs::access(&self.root, rustix::fs::Access::WRITE_OK) {
            Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => Ok(None),
            _ => self.lock_images().map(Some),
        }
    }

    /// Lets other users read the file, if the store is shared.
    fn publish(&self, path: &Path) -> Result<()> {
        if !self.is_shared {
            return Ok(());
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(path, open).map_err(|error| files::cannot_write(error, path))
    }

    /// Moves `path` into tmp/ for its removal. `None`: in use. The object stays locked until the returned file is
    /// dropped.
    fn set_aside(&self, path: &Path) -> Result<Option<(PathBuf, File)>> {
        let Some(lock) = files::try_exclusive(path) else { return Ok(None) };
        let aside = self.tmp().join(files::random_name(REMOVED));
        std::fs::rename(path, &aside).context(|| format!("cannot remove {}", path.display()))?;
        Ok(Some((aside, lock)))
    }
}

/// True if this process may and should write to a folder: root of a user namespace may, whatever the folder's mode.
fn is_writable(folder: &Path) -> bool {
    let mode = folder.metadata().map_or(0, |metadata| metadata.permissions().mode());
    mode & 0o222 != 0 && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Folder for temporary files of one command.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    /// Folder outside of the store.
    _beside: Option<NewFolder>,
}

impl WorkFolder {
    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Prefix of work folders in `$TMPDIR`.
const BESIDE: &str = "usnea-";

/// Name of the link in a container's folder to the blob of its image's manifest.
pub const USED: &str = "image";
/// Prefix in tmp/ for objects to be removed.
const REMOVED: &str = "removed-";
