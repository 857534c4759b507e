//! A push: from the store into a [`Target`]. Blobs go first, several at once, then the manifest, byte for byte as it came,
//! so that its digest stays what it was.
//!
//! One exception: layers that lie here without compression (they were loaded from a docker-archive) go to a registry
//! compressed, as docker and podman do, and the manifest says so. The same layer gives the same blob every time.
//!
//! With `parallel` above 1 it starts threads. It needs no user namespace: blobs are files of the user's own.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::archive::compression::{Compression, sniff_section};
use super::made::{Layer, LayerWriter};
use super::manifest::{Descriptor, Document, Manifest, media};
use super::pull::Progress;
use super::section::Section;
use super::source::Target;
use super::store::{HeldBlob, Image, Store};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;

/// In which form layers go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they lie in the store.
    AsStored,
    /// Compressed, those that are not.
    Packed,
}

/// What is pushed, and how.
pub struct Push<'a> {
    /// Where it is.
    pub store: &'a Store,
    /// What it is.
    pub image: &'a Image,
    /// Whether layers may be changed on the way.
    pub form: Form,
    /// Where those that are changed are made.
    pub tmp: &'a Path,
    /// How many layers at once.
    pub parallel: usize,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest as it is there.
    pub digest: Digest,
    /// How long that manifest is, in bytes.
    pub size: u64,
}

/// The image as it goes out.
struct Parcel {
    manifest: Vec<u8>,
    media_type: String,
    layers: Vec<(Descriptor, Content)>,
    config: Descriptor,
    // While it is held nobody removes the image.
    _held: HeldBlob,
}

enum Content {
    Stored,
    Made(Section),
}

impl Push<'_> {
    /// Pushes it. [`Target::finish`] is left to the caller, who may have more for an archive.
    pub fn run(&self, target: &dyn Target) -> Result<Pushed> {
        let parcel = self.wrap()?;
        let shown = |(layer, _): &(Descriptor, Content)| (layer.digest.short().into(), layer.size);
        self.progress.layers(&parcel.layers.iter().map(shown).collect::<Vec<_>>());
        self.send_layers(target, &parcel.layers)?;
        let open = || self.open(&parcel.config, &Content::Stored);
        target.put_blob(&parcel.config, &open, &|_| ()).context(|| "the image's config")?;
        target.put_manifest(None, &parcel.media_type, &parcel.manifest)?;
        let digest = match parcel.layers.iter().any(|(_, content)| content.is_made()) {
            true => Digest::of(&parcel.manifest),
            false => self.image.manifest.clone(),
        };
        Ok(Pushed { digest, size: parcel.manifest.len() as u64 })
    }

    fn wrap(&self) -> Result<Parcel> {
        let digest = &self.image.manifest;
        let Some(held) = self.store.blob(digest)? else {
            return Err(Error::new(format!("its manifest {digest} is missing"))).hint(
                || "the image was removed meanwhile, or 'usnea check --repair' mends the store",
            );
        };
        let bytes = self.store.read_blob(digest)?;
        let Document::Manifest(manifest) = Document::parse(&bytes, None)? else {
            fail!("{digest} of the store is an index, not a manifest");
        };
        let media_type = media_type(&manifest).to_owned();
        let config = manifest.config.clone();
        let mut parcel =
            Parcel { manifest: bytes, media_type, layers: Vec::new(), config, _held: held };
        let mut changed = Vec::new();
        for (at, layer) in manifest.layers.iter().enumerate() {
            let (layer, content) = match self.form {
                Form::Packed => self.packed(layer).context(|| format!("layer {}", layer.digest))?,
                Form::AsStored => (layer.clone(), Content::Stored),
            };
            if content.is_made() {
                changed.push((at, layer.clone()));
            }
            parcel.layers.push((layer, content));
        }
        if !changed.is_empty() {
            parcel.manifest = with_layers(&parcel.manifest, &changed)?;
        }
        let mut seen = HashSet::new();
        parcel.layers.retain(|(layer, _)| seen.insert(layer.digest.clone()));
        Ok(parcel)
    }

    /// The layer as it goes to a registry. What a media type calls plain may be compressed all the same: then it stays.
    fn packed(&self, layer: &Descriptor) -> Result<(Descriptor, Content)> {
        let packed_type = match layer.media_type.as_str() {
            media::OCI_LAYER => media::OCI_LAYER_GZIP,
            media::DOCKER_LAYER => media::DOCKER_LAYER_GZIP,
            _ => return Ok((layer.clone(), Content::Stored)),
        };
        let mut plain = Section::whole(self.open(layer, &Content::Stored)?)?;
        if sniff_section(&plain)? != Compression::None {
            return Ok((layer.clone(), Content::Stored));
        }
        let mut writer = LayerWriter::new(self.tmp)?;
        std::io::copy(&mut plain, &mut writer).context(|| "cannot compress it")?;
        let Layer { descriptor, diff_id, content } = writer.finish()?;
        if diff_id != layer.digest {
            return Err(Error::new("the store's copy of it is damaged"))
                .hint(|| "'usnea check --repair' removes it; then load the image again");
        }
        let descriptor = Descriptor {
            media_type: packed_type.to_owned(),
            digest: descriptor.digest,
            size: descriptor.size,
            ..layer.clone()
        };
        Ok((descriptor, Content::Made(content)))
    }

    fn open(&self, blob: &Descriptor, content: &Content) -> Result<File> {
        match content {
            Content::Made(section) => Ok(section.file()?),
            Content::Stored => {
                let path = self.store.blob_path(&blob.digest);
                File::open(&path).context(|| format!("cannot open {}", path.display())).hint(
                    || "'usnea check --repair' says what is missing; then pull the image again",
                )
            }
        }
    }

    fn send_layers(&self, target: &dyn Target, layers: &[(Descriptor, Content)]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let work = || {
            while !has_failed.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((layer, content)) = layers.get(at) else { return };
                if let Err(error) = self.send(target, at, layer, content) {
                    has_failed.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.parallel.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn send(
        &self,
        target: &dyn Target,
        at: usize,
        layer: &Descriptor,
        content: &Content,
    ) -> Result<()> {
        let was_there = target.has_blob(layer)?;
        if !was_there {
            let told = |bytes| self.progress.came(at, bytes);
            target.put_blob(layer, &|| self.open(layer, content), &told)?;
        }
        self.progress.done(at, was_there);
        Ok(())
    }
}

impl Content {
    fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }
}

/// What the manifest is; one that does not say so itself is told by its config.
fn media_type(manifest: &Manifest) -> &str {
    match (&manifest.media_type, manifest.config.media_type.as_str()) {
        (Some(media_type), _) => media_type,
        (None, media::DOCKER_CONFIG) => media::DOCKER_MANIFEST,
        (None, _) => media::OCI_MANIFEST,
    }
}

/// The manifest with other layers at some places. Fields that are not known are kept.
fn with_layers(manifest: &[u8], changed: &[(usize, Descriptor)]) -> Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(manifest).map_err(Error::new)?;
    for (at, layer) in changed {
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
        let changed = [(1, new.clone())];
        let after = with_layers(before.to_string().as_bytes(), &changed).unwrap();
        let after: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!((&after["layers"][0], &after["annotations"]), (&layer(&a), &json!({"k": "v"})));
        let expected = json!({"mediaType": media::DOCKER_LAYER_GZIP, "digest": new.digest, "size": 9, "x": "y"});
        assert_eq!(after["layers"][1], expected);
        assert!(with_layers(before.to_string().as_bytes(), &[(2, new)]).is_err());
    }
}
