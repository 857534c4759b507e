//! `usnea image inspect`: docker's document of an image, with the fields that podman adds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config_document::{self, manifest_facts_of};
use super::single_file;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores::{self, Stores};
use crate::documents::graph_driver::GraphDriver;
use crate::documents::image::{ImageDocument, ImageMetadata, RootFsDocument};
use crate::error::{Context, Error, Result};
use crate::go_json::field;
use crate::image::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::spec::StorageDriver;
use crate::userns::Base;

/// Returns the document of the image that `text` names.
pub fn inspect(usnea: &Usnea, text: &str) -> Result<ImageDocument> {
    if let Some(path) = FileImage::path_in(text) {
        return single_file::inspect(path);
    }
    let (store, image) = super::known(usnea.images()?, text)?;
    document(usnea.base()?, &store, &image).context(|| format!("image {text}"))
}

/// Returns references in their short form, each once.
fn familiar<'a>(references: impl Iterator<Item = &'a Reference>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in references.map(Reference::familiar) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn document(base: &Base, store: &Store, image: &ImageRecord) -> Result<ImageDocument> {
    let config = store.read_blob(&image.config)?;
    let config: Value = serde_json::from_slice(&config).map_err(Error::new)?;
    let images = store.images()?;
    let mut records: Vec<&ImageRecord> = images.of_config(&image.config).collect();
    records.sort_by_key(|record| record.manifest != image.manifest);
    let (manifest_type, annotations) = manifest_facts(store, image)?;
    let graph_driver = graph_driver(base, store, image)?;
    let of_config = config_document::document(
        &config,
        image.config.clone(),
        image.manifest.clone(),
        graph_driver,
    )?;
    Ok(ImageDocument {
        repo_tags: familiar(records.iter().flat_map(|record| &record.names)),
        repo_digests: familiar(records.iter().flat_map(|record| &record.digests)),
        created: image.created.map(|time| time.to_string()).unwrap_or_default(),
        architecture: image.platform.architecture.clone(),
        variant: image.platform.variant.clone().unwrap_or_default(),
        os: image.platform.os.clone(),
        size: image.size(),
        virtual_size: image.size(),
        root_fs: RootFsDocument {
            r#type: "layers",
            layers: image.layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        },
        metadata: ImageMetadata { last_tag_time: image.added.to_string() },
        manifest_type,
        annotations,
        names_history: image.names.iter().map(ToString::to_string).collect(),
        ..of_config
    })
}

/// Returns the labels of an image's config; none where the config cannot be read.
pub fn labels(stores: &Stores, image: &ImageRecord) -> BTreeMap<String, String> {
    let config = stores.all().find_map(|store| store.read_blob(&image.config).ok());
    let config = config.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let labels =
        config.as_ref().and_then(|config| field(field(config, "config")?, "Labels")?.as_object());
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}

fn graph_driver(base: &Base, store: &Store, image: &ImageRecord) -> Result<GraphDriver> {
    let owners = stores::owners(base, store);
    // Upper layers come first, as overlayfs takes them.
    let mut folders = image
        .layers
        .iter()
        .rev()
        .map(|layer| store.layer_path(&layer.diff_id, &owners).display().to_string());
    let mut data = BTreeMap::new();
    data.extend(folders.next().map(|upper| ("UpperDir", upper)));
    let lower: Vec<String> = folders.collect();
    if !lower.is_empty() {
        data.insert("LowerDir", lower.join(":"));
    }
    Ok(GraphDriver { name: StorageDriver::Overlay.name(), data })
}

fn manifest_facts(
    store: &Store,
    image: &ImageRecord,
) -> Result<(String, BTreeMap<String, String>)> {
    manifest_facts_of(&store.read_blob(&image.manifest)?)
        .context(|| format!("manifest {}", image.manifest))
}
