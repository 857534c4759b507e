//! OCI image in a SIF file (OCI-SIF of SingularityCE): an index and blobs as data objects, layers as squashfs.
//!
//! The digests of index, manifest and configuration are checked. Layers are read in place, unverified: they are as large
//! as the image.

use std::collections::BTreeSet;
use std::fs::File;

use super::SifPart;
use super::format::{SifKind, SifObject, SifTable};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::manifest::{ImageConfig, LARGEST, ManifestDocument, Platform};

/// Media type of a layer that is a squashfs file system.
const SQUASHFS_LAYER: &str = "application/vnd.sylabs.image.layer.v1.squashfs";

/// OCI image of a file.
pub(super) struct OciContent {
    /// Configuration (image spec, config.md), as the file has it.
    pub(super) configuration: String,
    /// Architecture by Go's name.
    pub(super) architecture: String,
    /// Layers, the topmost first.
    pub(super) layers: Vec<SifPart>,
    /// IDs of the data objects that make up the image.
    pub(super) objects: BTreeSet<u32>,
}

/// Reads the image with this index. Of several images, takes that for this machine. Errors: missing or damaged blobs;
/// layers in another format.
pub(super) fn read(file: &File, table: &SifTable, index: &SifObject) -> Result<OciContent> {
    let mut objects = BTreeSet::from([index.id]);
    let bytes = index.read(file, LARGEST).context(|| "its index")?;
    let ManifestDocument::Index(index) = ManifestDocument::parse(&bytes, None)? else {
        fail!(Invalid: "its index is a manifest");
    };
    let entry = match &index.manifests[..] {
        // Also one for another machine: the caller compares architectures.
        [only] => only,
        _ => index.choose(&Platform::host())?,
    };
    let manifest = blob(file, table, &entry.digest, &mut objects)?;
    let ManifestDocument::Manifest(manifest) = ManifestDocument::parse(&manifest, None)? else {
        fail!(Invalid: "one index in the other");
    };
    let configuration = blob(file, table, &manifest.config.digest, &mut objects)?;
    let architecture = ImageConfig::parse(&configuration)?.platform().architecture;
    let configuration = String::from_utf8(configuration);
    let configuration =
        configuration.map_err(|_| Error::invalid("its configuration is no text"))?;
    let layers = manifest.layers.iter().rev().map(|layer| {
        if layer.media_type != SQUASHFS_LAYER {
            let kind: String = layer.media_type.chars().take(100).collect();
            fail!(Invalid: "layer {} is of type {}, not squashfs", layer.digest.short(), kind.escape_debug());
        }
        let object = find(table, &layer.digest)?;
        objects.insert(object.id);
        Ok(object.part())
    });
    let layers = layers.collect::<Result<Vec<_>>>()?;
    match layers.is_empty() {
        true => fail!(Invalid: "its image has no layers"),
        false => Ok(OciContent { configuration, architecture, layers, objects }),
    }
}

fn find<'a>(table: &'a SifTable, digest: &Digest) -> Result<&'a SifObject> {
    let has_digest = |object: &&SifObject| {
        object.digest_text().and_then(|text| text.parse::<Digest>().ok()).as_ref() == Some(digest)
    };
    let found = table.of(SifKind::OciBlob).find(has_digest);
    found.ok_or_else(|| Error::invalid(format!("blob {digest} is missing")))
}

/// Reads a document, and adds its ID to `objects`. Errors: its content has another digest.
fn blob(
    file: &File,
    table: &SifTable,
    digest: &Digest,
    objects: &mut BTreeSet<u32>,
) -> Result<Vec<u8>> {
    let object = find(table, digest)?;
    objects.insert(object.id);
    let bytes = object.read(file, LARGEST)?;
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&bytes);
    let has = hasher.finish();
    match has == *digest {
        true => Ok(bytes),
        false => fail!(Invalid: "blob {digest} is damaged: its content has the digest {has}"),
    }
}
