//! The store of images: files that a person can read with `ls`, locked one by one, no database.
//!
//! ```text
//! blobs/sha256/<hex>              what came from a registry, verified
//! downloads/sha256-<hex>          a blob on its way: goes on where it stopped
//! layers/<diff ID>.<owners>/{fs/,layer.json}    unpacked once, shared by all images
//! images.json                     images and their names (replaced atomically); images.lock: who changes it
//! images.json.copy                the same again, for whoever loses the first
//! manifests.json                  manifest lists that are being made
//! tmp/                            everything is born here and renamed into place
//! ```
//!
//! **Who holds what.** Whoever needs a blob or a layer that no recorded image needs yet (a pull) holds a shared lock on
//! it. What recorded images need is not removed; a recorded image is not removed while somebody holds its manifest's
//! blob (a container that runs). Whoever removes anything holds `images.lock` and takes an exclusive lock on it first,
//! without waiting. Nothing waits for a network with a lock that others need, but those who want the same blob: they
//! wait for the one that fetches it.
//!
//! A container that is kept needs its image whether it runs or not, and no process is there to hold a lock: its folder
//! has a link to the manifest's blob (`containers/ID/image`). Whoever makes the container holds the blob until the folder
//! is in place; whoever removes looks for such links after it has the blob's lock. So one of the two sees the other.
//! Removed by force, the image loses its names and record, and what the container needs stays until it goes.
//!
//! **What a power cut leaves.** Names appear before their content is on the disk; `images.json` is written after one
//! flush of the whole file system. So what a recorded image needs is whole. A layer that no recorded image needs is
//! believed only within the boot that made it, and a blob is hashed again whenever it is unpacked.

mod blobs;
mod census;
mod check;
mod collect;
mod foreign;
mod images;
mod layers;
mod lists;
mod prune;
mod record;
#[cfg(test)]
mod tests;
mod usage;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use blobs::{Download, Follow, HeldBlob, Partial};
pub use census::Census;
pub use check::{Fault, Mending, Outcome, Repair};
pub use collect::{Force, Removal, Target};
pub use images::Images;
pub use layers::{HeldLayer, LayerStory, Unpacking, Wanted};
pub use prune::{Freed, Which};
pub use record::{Image, Layer};
pub use usage::{ImageUsage, Part, Usage};

use crate::config;
use crate::error::{Context, Result};
use crate::files::{self, Lock};

/// A store: ours, or one of others that is only read.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    is_shared: bool,
    /// Whose it is, where it is not ours.
    stranger: Option<u32>,
}

impl Store {
    /// Our store, whose folders are made where they are missing.
    pub fn open(root: &Path) -> Result<Self> {
        let root = config::open_private(root)?;
        config::open_private(&root.join("tmp"))?;
        for folder in ["blobs/sha256", "blobs/sha512", "downloads", "layers"] {
            let folder = root.join(folder);
            files::make_folders(&folder)?;
        }
        Ok(Self::look(&root))
    }

    /// A store to look into: nothing is made.
    pub fn look(root: &Path) -> Self {
        let mode = root
            .metadata()
            .map_or(0, |metadata| std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()));
        let stranger = Self::stranger(root);
        Self { root: root.to_owned(), is_shared: mode & 0o001 != 0, stranger }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether other users may look into it (its folder's mode): then its layers are unpacked in the form that serves
    /// everybody, with owners recorded and no setuid program of ours.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Where everything is born: on the same file system, ours alone.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Removes what killed commands left in tmp/. In the base namespace: layers have files of other IDs.
    pub fn sweep(&self) {
        files::sweep(&self.tmp(), &[layers::PREFIX, GRAVE, SPOOL, files::FILE_PREFIX]);
    }

    /// The lock of images.json: exclusive for whoever changes it or removes what no image needs.
    fn lock_images(&self) -> Result<File> {
        files::lock_file(&self.root.join("images.lock"), Lock::Exclusive)
    }

    /// The same for who only looks; without it where nobody can write: nothing changes there.
    fn lock_images_to_look(&self) -> Result<Option<File>> {
        match rustix::fs::access(&self.root, rustix::fs::Access::WRITE_OK) {
            Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => Ok(None),
            _ => self.lock_images().map(Some),
        }
    }

    /// Lets other users read the file, where they may look into the store.
    fn publish(&self, path: &Path) -> Result<()> {
        if !self.is_shared {
            return Ok(());
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(path, open).map_err(|error| files::cannot_write(error, path))
    }

    /// Takes what is at `path` out of the store, for its removal, if nobody uses it: it is in tmp/ then, locked until the
    /// second value goes.
    fn bury(&self, path: &Path) -> Result<Option<(PathBuf, File)>> {
        let Some(lock) = files::try_exclusive(path) else { return Ok(None) };
        let grave = self.tmp().join(files::random_name(GRAVE));
        std::fs::rename(path, &grave).context(|| format!("cannot remove {}", path.display()))?;
        Ok(Some((grave, lock)))
    }
}

/// In the folder of a kept container: a link to the blob of its image's manifest.
pub const USED: &str = "image";
/// What is to be removed, in tmp/.
const GRAVE: &str = "removed-";
/// What comes in and has no name yet, in tmp/.
pub const SPOOL: &str = "spool-";
