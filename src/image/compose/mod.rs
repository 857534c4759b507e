//! New images as sources: a pull from such a source checks, unpacks and records the image like any other.
//!
//! `rootfs_image` makes an image of a root directory's tarball (`usnea import`), `commit` one of another image and a
//! layer over it. The layers are files in tmp/, which the store takes over; the manifest and the config are in memory.

mod layer;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::MemfdFlags;
use serde_json::{Map, Value, json};

pub use layer::{LayerWriter, NewLayer, NewLayerForm, PlainLayerWriter};

use super::archive::plain::ArchiveSource;
use super::config::ImageConfig;
use super::file_range::FileRange;
use super::instruction::{self, ConfigChange};
use super::manifest::{Descriptor, LARGEST, MOST_LAYERS, Manifest, Platform, media, parse_config};
use super::source::{BlobReader, FetchedManifest, ImageSource};
use super::store::Store;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::Spool;

/// Facts for the config of a new image, besides its layers.
#[derive(Clone, Debug)]
pub struct ImageDetails {
    /// Platform of the image, used if there is no parent.
    pub platform: Platform,
    /// Time of the build.
    pub created: Timestamp,
    /// Author of the image.
    pub author: Option<String>,
    /// Remark in the history.
    pub message: Option<String>,
    /// Command in the history (`created_by`).
    pub created_by: Option<String>,
    /// Changes to the config (`--change`), in order.
    pub changes: Vec<ConfigChange>,
}

/// Parent of a new image.
#[derive(Clone, Copy, Debug)]
pub struct ParentImage<'a> {
    /// Manifest of the parent.
    pub manifest: &'a Manifest,
    /// Bytes of the parent's config.
    pub config: &'a [u8],
    /// Store that has the parent's layers.
    pub store: &'a Store,
}

/// A new image.
pub struct ComposedImage {
    name: String,
    manifest: Vec<u8>,
    digest: Digest,
    config: (Digest, Vec<u8>),
    layers: HashMap<Digest, ComposedLayer>,
    /// Store that has the parent's layers; `None` without a parent.
    parent: Option<Store>,
}

/// Content of a new layer.
struct ComposedLayer {
    content: FileRange,
    spool: Spool,
}

/// Makes an image whose only layer is the tarball `source`, plain or compressed.
pub fn rootfs_image(
    source: &ArchiveSource,
    tmp: &Path,
    details: &ImageDetails,
) -> Result<ComposedImage> {
    let name = source.to_string();
    let layer = layer::of_tarball(source, tmp).context(|| name.clone())?;
    make(None, Some(layer), details, name)
}

/// Makes an image of `parent`'s layers (`None`: none) with `layer` over them (`None`: only the config changes), called
/// `name` in messages. Errors: a config that cannot be changed, too many layers.
pub fn commit(
    parent: Option<ParentImage<'_>>,
    layer: Option<NewLayer>,
    details: &ImageDetails,
    name: String,
) -> Result<ComposedImage> {
    make(parent, layer, details, name)
}

fn make(
    parent: Option<ParentImage<'_>>,
    layer: Option<NewLayer>,
    details: &ImageDetails,
    name: String,
) -> Result<ComposedImage> {
    let (mut document, mut diff_ids) = match &parent {
        Some(parent) => {
            let (_, diff_ids) = parse_config(parent.config, parent.manifest.layers.len())?;
            (serde_json::from_slice(parent.config).map_err(Error::new)?, diff_ids)
        }
        None => (new_config(&details.platform), Vec::new()),
    };
    let mut layers: Vec<Descriptor> = parent
        .map(|parent| parent.manifest.layers.iter().map(as_oci).collect())
        .unwrap_or_default();
    if let Some(layer) = &layer {
        layers.push(layer.descriptor.clone());
        diff_ids.push(layer.diff_id.clone());
    }
    if layers.len() > MOST_LAYERS {
        fail!("the image would have {} layers, more than {MOST_LAYERS}", layers.len());
    }
    instruction::apply(&mut document, &details.changes).context(|| "the image's config")?;
    complete_history(&mut document, diff_ids.len() - usize::from(layer.is_some()))?;
    describe(&mut document, &diff_ids, layer.as_ref(), details)?;
    let parent = parent.map(|parent| parent.store.clone());
    complete(&document, &layers, layer.into_iter().collect(), parent, name)
}

/// Makes an image of the configuration `config` with these layers, the bottom one first, called `name` in messages. The
/// history of a single layer gets one step more, and the others have none. That of several stays if it has as many. Errors: a malformed
/// configuration.
pub fn with_layers(config: &[u8], layers: Vec<NewLayer>, name: String) -> Result<ComposedImage> {
    let parsed = ImageConfig::parse(config)?;
    let mut document: Value = serde_json::from_slice(config).map_err(Error::new)?;
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::new("the image's config is no JSON object"))?;
    let of_layers = parsed.history.iter().filter(|step| !step.empty_layer).count();
    let is_kept = layers.len() > 1 && of_layers == layers.len();
    if layers.len() > 1 && !is_kept {
        fields.remove("history");
    } else if let Some(history) = fields.get_mut("history").and_then(Value::as_array_mut)
        && !is_kept
    {
        for step in history.iter_mut().filter_map(Value::as_object_mut) {
            step.insert("empty_layer".to_owned(), json!(true));
        }
        let mut step = json!({"comment": "all layers in one"});
        if let (Some(created), Some(step)) = (parsed.created, step.as_object_mut()) {
            step.insert("created".to_owned(), json!(created));
        }
        history.push(step);
    }
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    fields.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    complete(&document, &descriptors, layers, None, name)
}

