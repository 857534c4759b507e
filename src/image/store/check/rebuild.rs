//! Rebuilds an unreadable or missing images.json: from its readable part, from its copy, and from the manifests among
//! the blobs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::super::images::VERSION;
use super::{FaultOutcome, Repair, StoreFault};
use crate::digest::Digest;
use crate::error::Result;
use crate::fail;
use crate::image::manifest::{Descriptor, LARGEST, ManifestDocument, parse_config};
use crate::image::store::{ImageLayer, ImageList, ImageRecord, Store};

impl Store {
    /// Reads images.json, rebuilt if it is damaged or missing and `repair` is yes. `None`: damaged or missing, and not
    /// repaired.
    pub(super) fn readable_images(
        &self,
        repair: Repair,
        faults: &mut Vec<StoreFault>,
    ) -> Result<Option<ImageList>> {
        let path = self.images_path();
        let mut is_missing = false;
        let is_json = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
                // The file of another version of usnea is left alone.
                Ok(value) if value.get("version").is_some_and(|version| *version != VERSION) => {
                    true
                }
                Ok(value) => serde_json::from_value::<ImageList>(value).is_ok(),
                Err(_) => false,
            },
            Err(error) => {
                is_missing = error.kind() == std::io::ErrorKind::NotFound;
                false
            }
        };
        if is_json {
            return self.images().map(Some);
        }
        let images = self.rebuilt_images(&path)?;
        // A store that never had an image has no list.
        if is_missing && !self.has_objects()? && !self.copy_path().exists() {
            return Ok(Some(images));
        }
        let what = if is_missing { "it is missing" } else { "it cannot be read" };
        let mut fault = StoreFault::found("images.json".to_owned(), what, Vec::new());
        if repair == Repair::No {
            faults.push(fault);
            return Ok(None);
        }
        let aside = self.root.join("images.json.damaged");
        if !is_missing {
            // A rename would leave an instant without images.json.
            fs::copy(&path, &aside).map_err(|error| crate::files::cannot_write(error, &aside))?;
        }
        self.write_images(&images)?;
        let nameless = images.all().iter().filter(|image| image.names.is_empty()).count();
        let kept = if is_missing { "" } else { "; the damaged one is images.json.damaged" };
        fault.outcome = FaultOutcome::Mended(format!(
            "made anew with {} images, {nameless} of them without a name ('usnea tag ID NAME' gives one){kept}",
            images.all().len()
        ));
        faults.push(fault);
        Ok(Some(images))
    }

    /// The images that are readable in the damaged images.json, those of its copy, and those whose manifests are among
    /// the blobs.
    fn rebuilt_images(&self, damaged: &Path) -> Result<ImageList> {
        let mut images = ImageList::salvaged(&fs::read(damaged).unwrap_or_default());
        let copied = ImageList::salvaged(&fs::read(self.copy_path()).unwrap_or_default());
        for image in copied.all() {
            if images.of_manifest(&image.manifest).is_none() && self.missing_for(image).is_none() {
                images.insert(image.clone());
            }
        }
        let mut came_from = HashMap::new();
        let mut manifests = Vec::new();
        for digest in self.blobs()? {
            let is_small = |path: &Path| path.metadata().is_ok_and(|one| one.len() <= LARGEST);
            if !is_small(&self.blob_path(&digest)) {
                continue;
            }
            let Ok(bytes) = self.read_blob(&digest) else { continue };
            match ManifestDocument::parse(&bytes, None) {
                Ok(ManifestDocument::Index(index)) => {
                    came_from.extend(
                        index.manifests.into_iter().map(|one| (one.digest, digest.clone())),
                    );
                }
                Ok(ManifestDocument::Manifest(_)) => manifests.push(digest),
                Err(_) => {}
            }
        }
        for digest in manifests {
            if images.of_manifest(&digest).is_none()
                && let Ok(mut image) = self.image_of_manifest(&digest)
                && self.missing_for(&image).is_none()
            {
                image.index = came_from.remove(&digest);
                images.add(image);
            }
        }
        Ok(images)
    }

    /// Builds the record of an image from its blobs.
    fn image_of_manifest(&self, digest: &Digest) -> Result<ImageRecord> {
        let bytes = self.read_blob(digest)?;
        let ManifestDocument::Manifest(manifest) = ManifestDocument::parse(&bytes, None)? else {
            fail!("{digest}: not a manifest");
        };
        let config_bytes = self.read_blob(&manifest.config.digest)?;
        let (config, diff_ids) = parse_config(&config_bytes, manifest.layers.len())?;
        let size = |diff_id: &Digest| {
            let folders = self.layer_folders(diff_id).unwrap_or_default();
            folders.iter().find_map(|folder| self.layer_facts(folder)).map_or(0, |facts| facts.size)
        };
        let packed = |layer: &Descriptor| match layer.is_size_known() {
            true => layer.size,
            false => self.blob_path(&layer.digest).metadata().map_or(0, |file| file.len()),
        };
        let layers = manifest.layers.iter().zip(&diff_ids).map(|(layer, diff_id)| ImageLayer {
            blob: layer.digest.clone(),
            packed: packed(layer),
            diff_id: diff_id.clone(),
            size: size(diff_id),
        });
        Ok(ImageRecord {
            manifest: digest.clone(),
            index: None,
            config: manifest.config.digest.clone(),
            layers: layers.collect(),
            platform: config.platform(),
            names: Vec::new(),
            digests: Vec::new(),
            created: config.created.as_ref().and_then(|text| text.parse().ok()),
            added: jiff::Timestamp::now(),
        })
    }
}

impl ImageList {
    /// The images that are still readable at the beginning of a damaged images.json.
    fn salvaged(bytes: &[u8]) -> Self {
        let mut images = Self::new();
        let text = String::from_utf8_lossy(bytes);
        let mut rest = text.split_once("\"images\"").and_then(|(_, rest)| rest.split_once('['));
        while let Some((_, text)) = rest {
            let mut stream = serde_json::Deserializer::from_str(text).into_iter::<ImageRecord>();
            let Some(Ok(image)) = stream.next() else { break };
            images.add(image);
            rest = text.get(stream.byte_offset()..).and_then(|rest| rest.split_once(','));
        }
        images
    }
}
