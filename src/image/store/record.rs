//! What is known of an image without reading its config: one entry of images.json.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::Reference;
use crate::image::manifest::Platform;

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its manifest: what identifies it here.
    pub manifest: Digest,
    /// The index that it was chosen from, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Its config: the image ID that docker shows.
    pub config: Digest,
    /// Its layers, the bottom one first.
    pub layers: Vec<Layer>,
    /// For which machine.
    pub platform: Platform,
    /// What it is called: references with a tag.
    #[serde(default)]
    pub names: Vec<Reference>,
    /// Where it came from or went: references with a digest and no tag.
    #[serde(default)]
    pub digests: Vec<Reference>,
    /// When it was built, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<jiff::Timestamp>,
    /// When it came here.
    pub added: jiff::Timestamp,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The blob, as it was packed.
    pub blob: Digest,
    /// How long the blob is, in bytes.
    pub packed: u64,
    /// The digest of the tar in it: names the unpacked layer.
    pub diff_id: Digest,
    /// Bytes of its files, unpacked.
    pub size: u64,
}

impl Image {
    /// Bytes of its files, unpacked, over all layers (what docker calls SIZE).
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// Whether its manifest is one that has been somewhere else: others may know the image by its digest.
    pub fn is_published(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Whether this is the digest of its manifest, of its index, or one by which a registry knows it.
    pub fn is_called(&self, digest: &Digest) -> bool {
        let is_it = |one: &Reference| one.digest.as_ref() == Some(digest);
        self.manifest == *digest
            || self.index.as_ref() == Some(digest)
            || self.digests.iter().any(is_it)
    }

    /// All blobs that it needs.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        [&self.manifest, &self.config]
            .into_iter()
            .chain(self.index.as_ref())
            .chain(self.layers.iter().map(|layer| &layer.blob))
    }
}
