//! A push: of an image of the store, or of a new one, into a [`ImageTarget`]. Blobs go first, several at once. The
//! manifest follows, byte for byte as stored, so that its digest stays the same.
//!
//! Two exceptions. The manifest's format changes (docker's to OCI's for an OCI layout; either way for a registry that
//! refuses the stored one, or on request). Layers that are stored without compression (loaded from a docker-archive) go
//! to a registry compressed, as with docker and podman, and the manifest is adapted. The same layer gives the same blob
//! every time.
//!
//! With `parallel` above 1 the push starts threads. It needs no user namespace: the blobs are the user's own files.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::compose::{LayerWriter, NewLayer};
use super::compression::{Compression, sniff_section};
use super::file_range::FileRange;
use super::manifest::{Descriptor, Manifest, ManifestDocument, media};
use super::pull::{TransferOutcome, TransferProgress};
use super::pushed_image::PushedImage;
use super::source::ImageTarget;
use super::store::HeldBlob;
use crate::digest::{Digest, Hashed};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::hint;

/// Form in which layers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// As stored.
    AsStored,
    /// Compressed; layers that already are stay as stored.
    Packed,
    /// Compressed with gzip, whatever their stored compression.
    Gzip,
}

/// The format of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestFormat {
    /// As stored; the other format if the target refuses it.
    AsStored,
    /// OCI's format.
    Oci,
    /// Docker's format, schema 2.
    Docker,
}

/// A push: image, settings and callbacks.
pub struct ImagePush<'a> {
    /// Image to push.
    pub image: PushedImage<'a>,
    /// Form in which layers are sent.
    pub form: LayerForm,
    /// Format of the manifest at the target.
    pub format: ManifestFormat,
    /// Folder for temporary files of recompressed layers.
    pub tmp: &'a Path,
    /// Number of layers sent at once.
    pub parallel: usize,
    /// Receiver of progress reports.
    pub progress: &'a dyn TransferProgress,
}

/// Result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// Digest of the manifest as the target has it.
    pub digest: Digest,
    /// Media type of the manifest.
    pub media_type: String,
    /// Length of the manifest in bytes.
    pub size: u64,
}

/// The stored manifest, locked.
struct StoredManifest {
    bytes: Vec<u8>,
    manifest: Manifest,
    // While it is held, no command removes the image. A new image has no lock.
    _held: Option<HeldBlob>,
}

enum LayerContent {
    Stored,
    Recompressed(FileRange),
}

