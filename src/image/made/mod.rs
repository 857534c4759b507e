//! Images that are made here, as sources: what is pulled from them is checked, unpacked and recorded like all else.
//!
//! `rootfs_image` makes one of a root directory's tarball (`usnea import`), `commit` one of another image and a layer
//! over it. The layers are temporary files without a name; the manifest and the config are in memory.

mod layer;

use std::collections::HashMap;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use layer::{Layer, LayerWriter};

use super::change::{self, Change};
use super::manifest::{Descriptor, LARGEST, MOST_LAYERS, Manifest, Platform, media, parse_config};
use super::section::Section;
use super::source::{Blob, Fetched, Source};
use super::store::Store;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;

/// What the config of a new image says beside its layers.
#[derive(Clone, Debug)]
pub struct Details {
    /// For which machine; the parent's where there is one.
    pub platform: Platform,
    /// When.
    pub created: Timestamp,
    /// By whom.
    pub author: Option<String>,
    /// The remark in the history.
    pub message: Option<String>,
    /// What made the layer, in the history (`created_by`).
    pub created_by: Option<String>,
    /// `--change`, in order.
    pub changes: Vec<Change>,
}

/// The image that a new one is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its config's bytes.
    pub config: &'a [u8],
    /// The store that has its layers.
    pub store: &'a Store,
}

/// A new image.
pub struct Made {
    name: String,
    manifest: Vec<u8>,
    digest: Digest,
    config: (Digest, Vec<u8>),
    layers: HashMap<Digest, Section>,
    /// Who has the parent's layers.
    parent: Option<Store>,
}

/// The image whose one layer is the tarball at `path` (`-`: standard input), plain or compressed.
pub fn rootfs_image(path: &Path, tmp: &Path, details: &Details) -> Result<Made> {
    let name = match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    };
    let layer = layer::of_tarball(path, tmp).context(|| name.clone())?;
    make(None, Some(layer), details, name)
}

/// The image of `parent`'s layers (none: nothing) with `layer` over them (none: only the config changes), called `name`
/// in messages. Errors: a config that cannot be changed, too many layers.
pub fn commit(
    parent: Option<Parent<'_>>,
    layer: Option<Layer>,
    details: &Details,
    name: String,
) -> Result<Made> {
    make(parent, layer, details, name)
}

fn make(
    parent: Option<Parent<'_>>,
    layer: Option<Layer>,
    details: &Details,
    name: String,
) -> Result<Made> {
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
    change::apply(&mut document, &details.changes).context(|| "the image's config")?;
    complete_history(&mut document, diff_ids.len() - usize::from(layer.is_some()))?;
    describe(&mut document, &diff_ids, layer.is_none(), details)?;

    let config = document.to_string().into_bytes();
    if config.len() as u64 > LARGEST {
        fail!("the image's config would be larger than {LARGEST} bytes");
    }
    let config_is = descriptor(media::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": config_is,
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let layers = layer.map(|layer| (layer.descriptor.digest, layer.content)).into_iter().collect();
    let digest = Digest::of(&manifest);
    let parent = parent.map(|parent| parent.store.clone());
    Ok(Made { name, manifest, digest, config: (config_is.digest, config), layers, parent })
}

fn new_config(platform: &Platform) -> Value {
    let mut config =
        json!({"os": platform.os, "architecture": platform.architecture, "config": {}});
    if let (Some(variant), Some(fields)) = (&platform.variant, config.as_object_mut()) {
        fields.insert("variant".to_owned(), json!(variant));
    }
    config
}

/// Gives the history a record for each of the parent's `layers`: without it, what is added stands beside another layer.
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

/// Writes into the config who made it, when, and of what.
fn describe(
    document: &mut Value,
    diff_ids: &[Digest],
    no_layer: bool,
    details: &Details,
) -> Result<()> {
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::new("the image's config is no JSON object"))?;
    // Docker's, about the container of the step before.
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
    if no_layer {
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

/// A parent's layer by OCI's name of its kind.
fn as_oci(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media::DOCKER_LAYER => media::OCI_LAYER,
        media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
        other => other,
    };
    Descriptor { media_type: media_type.to_owned(), ..layer.clone() }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
        urls: Vec::new(),
    }
}

impl Source for Made {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched> {
        if digest.is_some_and(|digest| *digest != self.digest) {
            fail!("{}: one image, no index", self.name);
        }
        let media_type = Some(media::OCI_MANIFEST.to_owned());
        Ok(Fetched { bytes: self.manifest.clone(), media_type })
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        let held = self.parent.as_ref().map(|store| store.blob(digest)).transpose()?.flatten();
        match held {
            Some(held) => Ok(held.file.metadata()?.len()),
            None => fail!("{}: there is no layer {digest}", self.name),
        }
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<Blob> {
        let digest = &descriptor.digest;
        if *digest == self.config.0 {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            let rest = self.config.1.get(from..).unwrap_or_default().to_vec();
            return Ok(Box::new(std::io::Cursor::new(rest)));
        }
        if let Some(section) = self.layers.get(digest) {
            return Ok(Box::new(section.clone().skip(from)));
        }
        let held = self.parent.as_ref().map(|store| store.blob(digest)).transpose()?.flatten();
        let Some(held) = held else {
            return Err(Error::new(format!("{}: layer {digest} is its parent's", self.name))
                .hint("it is no longer in the store: pull the parent again"));
        };
        // Its lock stays with it.
        let mut file = held.file;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests;
