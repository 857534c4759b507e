//! The node cache: a store of pulled images on a disk of this machine, where the user's own store is on a shared file
//! system (`node-cache` in usnea.toml). It is a store like any other, with a limit of bytes.
//!
//! Images of registries are pulled into the cache, unless the user's own store has an image of that name: no name is in
//! both. Images of other stores are copied into the cache, without names, for containers that end with their command.
//! So the cache removes only images that a pull or a copy brings back. A name given by the user keeps an image.
//!
//! A cache that cannot be used is left out with a warning. A folder that another user controls is an error: that user
//! could replace the files of containers.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::{self, NodeCacheSettings};
use crate::digest::Digest;
use crate::error::{Context, ErrorKind, Result};
use crate::hint;
use crate::host::filesystem;
use crate::image::store::{ImageRemoval, Store};

/// A quarter of the file system: others use it too.
const SHARE_OF_DISK: u64 = 4;

/// The node cache, opened.
#[derive(Clone, Debug)]
pub struct NodeCache {
    /// Store with the images.
    pub store: Store,
    bytes: Option<u64>,
}

impl NodeCache {
    /// Opens the cache, or makes it. Containers in the store `home` count as users of its images. `None`: it cannot be
    /// used, and a warning says why. Errors: another user controls the folder.
    pub fn open(settings: &NodeCacheSettings, home: &Path) -> Result<Option<Self>> {
        let folder = &settings.folder;
        let open = || {
            config::open_private(folder)?;
            config::require_sole_control(folder)?;
            let store = Store::open(folder)?;
            store.count_containers_of(home)?;
            Ok(store)
        };
        match usable(open(), folder)? {
            Some(store) if store.is_writable() => Ok(Some(Self { store, bytes: settings.bytes })),
            Some(_) => {
                log::warn!("{} is not writable: images are kept without it", folder.display());
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Opens the cache for reading, if it exists. Makes no files. Leaves out a folder that another user controls, with a
    /// warning.
    pub fn look(settings: &NodeCacheSettings) -> Option<Self> {
        let folder = &settings.folder;
        if folder.symlink_metadata().is_err() {
            return None;
        }
        match config::require_sole_control(folder) {
            Ok(()) => Some(Self { store: Store::open_read_only(folder), bytes: settings.bytes }),
            Err(error) => {
                log::warn!("{error}: the node cache is left out");
                None
            }
        }
    }

    /// True if a store is the cache, or on the same file system: a copy of its images would be no faster.
    pub fn is_beside(&self, store: &Store) -> bool {
        let device = |store: &Store| store.root().metadata().map(|root| root.dev()).ok();
        device(&self.store) == device(store)
    }

    /// Bytes from which on images are removed.
    pub fn limit(&self) -> u64 {
        let of_disk = || {
            let disk = rustix::fs::statvfs(filesystem::nearest_existing(self.store.root()));
            disk.map_or(u64::MAX, |disk| {
                disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE_OF_DISK
            })
        };
        self.bytes.unwrap_or_else(of_disk)
    }

    /// Removes the images that were not used for longest, if the cache is larger than its limit. Records a use of the
    /// image `newest`, which stays.
    /// A failure is only a warning: the image that was just pulled is whole. Runs in the base namespace.
    pub fn trim(&self, newest: &Digest) -> Vec<ImageRemoval> {
        let trimmed = self.store.blob(newest).and_then(|blob| {
            if let Some(blob) = blob {
                blob.record_use();
            }
            self.store.evict(self.limit(), Some(newest))
        });
        trimmed.unwrap_or_else(|error| {
            log::warn!("{error}: nothing is removed from {}", self.store.root().display());
            Vec::new()
        })
    }
}

fn usable(opened: Result<Store>, folder: &Path) -> Result<Option<Store>> {
    let phrase = || format!("the node cache {}", folder.display());
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.kind() == ErrorKind::Refused => {
            Err(error.without_hint()).context(phrase).hint(|| hint::OTHER_NODE_CACHE)
        }
        Err(error) => {
            log::warn!("{}: images are kept without it", error.within(phrase()));
            Ok(None)
        }
    }
}
