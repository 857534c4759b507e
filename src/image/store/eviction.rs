//! A store as a cache: images that were not used for long are removed, so that all together have no more than so many
//! bytes.
//!
//! The time of an image's last use is the time of modification of its manifest's blob. No lock protects it: a command
//! that sets it holds the blob, and the order of two that set it at once does not matter.
//!
//! Containers are in the stores of homes, and the cache has a link to each of these (`homes/`). So a container needs no
//! second record, which a kill could separate from the first.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::collect::{ForceRemoval, NeededObjects, RemovedObjects, list};
use super::{HeldBlob, ImageList, ImageRecord, ImageRemoval, Store};
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::files;

/// Folder of links to stores whose containers use images of this one.
const HOMES: &str = "homes";

/// Age of a recorded use below which a new one is not recorded.
const STALE: Duration = Duration::from_secs(60);

impl HeldBlob {
    /// Records that the image with this manifest is used now. Sets the time at most once a minute. Ignores failures: the
    /// blob may be another user's.
    pub fn record_use(&self) {
        let last = self.file.metadata().and_then(|metadata| metadata.modified());
        let age = last.ok().and_then(|last| SystemTime::now().duration_since(last).ok());
        if age.is_some_and(|age| age < STALE) {
            return;
        }
        let time = |nanoseconds| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let times =
            Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
        if let Err(error) = rustix::fs::futimens(&self.file, &times) {
            log::debug!("the time of an image's use: {error}");
        }
    }
}

impl ImageRecord {
    /// True if a pull by any of its names would bring the image back: each is of a registry that has had it. An image
    /// without a name counts too.
    fn is_fetchable(&self) -> bool {
        self.names.iter().all(|name| self.digests.iter().any(|known| known.name() == name.name()))
    }
}

impl ImageList {
    /// Bytes of the images' packed blobs and unpacked files; shared ones count once.
    fn bytes(&self) -> u64 {
        let layers = self.all().iter().flat_map(|image| &image.layers);
        let (mut packed, mut unpacked) = (HashMap::new(), HashMap::new());
        for layer in layers {
            packed.insert(&layer.blob, layer.packed);
            unpacked.insert(&layer.diff_id, layer.size);
        }
        packed.values().chain(unpacked.values()).fold(0, |sum, size| sum.saturating_add(*size))
    }
}

impl Store {
    /// Bytes of all images: their packed blobs and unpacked files.
    pub fn bytes(&self) -> Result<u64> {
        Ok(self.images()?.bytes())
    }

    /// Lets containers in the store `home` count as users of this store's images.
    pub fn count_containers_of(&self, home: &Path) -> Result<()> {
        let folder = self.root.join(HOMES);
        let name = Digest::of(home.as_os_str().as_encoded_bytes()).hex().to_owned();
        let link = folder.join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == home) {
            return Ok(());
        }
        files::make_folders(&folder)?;
        match symlink(home, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(files::cannot_write(error, &link))
            }
            _ => Ok(()),
        }
    }

    /// Folders whose entries are containers that may use images of this store: its own, and those of homes.
    pub(super) fn container_folders(&self) -> Result<Vec<PathBuf>> {
        let own = std::iter::once(self.root.clone());
        let homes = list(&self.root.join(HOMES))?;
        let homes = homes.into_iter().filter_map(|(link, _)| std::fs::read_link(link).ok());
        Ok(own.chain(homes).map(|root| root.join("containers")).collect())
    }

    /// Removes images until those left have at most `limit` bytes: the one first that was not used for longest. Images
    /// stay that are in use, the image with the manifest `newest`, and images with a name that no registry has. Objects
    /// that no image needs go too. Does nothing if `limit` is not exceeded. Runs in the base namespace.
    pub fn evict(&self, limit: u64, newest: Option<&Digest>) -> Result<Vec<ImageRemoval>> {
        let lock = self.lock_images()?;
        let mut images = self.images()?;
        if images.bytes() <= limit {
            return Ok(Vec::new());
        }
        let (mut evicted, mut objects) = (Vec::new(), Vec::new());
        for image in self.by_last_use(&images) {
            if images.bytes() <= limit {
                break;
            }
            if newest == Some(&image.manifest) || !image.is_fetchable() || self.is_held(&image)? {
                continue;
            }
            match self.take_out_image(&mut images, &image, ForceRemoval::No) {
                // A container has begun to use the image this moment.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok((removal, removed)) => {
                    evicted.push(removal);
                    objects.push(removed);
                }
            }
        }
        let mut unneeded = RemovedObjects::default();
        self.take_out_unneeded(NeededObjects::by(images.all()), &mut unneeded)?;
        drop(lock);
        unneeded.empty();
        for (removal, removed) in evicted.iter_mut().zip(objects) {
            removal.bytes = removed.empty();
        }
        self.renew_copy();
        Ok(evicted)
    }

    /// The images, the one first that was not used for longest.
    fn by_last_use(&self, images: &ImageList) -> Vec<ImageRecord> {
        let mut all = images.all().to_vec();
        all.sort_by_cached_key(|image| {
            let blob = self.blob_path(&image.manifest).metadata();
            blob.and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        });
        all
    }
}
