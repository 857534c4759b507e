//! `image prune`: removes images without names or users, objects that no image needs, and abandoned downloads.

use serde::{Deserialize, Serialize};

use super::census::disk_use;
use super::collect::{ForceRemoval, NeededObjects, RemovedObjects, grip, list};
use super::{ImageRecord, ImageRemoval, Store};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files::LockAttempt;
use crate::image::manifest::LARGEST;

/// Selects the images to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneScope {
    /// No images: only objects that no image needs.
    None,
    /// Images without a name with a tag.
    Dangling,
    /// All images that no container uses.
    Unused,
}

/// Objects removed by a prune.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PruneResult {
    /// Removed images.
    pub images: Vec<ImageRemoval>,
    /// Number of removed blobs, layers and downloads that no image needed.
    pub objects: u64,
    /// Freed disk space in bytes, that of the images included.
    pub bytes: u64,
    /// Failures to remove an image: the prune goes on.
    pub failures: Vec<Error>,
}

impl Store {
    /// Removes the images of class `which` that `fits` accepts, and objects that no image needs. Anything in use stays.
    /// Roots of the host's own programs are removed together with all unused images.
    pub fn prune(
        &self,
        which: PruneScope,
        fits: impl Fn(&ImageRecord) -> Result<bool>,
    ) -> Result<PruneResult> {
        self.sweep();
        let lock = self.lock_images()?;
        let mut images = self.images()?;
        let mut freed = PruneResult::default();
        let mut removed = Vec::new();
        for image in images.clone().all() {
            let goes = match which {
                PruneScope::None => false,
                PruneScope::Dangling => image.names.is_empty(),
                PruneScope::Unused => true,
            };
            if !goes || self.is_held(image)? || !fits(image)? {
                continue;
            }
            let (removal, objects) = match self.take_out_image(&mut images, image, ForceRemoval::No)
            {
                // A container has begun to use the image this moment.
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                Err(error) => {
                    freed.failures.push(error);
                    continue;
                }
                Ok(taken) => taken,
            };
            freed.images.push(removal);
            removed.push(objects);
        }
        let mut unneeded = RemovedObjects::default();
        self.take_out_unneeded(NeededObjects::by(images.all()), &mut unneeded)?;
        if which == PruneScope::Unused {
            self.take_out_host_roots(&mut unneeded)?;
        }
        let (downloads, bytes) = self.remove_downloads()?;
        drop(lock);
        freed.objects = unneeded.len() as u64 + downloads;
        freed.bytes = bytes + unneeded.empty();
        for (removal, removed) in freed.images.iter_mut().zip(removed) {
            removal.bytes = removed.empty();
            freed.bytes += removal.bytes;
        }
        self.renew_copy();
        Ok(freed)
    }

    /// Moves roots made of the host's own programs into tmp/: the next start that wants such a root makes it anew.
    fn take_out_host_roots(&self, removed: &mut RemovedObjects) -> Result<()> {
        for (folder, name) in list(&self.layers_folder())? {
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                self.take_out_object(&folder, removed)?;
            }
        }
        Ok(())
    }

    pub(super) fn take_out_unneeded(
        &self,
        mut needed: NeededObjects,
        removed: &mut RemovedObjects,
    ) -> Result<()> {
        let mut blobs = self.blobs()?;
        blobs.retain(|blob| !needed.blobs.contains(blob));
        // A stopped container needs its image too, recorded or not.
        for (_, manifest) in self.used_manifests()? {
            needed.layers.extend(self.diff_ids_of(&manifest).unwrap_or_default());
            needed.blobs.extend(self.config_of(&manifest));
            needed.blobs.insert(manifest);
        }
        blobs.retain(|blob| !needed.blobs.contains(blob));
        // A container may run on an image without a record (images.json was lost): its layers are mounted.
        for blob in &blobs {
            let path = self.blob_path(blob);
            let is_small = path.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST);
            if is_small && matches!(grip(&path)?, LockAttempt::Held) {
                needed.layers.extend(self.diff_ids_of(blob).unwrap_or_default());
            }
        }
        for blob in &blobs {
            self.take_out_object(&self.blob_path(blob), removed)?;
        }
        for (folder, diff_id) in self.layers_by_id()? {
            if diff_id.is_some_and(|diff_id| !needed.layers.contains(&diff_id)) {
                self.take_out_object(&folder, removed)?;
            }
        }
        Ok(())
    }

    /// Removes those of `layers` (packed blob, diff ID) that no image needs and no command uses, with their partial
    /// downloads. Returns the freed bytes.
    pub fn discard_layers(&self, layers: &[(&Digest, &Digest)]) -> Result<u64> {
        let lock = self.lock_images()?;
        let mut needed = NeededObjects::by(self.images()?.all());
        for (_, manifest) in self.used_manifests()? {
            needed.layers.extend(self.diff_ids_of(&manifest).unwrap_or_default());
        }
        let mut removed = RemovedObjects::default();
        for (blob, diff_id) in layers {
            if !needed.blobs.contains(blob) {
                self.take_out_object(&self.blob_path(blob), &mut removed)?;
                self.take_out_object(&self.download_path(blob), &mut removed)?;
            }
            if !needed.layers.contains(diff_id) {
                for folder in self.layer_folders(diff_id)? {
                    self.take_out_object(&folder, &mut removed)?;
                }
            }
        }
        drop(lock);
        Ok(removed.empty())
    }

    /// Removes downloads that no command holds; returns their number and bytes. A command that waits for a download's
    /// lock checks that the file still exists once it has the lock.
    fn remove_downloads(&self) -> Result<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for (path, _) in list(&self.root.join("downloads"))? {
            let LockAttempt::Ours(_lock) = grip(&path)? else { continue };
            let size = disk_use(&path).unwrap_or_default();
            match std::fs::remove_file(&path) {
                // An empty file is left over from a wait and is no download.
                Ok(()) if size > 0 => (count, bytes) = (count + 1, bytes + size),
                Ok(()) => {}
                Err(error) => log::warn!("cannot remove {}: {error}", path.display()),
            }
        }
        Ok((count, bytes))
    }
}
