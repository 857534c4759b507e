//! `system df`: disk space of images, host roots and downloads, and the part that could be freed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::census::disk_use;
use super::collect::{NeededObjects, list};
use super::{ImageRecord, Store};
use crate::digest::Digest;
use crate::error::Result;

/// Totals for a kind of object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTotals {
    /// Number of objects.
    pub count: u64,
    /// Number of objects in use.
    pub active: u64,
    /// Disk space in bytes; shared parts count once.
    pub size: u64,
    /// Bytes that removing all unused objects would free.
    pub reclaimable: u64,
}

/// Disk space of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsage {
    /// Record of the image.
    pub image: ImageRecord,
    /// Disk space in bytes of the image's blobs and layers.
    pub size: u64,
    /// Part of `size` that other images need too, in bytes.
    pub shared: u64,
    /// True if a container or another command uses the image.
    pub in_use: bool,
}

/// Disk space of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreUsage {
    /// Images, including blobs and layers that no image needs any more.
    pub images: UsageTotals,
    /// Root directories made of the host's own programs.
    pub host_roots: UsageTotals,
    /// Partial downloads that interrupted pulls left; a later pull resumes them.
    pub downloads: UsageTotals,
    /// Usage of each image.
    pub each: Vec<ImageUsage>,
}

impl UsageTotals {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.active += other.active;
        self.size += other.size;
        self.reclaimable += other.reclaimable;
    }
}

impl StoreUsage {
    /// Adds the disk space of another store.
    pub fn add(&mut self, other: Self) {
        self.images.add(&other.images);
        self.host_roots.add(&other.host_roots);
        self.downloads.add(&other.downloads);
        self.each.extend(other.each);
    }
}

/// Disk space of each blob and layer, in bytes.
struct ObjectSizes {
    blobs: HashMap<Digest, u64>,
    layers: HashMap<Digest, u64>,
}

impl ObjectSizes {
    fn of(&self, needed: &NeededObjects) -> u64 {
        let blobs = needed.blobs.iter().filter_map(|blob| self.blobs.get(blob));
        let layers = needed.layers.iter().filter_map(|layer| self.layers.get(layer));
        blobs.chain(layers).sum()
    }

    fn all(&self) -> u64 {
        self.blobs.values().chain(self.layers.values()).sum()
    }
}

impl Store {
    /// Measures the store. Objects that are removed meanwhile are not counted.
    pub fn usage(&self) -> Result<StoreUsage> {
        let (images, held) = self.images_and_held()?;
        let (sizes, host_roots) = self.sizes()?;
        let is_held = |image: &ImageRecord| held.contains(&image.manifest);
        let active = NeededObjects::by(images.iter().filter(|image| is_held(image)));
        let size = sizes.all();
        Ok(StoreUsage {
            images: UsageTotals {
                count: ids(images.iter()),
                active: ids(images.iter().filter(|image| is_held(image))),
                size,
                reclaimable: size - sizes.of(&active),
            },
            host_roots: sum(host_roots),
            downloads: sum(list(&self.root.join("downloads"))?.into_iter().map(|(path, _)| path)),
            each: images
                .iter()
                .map(|image| ImageUsage {
                    size: sizes.of(&NeededObjects::by([image])),
                    shared: sizes.of(&shared(image, &images)),
                    in_use: is_held(image),
                    image: image.clone(),
                })
                .collect(),
        })
    }

    fn images_and_held(&self) -> Result<(Vec<ImageRecord>, HashSet<Digest>)> {
        let _lock = self.lock_images_for_reading()?;
        let images = self.images()?.all().to_vec();
        let mut held = HashSet::new();
        for image in &images {
            if self.is_held(image)? {
                held.insert(image.manifest.clone());
            }
        }
        Ok((images, held))
    }

    /// Sizes of blobs and layers, and the folders that are no image's layer.
    fn sizes(&self) -> Result<(ObjectSizes, Vec<PathBuf>)> {
        let mut sizes = ObjectSizes { blobs: HashMap::new(), layers: HashMap::new() };
        let mut others = Vec::new();
        for blob in self.blobs()? {
            let size = size_of(&self.blob_path(&blob));
            sizes.blobs.insert(blob, size);
        }
        for (folder, diff_id) in self.layers_by_id()? {
            match diff_id {
                Some(diff_id) => *sizes.layers.entry(diff_id).or_default() += size_of(&folder),
                None => others.push(folder),
            }
        }
        Ok((sizes, others))
    }
}

/// Number of distinct images among these records.
fn ids<'a>(images: impl Iterator<Item = &'a ImageRecord>) -> u64 {
    images.map(|image| &image.config).collect::<HashSet<_>>().len() as u64
}

/// Objects that `image` shares with any other image.
fn shared(image: &ImageRecord, images: &[ImageRecord]) -> NeededObjects {
    let own = NeededObjects::by([image]);
    let others = NeededObjects::by(images.iter().filter(|other| other.manifest != image.manifest));
    NeededObjects {
        blobs: own.blobs.intersection(&others.blobs).cloned().collect(),
        layers: own.layers.intersection(&others.layers).cloned().collect(),
    }
}

fn size_of(path: &Path) -> u64 {
    let size = disk_use(path);
    size.inspect_err(|error| log::debug!("{error}")).unwrap_or_default()
}

/// Totals of `paths`. A locked object is in use; the rest is reclaimable.
fn sum(paths: impl IntoIterator<Item = PathBuf>) -> UsageTotals {
    let mut part = UsageTotals::default();
    for path in paths {
        let size = size_of(&path);
        let is_free = crate::files::try_exclusive(&path).is_some();
        part.count += 1;
        part.size += size;
        part.active += u64::from(!is_free);
        part.reclaimable += if is_free { size } else { 0 };
    }
    part
}