impl ImagePush<'_> {
    /// Pushes the image. The caller calls [`ImageTarget::finish`], perhaps after more images for the same archive.
    pub fn run(&self, target: &dyn ImageTarget) -> Result<PushedManifest> {
        let StoredManifest { bytes: stored, manifest, _held } = self.stored_manifest()?;
        let mut seen = HashSet::new();
        let layers: Vec<&Descriptor> =
            manifest.layers.iter().filter(|layer| seen.insert(&layer.digest)).collect();
        let shown = |layer: &&Descriptor| (layer.digest.short().into(), layer.size);
        self.progress.layers(&layers.iter().map(shown).collect::<Vec<_>>());
        let changed = self.send_layers(target, &layers)?;
        let open = || self.open(&manifest.config, &LayerContent::Stored);
        target.put_blob(&manifest.config, &open, &|_| ()).context(|| "the image's config")?;
        let bytes = match changed.is_empty() {
            true => stored.clone(),
            false => with_layers(&stored, &manifest.layers, &changed)?,
        };
        let document = match self.format {
            ManifestFormat::AsStored => {
                ConvertedManifest { media_type: manifest.media_type().to_owned(), bytes }
            }
            format => self.convert(&bytes, format)?,
        };
        let document = self.put(target, document)?;
        let digest = match document.bytes == stored {
            true => self.image.digest().clone(),
            false => Digest::of(&document.bytes),
        };
        let size = document.bytes.len() as u64;
        Ok(PushedManifest { digest, media_type: document.media_type, size })
    }

    /// Writes the manifest. If the target refuses its format and no format was requested, tries the other format.
    fn put(
        &self,
        target: &dyn ImageTarget,
        document: ConvertedManifest,
    ) -> Result<ConvertedManifest> {
        let refusal = match target.put_manifest(None, &document.media_type, &document.bytes) {
            Ok(()) => return Ok(document),
            Err(error)
                if error.kind() == ErrorKind::Format && self.format == ManifestFormat::AsStored =>
            {
                error
            }
            Err(error) => return Err(error),
        };
        let other = match &*document.media_type {
            media::DOCKER_MANIFEST => ManifestFormat::Oci,
            _ => ManifestFormat::Docker,
        };
        // The layers are sent already: a manifest that needs other layers is not tried.
        let Ok(other) = self.convert(&document.bytes, other) else { return Err(refusal) };
        log::info!("{refusal}: it gets the manifest as {}", other.media_type);
        match target.put_manifest(None, &other.media_type, &other.bytes) {
            Ok(()) => Ok(other),
            Err(error) if error.kind() == ErrorKind::Format => Err(refusal),
            Err(error) => Err(error),
        }
    }

    /// Converts the manifest to a format. Errors: a layer whose compression the format has no media type for.
    fn convert(&self, bytes: &[u8], format: ManifestFormat) -> Result<ConvertedManifest> {
        let compression = |layer: &Descriptor| match known_compression(&layer.media_type) {
            Some(compression) => Ok(compression),
            None => sniff_section(&FileRange::whole(self.open(layer, &LayerContent::Stored)?)?)
                .context(|| format!("layer {}", layer.digest)),
        };
        convert(bytes, format, &compression)
    }

    fn stored_manifest(&self) -> Result<StoredManifest> {
        let digest = self.image.digest();
        let held = self.image.hold()?;
        let bytes = self.image.manifest()?;
        match ManifestDocument::parse(&bytes, None)? {
            ManifestDocument::Manifest(mut manifest) => {
                let size = |blob: &Descriptor| {
                    Ok(self.open(blob, &LayerContent::Stored)?.metadata()?.len())
                };
                manifest.add_sizes(size)?;
                Ok(StoredManifest { bytes, manifest, _held: held })
            }
            ManifestDocument::Index(_) => {
                fail!("{digest} of the store is an index, not a manifest")
            }
        }
    }

    /// Returns the layer in the form to send. A layer whose media type says plain may still be compressed: it is then
    /// sent as stored.
    fn packed(&self, layer: &Descriptor) -> Result<(Descriptor, LayerContent)> {
        let packed_type = match layer.media_type.as_str() {
            kind if kind.starts_with(media::DOCKER_LAYER) => media::DOCKER_LAYER_GZIP,
            _ => media::OCI_LAYER_GZIP,
        };
        let stays = |compression| match compression {
            // No manifest format has a media type for these.
            Compression::Xz | Compression::Bzip2 => false,
            Compression::None => self.form == LayerForm::AsStored,
            Compression::Zstd => self.form != LayerForm::Gzip,
            Compression::Gzip => true,
        };
        if known_compression(&layer.media_type).is_some_and(stays) {
            return Ok((layer.clone(), LayerContent::Stored));
        }
        let stored = FileRange::whole(self.open(layer, &LayerContent::Stored)?)?;
        let compression = sniff_section(&stored)?;
        if stays(compression) {
            return Ok((layer.clone(), LayerContent::Stored));
        }
        let mut writer = LayerWriter::new(self.tmp)?;
        let mut stored = Hashed::new(stored, layer.digest.algorithm());
        std::io::copy(&mut compression.decode(&mut stored)?, &mut writer)
            .context(|| "cannot compress it")?;
        // A decoder may stop before the end of the blob.
        std::io::copy(&mut stored, &mut std::io::sink()).context(|| "cannot read it")?;
        let is_damaged = stored.finish().0 != layer.digest;
        let NewLayer { descriptor, content, .. } = writer.finish()?;
        if is_damaged {
            return Err(Error::new("the store's copy of it is damaged"))
                .hint(|| hint::REPAIR_AND_LOAD);
        }
        let descriptor = Descriptor {
            media_type: packed_type.to_owned(),
            digest: descriptor.digest,
            size: descriptor.size,
            ..layer.clone()
        };
        Ok((descriptor, LayerContent::Recompressed(content)))
    }

    fn open(&self, blob: &Descriptor, content: &LayerContent) -> Result<File> {
        match content {
            LayerContent::Recompressed(section) => Ok(section.file()?),
            LayerContent::Stored => self.image.open(&blob.digest),
        }
    }

    /// Sends the layers, several at once: while one is sent, the next is compressed. Returns the recompressed layers,
    /// by their stored digest.
    fn send_layers(
        &self,
        target: &dyn ImageTarget,
        layers: &[&Descriptor],
    ) -> Result<HashMap<Digest, Descriptor>> {
        let next = AtomicUsize::new(0);
        let sent: Mutex<Result<HashMap<Digest, Descriptor>>> = Mutex::new(Ok(HashMap::new()));
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = layers.get(at) else { return };
                let answer = self.send(target, at, layer);
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                match (answer, &mut *sent) {
                    (Ok(Some(made)), Ok(all)) => drop(all.insert(layer.digest.clone(), made)),
                    (Err(error), Ok(_)) => *sent = Err(error),
                    _ => {}
                }
                if sent.is_err() {
                    return next.store(layers.len(), Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.parallel.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        sent.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one layer. Returns its new descriptor if it was recompressed.
    fn send(
        &self,
        target: &dyn ImageTarget,
        at: usize,
        layer: &Descriptor,
    ) -> Result<Option<Descriptor>> {
        let (form, content) = self.packed(layer).context(|| format!("layer {}", layer.digest))?;
        let mut outcome = TransferOutcome::AlreadyPresent;
        if !target.has_blob(&form)? {
            // Progress is scaled to the layer's stored size.
            let on_progress =
                |bytes| self.progress.transferred(at, scaled(bytes, form.size, layer.size));
            target.put_blob(&form, &|| self.open(&form, &content), &on_progress)?;
            outcome = TransferOutcome::Transferred;
        }
        self.progress.done(at, outcome);
        Ok(matches!(content, LayerContent::Recompressed(_)).then_some(form))
    }
}

/// Scales `bytes` of `whole` to the range `shown`.
fn scaled(bytes: u64, whole: u64, shown: u64) -> u64 {
    match whole {
        0 => shown,
        _ if whole == shown => bytes,
        _ => (u128::from(bytes) * u128::from(shown) / u128::from(whole)) as u64,
    }
}

/// A manifest in the format to send.
#[derive(Debug)]
struct ConvertedManifest {
    media_type: String,
    bytes: Vec<u8>,
}

/// The compression that a layer's media type names. `None`: the type is not reliable.
fn known_compression(media_type: &str) -> Option<Compression> {
    match media_type {
        media::OCI_LAYER_GZIP | media::DOCKER_LAYER_GZIP => Some(Compression::Gzip),
        media::OCI_LAYER_ZSTD => Some(Compression::Zstd),
        _ => None,
    }
}

/// Converts the manifest `bytes` to a format: its media types, and for docker's without OCI's extra fields. A manifest
/// that is already in the format stays unchanged.
fn convert(
    bytes: &[u8],
    format: ManifestFormat,
    compression: &dyn Fn(&Descriptor) -> Result<Compression>,
) -> Result<ConvertedManifest> {
    let ManifestDocument::Manifest(manifest) = ManifestDocument::parse(bytes, None)? else {
        fail!("an index is not converted");
    };
    let (media_type, config_type) = match format {
        ManifestFormat::Docker => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
        ManifestFormat::Oci | ManifestFormat::AsStored => (media::OCI_MANIFEST, media::OCI_CONFIG),
    };
    let mut document: Value = serde_json::from_slice(bytes).map_err(Error::new)?;
    let original = document.clone();
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::new("the manifest is no JSON object"))?;
    if format == ManifestFormat::Docker {
        fields.retain(|name, _| matches!(&**name, "schemaVersion" | "config" | "layers"));
    }
    fields.insert("schemaVersion".to_owned(), json!(2));
    fields.insert("mediaType".to_owned(), json!(media_type));
    let set = |descriptor: Option<&mut Value>, kind: &str| {
        let descriptor = descriptor.and_then(Value::as_object_mut);
        let descriptor = descriptor.ok_or_else(|| Error::new("a descriptor is no JSON object"))?;
        descriptor.insert("mediaType".to_owned(), json!(kind));
        Ok::<_, Error>(())
    };
    set(fields.get_mut("config"), config_type)?;
    for (at, layer) in manifest.layers.iter().enumerate() {
        let compression = compression(layer)?;
        let kind = match format {
            ManifestFormat::Docker => compression.docker_layer(),
            ManifestFormat::Oci | ManifestFormat::AsStored => compression.oci_layer(),
        };
        let kind = kind.ok_or_else(|| {
            let what =
                format!("layer {}: {media_type} has no name for its compression", layer.digest);
            Error::invalid(what).hint(hint::COMPRESS_ANEW)
        })?;
        set(fields.get_mut("layers").and_then(|layers| layers.get_mut(at)), kind)?;
    }
    let bytes =
        if document == original { bytes.to_vec() } else { document.to_string().into_bytes() };
    Ok(ConvertedManifest { media_type: media_type.to_owned(), bytes })
}

/// Replaces the descriptors of the changed layers in the manifest. Unknown fields stay.
fn with_layers(
    manifest: &[u8],
    layers: &[Descriptor],
    changed: &HashMap<Digest, Descriptor>,
) -> Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(manifest).map_err(Error::new)?;
    for (at, layer) in layers.iter().enumerate() {
        let Some(layer) = changed.get(&layer.digest) else { continue };
        let fields = document.pointer_mut(&format!("/layers/{at}")).and_then(Value::as_object_mut);
        let fields = fields.ok_or_else(|| Error::new("the manifest has no such layer"))?;
        fields.insert("mediaType".to_owned(), json!(layer.media_type));
        fields.insert("digest".to_owned(), json!(layer.digest));
        fields.insert("size".to_owned(), json!(layer.size));
    }
    Ok(document.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_of_a_manifest_stays() {
        let layer = |digest: &str| json!({"mediaType": media::DOCKER_LAYER, "digest": digest, "size": 7, "x": "y"});
        let (a, b) = (Digest::of(b"a").to_string(), Digest::of(b"b").to_string());
        let before = json!({"schemaVersion": 2, "layers": [layer(&a), layer(&b)], "annotations": {"k": "v"}});
        let new = Descriptor {
            media_type: media::DOCKER_LAYER_GZIP.to_owned(),
            digest: Digest::of(b"c"),
            size: 9,
            platform: None,
            annotations: Default::default(),
            urls: Vec::new(),
        };
        let named = |bytes: &[u8]| Descriptor { digest: Digest::of(bytes), ..new.clone() };
        let layers = [named(b"a"), named(b"b")];
        let changed = HashMap::from([(Digest::of(b"b"), new.clone())]);
        let after = with_layers(before.to_string().as_bytes(), &layers, &changed).unwrap();
        let after: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!((&after["layers"][0], &after["annotations"]), (&layer(&a), &json!({"k": "v"})));
        let expected = json!({"mediaType": media::DOCKER_LAYER_GZIP, "digest": new.digest, "size": 9, "x": "y"});
        assert_eq!(after["layers"][1], expected);
        let layers = [&layers[..1], &layers].concat();
        assert!(with_layers(before.to_string().as_bytes(), &layers, &changed).is_err());
    }

    #[test]
    fn a_manifest_becomes_one_of_the_other_format_and_back() {
        let layer = |kind: &str| json!({"mediaType": kind, "digest": Digest::of(b"a"), "size": 7});
        let manifest = |kind: &str, config: &str, layers: &[&str]| {
            json!({
                "schemaVersion": 2, "mediaType": kind, "config": layer(config),
                "layers": layers.iter().map(|kind| layer(kind)).collect::<Vec<_>>(),
            })
        };
        let docker = manifest(
            media::DOCKER_MANIFEST,
            media::DOCKER_CONFIG,
            &[media::DOCKER_LAYER_GZIP, media::DOCKER_LAYER],
        );
        let oci = manifest(
            media::OCI_MANIFEST,
            media::OCI_CONFIG,
            &[media::OCI_LAYER_GZIP, media::OCI_LAYER],
        );
        let plain = |_: &Descriptor| Ok(Compression::None);
        let compression = |layer: &Descriptor| {
            known_compression(&layer.media_type).map_or_else(|| plain(layer), Ok)
        };
        let to = |document: &Value, format| {
            let text = serde_json::to_vec_pretty(document).unwrap();
            let converted = convert(&text, format, &compression).unwrap();
            let value: Value = serde_json::from_slice(&converted.bytes).unwrap();
            assert_eq!(converted.media_type, value["mediaType"]);
            // One that is in that format keeps its digest.
            assert_eq!(converted.bytes == text, value == *document);
            value
        };
        assert_eq!(to(&docker, ManifestFormat::Oci), oci);
        assert_eq!(to(&oci, ManifestFormat::Docker), docker);
        assert_eq!(to(&oci, ManifestFormat::Oci), oci);
        assert_eq!(to(&docker, ManifestFormat::Docker), docker);
        let mut remarked = oci.clone();
        remarked["annotations"] = json!({"a": "b"});
        assert_eq!(to(&remarked, ManifestFormat::Docker), docker);
        assert_eq!(to(&remarked, ManifestFormat::Oci), remarked);
        let zstd = manifest(media::OCI_MANIFEST, media::OCI_CONFIG, &[media::OCI_LAYER_ZSTD]);
        assert!(
            convert(zstd.to_string().as_bytes(), ManifestFormat::Docker, &compression).is_err()
        );
    }

    #[test]
    fn what_is_shown_ends_with_the_layer() {
        assert_eq!(scaled(9, 9, 100), 100);
        assert_eq!((scaled(3, 9, 9), scaled(0, 9, 100), scaled(0, 0, 7)), (3, 0, 7));
        assert_eq!(scaled(u64::MAX, u64::MAX, u64::MAX - 1), u64::MAX - 1);
    }
}
