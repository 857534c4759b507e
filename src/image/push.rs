//! A push: from the store into a [`Target`]. Blobs go first, several at once, then the manifest, byte for byte as it came,
//! so that its digest stays what it was.
//!
//! One exception: layers that lie here without compression (they were loaded from a docker-archive) go to a registry
//! compressed, as docker and podman do, and the manifest says so. The same layer gives the same blob every time.
//!
//! With `parallel` above 1 it starts threads. It needs no user namespace: blobs are files of the user's own.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::compression::{Compression, sniff_section};
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

/// The image as it is here.
struct Parcel {
    bytes: Vec<u8>,
    manifest: Manifest,
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
        let Parcel { mut bytes, manifest, _held } = self.parcel()?;
        let mut seen = HashSet::new();
        let layers: Vec<&Descriptor> =
            manifest.layers.iter().filter(|layer| seen.insert(&layer.digest)).collect();
        let shown = |layer: &&Descriptor| (layer.digest.short().into(), layer.size);
        self.progress.layers(&layers.iter().map(shown).collect::<Vec<_>>());
        let changed = self.send_layers(target, &layers)?;
        let open = || self.open(&manifest.config, &Content::Stored);
        target.put_blob(&manifest.config, &open, &|_| ()).context(|| "the image's config")?;
        if !changed.is_empty() {
            bytes = with_layers(&bytes, &manifest.layers, &changed)?;
        }
        target.put_manifest(None, media_type(&manifest), &bytes)?;
        let digest = match changed.is_empty() {
            true => self.image.manifest.clone(),
            false => Digest::of(&bytes),
        };
        Ok(Pushed { digest, size: bytes.len() as u64 })
    }

    fn parcel(&self) -> Result<Parcel> {
        let digest = &self.image.manifest;
        let Some(held) = self.store.blob(digest)? else {
            return Err(Error::new(format!("its manifest {digest} is missing"))).hint(
                || "the image was removed meanwhile, or 'usnea check --repair' mends the store",
            );
        };
        let bytes = self.store.read_blob(digest)?;
        match Document::parse(&bytes, None)? {
            Document::Manifest(manifest) => Ok(Parcel { bytes, manifest, _held: held }),
            Document::Index(_) => fail!("{digest} of the store is an index, not a manifest"),
        }
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

    /// Sends the layers, several at once: while one goes out, the next is compressed. Those that went out in another form,
    /// by the digest that they have here.
    fn send_layers(
        &self,
        target: &dyn Target,
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

    /// Sends one layer; what it is there, where that is not what it is here.
    fn send(
        &self,
        target: &dyn Target,
        at: usize,
        layer: &Descriptor,
    ) -> Result<Option<Descriptor>> {
        let (form, content) = match self.form {
            Form::Packed => self.packed(layer).context(|| format!("layer {}", layer.digest))?,
            Form::AsStored => (layer.clone(), Content::Stored),
        };
        let was_there = target.has_blob(&form)?;
        if !was_there {
            // What is shown is as long as the layer is here.
            let told = |bytes| self.progress.came(at, scaled(bytes, form.size, layer.size));
            target.put_blob(&form, &|| self.open(&form, &content), &told)?;
        }
        self.progress.done(at, was_there);
        Ok(matches!(content, Content::Made(_)).then_some(form))
    }
}

/// `bytes` of `whole`, as a part of `shown`.
fn scaled(bytes: u64, whole: u64, shown: u64) -> u64 {
    match whole {
        0 => shown,
        _ if whole == shown => bytes,
        _ => (u128::from(bytes) * u128::from(shown) / u128::from(whole)) as u64,
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

/// The manifest with other descriptors for some of its layers. Fields that are not known are kept.
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
    fn what_is_shown_ends_with_the_layer() {
        assert_eq!(scaled(9, 9, 100), 100);
        assert_eq!((scaled(3, 9, 9), scaled(0, 9, 100), scaled(0, 0, 7)), (3, 0, 7));
        assert_eq!(scaled(u64::MAX, u64::MAX, u64::MAX - 1), u64::MAX - 1);
    }
}