fn complete(
    document: &Value,
    layers: &[Descriptor],
    new: Vec<NewLayer>,
    parent: Option<Store>,
    name: String,
) -> Result<ComposedImage> {
    let config = document.to_string().into_bytes();
    if config.len() as u64 > LARGEST {
        fail!("the image's config would be larger than {LARGEST} bytes");
    }
    let config_is = Descriptor::new(media::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": config_is,
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let composed = |NewLayer { descriptor, content, spool, .. }| {
        (descriptor.digest, ComposedLayer { content, spool })
    };
    let layers = new.into_iter().map(composed).collect();
    let digest = Digest::of(&manifest);
    Ok(ComposedImage { name, manifest, digest, config: (config_is.digest, config), layers, parent })
}

fn new_config(platform: &Platform) -> Value {
    let mut config =
        json!({"os": platform.os, "architecture": platform.architecture, "config": {}});
    if let (Some(variant), Some(fields)) = (&platform.variant, config.as_object_mut()) {
        fields.insert("variant".to_owned(), json!(variant));
    }
    config
}

/// Adds an empty history record for each of the parent's `layers` that has none: else the new record would describe
/// another layer.
fn complete_history(document: &mut Value, layers: usize) -> Result<()> {
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::new("the image's config is no JSON object"))?;
    let history = fields.entry("history").or_insert(Value::Null);
    if history.is_null() {
        *history = json!([]);
    }
    let history = history.as_array_mut();
    let history = history.ok_or_else(|| Error::new("the image's history is no JSON list"))?;
    let is_of_layer = |step: &&Value| step.get("empty_layer") != Some(&json!(true));
    let known = history.iter().filter(is_of_layer).count();
    history.extend((known..layers).map(|_| json!({})));
    Ok(())
}

/// Writes author, time, layers and a history record into the config.
fn describe(
    document: &mut Value,
    diff_ids: &[Digest],
    layer: Option<&NewLayer>,
    details: &ImageDetails,
) -> Result<()> {
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::new("the image's config is no JSON object"))?;
    // Docker's fields about the container of the previous step.
    for stale in ["id", "parent", "container", "container_config", "docker_version"] {
        fields.remove(stale);
    }
    let created = details.created.to_string();
    fields.insert("created".to_owned(), json!(created));
    fields.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    if let Some(author) = &details.author {
        fields.insert("author".to_owned(), json!(author));
    }
    let mut step = Map::from_iter([("created".to_owned(), json!(created))]);
    for (name, value) in [
        ("created_by", &details.created_by),
        ("author", &details.author),
        ("comment", &details.message),
    ] {
        step.extend(value.iter().map(|value| (name.to_owned(), json!(value))));
    }
    if layer.is_none() {
        step.insert("empty_layer".to_owned(), json!(true));
    }
    let history = fields.entry("history").or_insert(Value::Null);
    if history.is_null() {
        *history = json!([]);
    }
    let history = history.as_array_mut();
    history.ok_or_else(|| Error::new("the image's history is no JSON list"))?.push(step.into());
    Ok(())
}

/// Replaces docker's media type of a parent's layer by OCI's.
fn as_oci(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media::DOCKER_LAYER => media::OCI_LAYER,
        media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
        other => other,
    };
    Descriptor { media_type: media_type.to_owned(), ..layer.clone() }
}

impl ComposedImage {
    /// Digest of the manifest.
    pub fn manifest_digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes of the manifest.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest
    }

    /// Digest of the configuration: the ID of the image.
    pub fn id(&self) -> &Digest {
        &self.config.0
    }

    /// Opens a blob at its beginning: the configuration, or a layer. Files of one layer share their position.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        if *digest == self.config.0 {
            let memory = rustix::fs::memfd_create("config", MemfdFlags::CLOEXEC)
                .context(|| "cannot make a file in memory")?;
            let mut file = File::from(memory);
            file.write_all(&self.config.1)?;
            file.rewind()?;
            return Ok(file);
        }
        if let Some(layer) = self.layers.get(digest) {
            return Ok(layer.content.file()?);
        }
        match &self.parent {
            Some(store) => store.open_blob(digest),
            None => fail!("{}: there is no layer {digest}", self.name),
        }
    }
}

impl ImageSource for ComposedImage {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        if digest.is_some_and(|digest| *digest != self.digest) {
            fail!("{}: one image, no index", self.name);
        }
        let media_type = Some(media::OCI_MANIFEST.to_owned());
        Ok(FetchedManifest { bytes: self.manifest.clone(), media_type })
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        let held = self.parent.as_ref().map(|store| store.blob(digest)).transpose()?.flatten();
        match held {
            Some(held) => Ok(held.file.metadata()?.len()),
            None => fail!("{}: there is no layer {digest}", self.name),
        }
    }

    fn spool(&self, digest: &Digest) -> Option<&Spool> {
        self.layers.get(digest).map(|layer| &layer.spool)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let digest = &descriptor.digest;
        if *digest == self.config.0 {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            let rest = self.config.1.get(from..).unwrap_or_default().to_vec();
            return Ok(Box::new(std::io::Cursor::new(rest)));
        }
        if let Some(layer) = self.layers.get(digest) {
            return Ok(Box::new(layer.content.clone().skip(from)));
        }
        let held = self.parent.as_ref().map(|store| store.blob(digest)).transpose()?.flatten();
        let Some(held) = held else {
            return Err(Error::new(format!("{}: layer {digest} is its parent's", self.name))
                .hint("it is no longer in the store: pull the parent again"));
        };
        // The lock stays with the file.
        let mut file = held.file;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests;
