//! `usnea image tree`: the layers of images, and the other images that share them.

use std::collections::{BTreeSet, HashMap};

use crate::container::Usnea;
use crate::digest::Digest;
use crate::documents::image::{ImageTreeRow, LayerRow};
use crate::documents::text::Truncation;
use crate::error::Result;
use crate::image::Reference;
use crate::image::store::{ImageLayer, ImageRecord};

/// Image and its layers, each with the other images that share it.
#[derive(Clone, Debug)]
pub struct ImageShares {
    /// Image itself.
    pub image: ImageRecord,
    /// Layers of the image, the bottom layer first.
    pub layers: Vec<SharedLayer>,
}

/// Layer, and the other images that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLayer {
    /// Layer itself.
    pub layer: ImageLayer,
    /// Labels of the other images with this layer.
    pub with: Vec<String>,
}

/// Disk space of images, in bytes. Sizes are of unpacked layers, except `packed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareTotals {
    /// Number of different layers.
    pub layers: usize,
    /// Sum of the layers, each counted once: the real disk space.
    pub once: u64,
    /// Sum of the layers, each counted for every image that has it.
    pub apart: u64,
    /// Sum of the compressed blobs, each counted once.
    pub packed: u64,
}

/// Images with the layers that they share, and their total disk space.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// Images, in the requested order.
    pub images: Vec<ImageShares>,
    /// Disk space of these images together.
    pub totals: ShareTotals,
}

impl ImageShares {
    /// Returns the row of a table.
    pub fn row(&self, truncation: Truncation) -> ImageTreeRow {
        let layer = |shared: &SharedLayer| LayerRow {
            diff_id: truncation.digest(&shared.layer.diff_id),
            blob: truncation.digest(&shared.layer.blob),
            size: shared.layer.size,
            packed: shared.layer.packed,
            shared_with: shared.with.clone(),
        };
        ImageTreeRow {
            id: truncation.digest(&self.image.config),
            names: self.image.names.iter().map(Reference::familiar).collect(),
            size: self.image.size(),
            packed: self.packed(),
            unique: self.unique(),
            shared: self.shared(),
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    /// Returns the size of the compressed blobs, in bytes.
    pub fn packed(&self) -> u64 {
        self.layers.iter().fold(0, |sum, shared| sum.saturating_add(shared.layer.packed))
    }

    /// Returns the size in bytes of the unpacked layers that no other image has.
    pub fn unique(&self) -> u64 {
        self.sum(|layer| layer.with.is_empty())
    }

    /// Returns the size in bytes of the unpacked layers that other images share.
    pub fn shared(&self) -> u64 {
        self.sum(|layer| !layer.with.is_empty())
    }

    fn sum(&self, is_meant: impl Fn(&&SharedLayer) -> bool) -> u64 {
        self.layers
            .iter()
            .filter(is_meant)
            .fold(0, |sum, layer| sum.saturating_add(layer.layer.size))
    }
}

/// Returns a label of the image for output: its first name, else its short ID.
pub fn label(image: &ImageRecord) -> String {
    match image.names.first() {
        Some(name) => name.familiar(),
        None => image.config.short().to_owned(),
    }
}

/// Returns the images that `texts` name, or all, and their total disk space. All images of the stores count as sharing
/// a layer, not only those of `texts`.
pub fn sharing(usnea: &Usnea, texts: &[String]) -> Result<Sharing> {
    let stores = usnea.images()?;
    let mut all: Vec<ImageRecord> = Vec::new();
    for list in stores.lists() {
        for image in list?.1.all() {
            if !all.iter().any(|known| known.manifest == image.manifest) {
                all.push(image.clone());
            }
        }
    }
    let asked = match texts.is_empty() {
        true => {
            let mut asked = all.clone();
            asked.sort_by_cached_key(|image| {
                (image.names.first().map(Reference::to_string), label(image))
            });
            asked
        }
        false => texts
            .iter()
            .map(|text| Ok(super::known(stores, text)?.1))
            .collect::<Result<Vec<ImageRecord>>>()?,
    };
    Ok(Sharing { images: shares(&asked, &all), totals: totals(&asked) })
}

fn shares(asked: &[ImageRecord], all: &[ImageRecord]) -> Vec<ImageShares> {
    let labels: Vec<String> = all.iter().map(label).collect();
    let mut by_label: Vec<(&String, &ImageRecord)> = labels.iter().zip(all).collect();
    by_label.sort_by_key(|(label, _)| *label);
    let mut owners: HashMap<&Digest, Vec<(&String, &ImageRecord)>> = HashMap::new();
    for (label, image) in by_label {
        for layer in &image.layers {
            let owners = owners.entry(&layer.diff_id).or_default();
            // An image may have a layer twice.
            if owners.last().is_none_or(|(_, last)| last.manifest != image.manifest) {
                owners.push((label, image));
            }
        }
    }
    let layer = |image: &ImageRecord, layer: &ImageLayer| {
        let owners = owners.get(&layer.diff_id).into_iter().flatten();
        let others = owners.filter(|(_, other)| other.manifest != image.manifest);
        let with = others.map(|(label, _)| (*label).clone()).collect();
        SharedLayer { layer: layer.clone(), with }
    };
    let shares = |image: &ImageRecord| ImageShares {
        layers: image.layers.iter().map(|one| layer(image, one)).collect(),
        image: image.clone(),
    };
    asked.iter().map(shares).collect()
}

fn totals(images: &[ImageRecord]) -> ShareTotals {
    let mut totals = ShareTotals::default();
    let (mut seen, mut blobs) = (BTreeSet::new(), BTreeSet::new());
    for layer in images.iter().flat_map(|image| &image.layers) {
        totals.apart = totals.apart.saturating_add(layer.size);
        if seen.insert(layer.diff_id.to_string()) {
            totals.once = totals.once.saturating_add(layer.size);
        }
        if blobs.insert(layer.blob.to_string()) {
            totals.packed = totals.packed.saturating_add(layer.packed);
        }
    }
    totals.layers = seen.len();
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::Platform;

    fn image(name: &str, layers: &[(&str, u64)]) -> ImageRecord {
        let layer = |(seed, size): &(&str, u64)| ImageLayer {
            blob: Digest::of(format!("{seed} packed").as_bytes()),
            packed: size / 2,
            diff_id: Digest::of(seed.as_bytes()),
            size: *size,
        };
        ImageRecord {
            manifest: Digest::of(name.as_bytes()),
            index: None,
            config: Digest::of(format!("{name}'s").as_bytes()),
            layers: layers.iter().map(layer).collect(),
            platform: Platform::host(),
            names: vec![name.parse().unwrap()],
            digests: Vec::new(),
            created: None,
            added: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn layers_say_who_has_them_too_and_totals_count_them_once() {
        let all = [
            image("a", &[("base", 100), ("a", 10)]),
            image("b", &[("base", 100), ("b", 20)]),
            image("c", &[("c", 5)]),
        ];
        let seen = shares(&all[..2], &all);
        assert_eq!(seen[0].layers[0].with, ["b:latest"]);
        assert!(seen[0].layers[1].with.is_empty());
        assert_eq!((seen[0].unique(), seen[0].shared()), (10, 100));
        assert_eq!(totals(&all), ShareTotals { layers: 4, once: 135, apart: 235, packed: 67 });
    }
}
