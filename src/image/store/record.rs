//! Record of an image, readable without its config: an entry of images.json.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::Reference;
use crate::image::manifest::Platform;

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the manifest: identifies the image in this store.
    pub manifest: Digest,
    /// Digest of the index that the manifest was chosen from; `None` without an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Digest of the config: the image ID that docker shows.
    pub config: Digest,
    /// Layers of the image, the bottom one first.
    pub layers: Vec<ImageLayer>,
    /// Platform that the image runs on.
    pub platform: Platform,
    /// Names of the image: references with a tag.
    #[serde(default)]
    pub names: Vec<Reference>,
    /// Origins and push targets of the image: references with a digest and no tag.
    #[serde(default)]
    pub digests: Vec<Reference>,
    /// Time of the build, as the config claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<jiff::Timestamp>,
    /// Time when the image was added to the store.
    pub added: jiff::Timestamp,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Digest of the blob, as the layer was packed.
    pub blob: Digest,
    /// Length of the blob in bytes.
    pub packed: u64,
    /// Digest of the tar in the blob: names the unpacked layer.
    pub diff_id: Digest,
    /// Bytes of the layer's files, unpacked.
    pub size: u64,
}

impl ImageRecord {
    /// Bytes of the image's files, unpacked, over all layers (docker's SIZE).
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// True if a registry has the image's manifest: others may know the image by this digest.
    pub fn is_published(&self) -> bool {
        !self.digests.is_empty()
    }

    /// True if `digest` is that of the manifest, of the index, or of a reference by which a registry knows the image.
    pub fn is_known_as(&self, digest: &Digest) -> bool {
        let is_it = |one: &Reference| one.digest.as_ref() == Some(digest);
        self.manifest == *digest
            || self.index.as_ref() == Some(digest)
            || self.digests.iter().any(is_it)
    }

    /// All blobs that the image needs.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        [&self.manifest, &self.config]
            .into_iter()
            .chain(self.index.as_ref())
            .chain(self.layers.iter().map(|layer| &layer.blob))
    }
}
