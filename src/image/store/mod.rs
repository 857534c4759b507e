//! The store of images: files that a person can read with `ls`, locked one by one, no database.
//!
//! ```text
//! blobs/sha256/<hex>              what came from a registry, verified
//! downloads/sha256-<hex>          a blob on its way: goes on where it stopped
//! layers/<diff ID or chain ID>.<owners>/{fs/,layer.json}    unpacked once, shared by all images
//! images.json                     images and their names (replaced atomically); images.lock: who changes it
//! tmp/                            everything is born here and renamed into place
//! ```
//!
//! Whoever uses a blob or a layer holds a shared lock on it; whoever removes one needs it exclusively, and holds
//! `images.lock` too, so that what an image just recorded needs cannot go. Nothing waits for a network with a lock that
//! others need, but those who want the same blob: they wait for the one that fetches it.

mod blobs;
mod layers;
mod names;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use blobs::{Download, HeldBlob, Partial};
pub use layers::{HeldLayer, Layers, Unpacking};
pub use names::{Image, Images};

use crate::config;
use crate::error::{Context, Result};
use crate::files::{self, Lock};

/// A store: ours, or one of others that is only read.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Our store, whose folders are made where they are missing.
    pub fn open(root: &Path) -> Result<Self> {
        let root = config::open_private(root)?;
        for folder in ["blobs/sha256", "blobs/sha512", "downloads", "layers", "tmp"] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).map_err(|error| files::cannot_write(error, &folder))?;
        }
        Ok(Self { root })
    }

    /// A store to look into: nothing is made.
    pub fn look(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Removes what killed commands left in tmp/. In the base namespace: layers have files of other IDs.
    pub fn sweep(&self) {
        files::sweep(&self.tmp(), &[layers::PREFIX, GRAVE, files::FILE_PREFIX]);
    }

    /// The lock of images.json: exclusive for whoever changes it or removes what no image needs.
    fn lock_images(&self) -> Result<File> {
        files::lock_file(&self.root.join("images.lock"), Lock::Exclusive)
    }

    /// Takes what is at `path` out of the store, for its removal, if nobody uses it: it is in tmp/ then.
    fn bury(&self, path: &Path) -> Result<Option<PathBuf>> {
        let Some(_lock) = files::try_exclusive(path) else { return Ok(None) };
        let grave = self.tmp().join(files::random_name(GRAVE));
        std::fs::rename(path, &grave).context(|| format!("cannot remove {}", path.display()))?;
        Ok(Some(grave))
    }
}

/// What is to be removed, in tmp/.
const GRAVE: &str = "removed-";
