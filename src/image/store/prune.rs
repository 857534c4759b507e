//! `image prune`: images that nobody calls or uses, what no image needs, and downloads that nobody goes on with.

use serde::{Deserialize, Serialize};

use super::census::disk_use;
use super::collect::{Force, Graves, Needed, grip, list};
use super::{Image, Removal, Store};
use crate::digest::Digest;
use crate::error::Result;
use crate::files::Grip;
use crate::image::manifest::LARGEST;

/// Which images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// None: only what no image needs.
    None,
    /// Those without a name with a tag.
    Dangling,
    /// All that no container runs on.
    Unused,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// Images.
    pub images: Vec<Removal>,
    /// Blobs, layers and downloads that no image needed.
    pub objects: u64,
    /// Disk space, in bytes, that of the images included.
    pub bytes: u64,
}

impl Store {
    /// Removes images that `fits` and what no image needs. What somebody uses stays. Roots of the host's own programs go
    /// with all unused images.
    pub fn prune(&self, which: Which, fits: impl Fn(&Image) -> Result<bool>) -> Result<Freed> {
        self.sweep();
        let lock = self.lock_images()?;
        let mut images = self.images()?;
        let mut freed = Freed::default();
        let mut graves = Vec::new();
        for image in images.clone().all() {
            let goes = match which {
                Which::None => false,
                Which::Dangling => image.names.is_empty(),
                Which::Unused => true,
            };
            if !goes || self.is_held(image)? || !fits(image)? {
                continue;
            }
            let (removal, buried) = self.take_out(&mut images, image, Force::No)?;
            freed.images.push(removal);
            graves.push(buried);
        }
        let mut unneeded = Graves::default();
        self.bury_unneeded(Needed::by(images.all()), &mut unneeded)?;
        if which == Which::Unused {
            self.bury_host_roots(&mut unneeded)?;
        }
        let (downloads, bytes) = self.remove_downloads()?;
        drop(lock);
        freed.objects = unneeded.len() as u64 + downloads;
        freed.bytes = bytes + unneeded.empty();
        for (removal, graves) in freed.images.iter_mut().zip(graves) {
            removal.bytes = graves.empty();
            freed.bytes += removal.bytes;
        }
        self.renew_copy();
        Ok(freed)
    }

    /// Roots made of the host's own programs: the next start that wants one makes it anew.
    fn bury_host_roots(&self, graves: &mut Graves) -> Result<()> {
        for (folder, name) in list(&self.layers_folder())? {
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                self.bury_into(&folder, graves)?;
            }
        }
        Ok(())
    }

    fn bury_unneeded(&self, mut needed: Needed, graves: &mut Graves) -> Result<()> {
        let mut blobs = self.blobs()?;
        blobs.retain(|blob| !needed.blobs.contains(blob));
        // A container that does not run needs its image, recorded or not.
        for (_, manifest) in self.used_manifests()? {
            needed.layers.extend(self.diff_ids_of(&manifest).unwrap_or_default());
            needed.blobs.extend(self.config_of(&manifest));
            needed.blobs.insert(manifest);
        }
        blobs.retain(|blob| !needed.blobs.contains(blob));
        // A container may run on an image that is recorded no more (images.json was lost): its layers are mounted.
        for blob in &blobs {
            let path = self.blob_path(blob);
            let is_small = path.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST);
            if is_small && matches!(grip(&path)?, Grip::Held) {
                needed.layers.extend(self.diff_ids_of(blob).unwrap_or_default());
            }
        }
        for blob in &blobs {
            self.bury_into(&self.blob_path(blob), graves)?;
        }
        for (folder, diff_id) in self.layers_by_id()? {
            if diff_id.is_some_and(|diff_id| !needed.layers.contains(&diff_id)) {
                self.bury_into(&folder, graves)?;
            }
        }
        Ok(())
    }

    /// Removes of these layers (packed blob, diff ID) what no image needs and nobody uses, with what came of their downloads;
    /// how many bytes that frees.
    pub fn give_back(&self, layers: &[(&Digest, &Digest)]) -> Result<u64> {
        let lock = self.lock_images()?;
        let mut needed = Needed::by(self.images()?.all());
        for (_, manifest) in self.used_manifests()? {
            needed.layers.extend(self.diff_ids_of(&manifest).unwrap_or_default());
        }
        let mut graves = Graves::default();
        for (blob, diff_id) in layers {
            if !needed.blobs.contains(blob) {
                self.bury_into(&self.blob_path(blob), &mut graves)?;
                self.bury_into(&self.download_path(blob), &mut graves)?;
            }
            if !needed.layers.contains(diff_id) {
                for folder in self.layer_folders(diff_id)? {
                    self.bury_into(&folder, &mut graves)?;
                }
            }
        }
        drop(lock);
        Ok(graves.empty())
    }

    /// Removes downloads that nobody goes on with; how many, and their bytes. Whoever waits for one looks whether it is
    /// still there once it has the lock.
    fn remove_downloads(&self) -> Result<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for (path, _) in list(&self.root.join("downloads"))? {
            let Grip::Ours(_lock) = grip(&path)? else { continue };
            let size = disk_use(&path).unwrap_or_default();
            match std::fs::remove_file(&path) {
                // An empty one is what a wait left, no download.
                Ok(()) if size > 0 => (count, bytes) = (count + 1, bytes + size),
                Ok(()) => {}
                Err(error) => log::warn!("cannot remove {}: {error}", path.display()),
            }
        }
        Ok((count, bytes))
    }
}
