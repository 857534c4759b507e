//! File that is spread instead of an image: the only layer of a manifest (image spec, artifacts-guidance.md), so that it
//! is fetched like any layer.

use std::fs::File;

use serde_json::json;

use super::frame::BlockDigest;
use super::shared_blob::{block_digest, read_block};
use super::{BLOCK, block_count, block_length};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Result};
use crate::fail;
use crate::image::manifest::{Descriptor, ManifestDocument, media};
use crate::image::source::{FetchedManifest, ImageSource};

/// Media type of the file.
const FILE_TYPE: &str = "application/vnd.usnea.image.file";
/// Empty configuration of a manifest without an image.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Digests of a file.
pub struct FileBlocks {
    /// Digest of the whole file.
    pub digest: Digest,
    /// Digests of its blocks.
    pub blocks: Vec<BlockDigest>,
}

impl FileBlocks {
    /// Reads the `size` bytes of a file.
    pub fn read(file: &File, size: u64) -> Result<Self> {
        let (mut hasher, mut blocks) = (Hasher::new(Algorithm::Sha256), Vec::new());
        for number in 0..block_count(size) {
            let block = read_block(file, number.saturating_mul(BLOCK), block_length(size, number))
                .context(|| "the file is shorter than it was")?;
            hasher.update(&block);
            blocks.push(block_digest(&block));
        }
        Ok(Self { digest: hasher.finish(), blocks })
    }
}

/// Makes the manifest of a file.
pub fn file_manifest(digest: &Digest, size: u64) -> FetchedManifest {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": FILE_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": FILE_TYPE, "digest": digest, "size": size}],
    });
    let media_type = Some(media::OCI_MANIFEST.to_owned());
    FetchedManifest { bytes: document.to_string().into_bytes(), media_type }
}

/// Descriptor of the file that a source has. Errors: an image of layers.
pub fn spread_file(source: &dyn ImageSource) -> Result<Descriptor> {
    let fetched = source.manifest(None)?;
    let document = ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref())?;
    let ManifestDocument::Manifest(manifest) = document else { fail!("rank 0 spreads no file") };
    match &manifest.layers[..] {
        [file] if file.media_type == FILE_TYPE => Ok(file.clone()),
        _ => fail!("rank 0 spreads no file"),
    }
}
