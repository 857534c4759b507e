//! Writes images into a docker-archive that `docker load`, `podman load` and `skopeo` can read. Layers are uncompressed
//! members `<diff ID>.tar`, the config's bytes are `<digest>.json`. manifest.json and repositories come at the end.
//!
//! A tar needs a member's length before its content: a layer is decompressed into a temporary file first, while other
//! threads may write. Layers that images share are written once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::output::{ArchiveSink, TargetTar};
use super::plain::spool;
use crate::digest::{Algorithm, Digest, Hashed};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::Reference;
use crate::image::compression::{Compression, sniff};
use crate::image::manifest::{
    Descriptor, LARGEST, Manifest, ManifestDocument, media, parse_config,
};
use crate::image::source::{ImageTarget, ProgressReader};

/// An image of a docker-archive to be written.
pub struct DockerArchiveTarget {
    archive: Arc<Mutex<DockerArchiveWriter>>,
    name: String,
    tmp: PathBuf,
    names: Vec<Reference>,
}

struct DockerArchiveWriter {
    tar: TargetTar,
    // Digests of the layers' blobs -> their diff IDs.
    layers: HashMap<Digest, Digest>,
    // Diff IDs and configs already written.
    written: HashSet<Digest>,
    small: HashMap<Digest, Vec<u8>>,
    images: Vec<DockerArchiveImage>,
}

struct DockerArchiveImage {
    config: Digest,
    names: Vec<Reference>,
    layers: Vec<Digest>,
}

impl DockerArchiveTarget {
    /// Starts an archive in `sink` with the image called `names` (only those with a tag count).
    /// An existing file is replaced when the archive is whole. Layers are decompressed in `tmp`.
    pub fn create(sink: &ArchiveSink, tmp: &Path, names: Vec<Reference>) -> Result<Self> {
        let archive = DockerArchiveWriter {
            tar: TargetTar::create(sink)?,
            layers: HashMap::new(),
            written: HashSet::new(),
            small: HashMap::new(),
            images: Vec::new(),
        };
        let name = format!("docker-archive:{}", sink.path().display());
        Ok(Self { archive: Arc::new(Mutex::new(archive)), name, tmp: tmp.to_owned(), names })
    }

    /// Another image of the same archive. [`ImageTarget::finish`] of any of them ends the archive.
    pub fn another(&self, names: Vec<Reference>) -> Self {
        Self {
            archive: self.archive.clone(),
            name: self.name.clone(),
            tmp: self.tmp.clone(),
            names,
        }
    }

    fn archive(&self) -> MutexGuard<'_, DockerArchiveWriter> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_layer(&self, blob: &Descriptor, content: ProgressReader<'_>) -> Result<()> {
        let (compression, content) = sniff(content)?;
        if compression == Compression::None && blob.digest.algorithm() == Algorithm::Sha256 {
            let mut plain = Hashed::new(content, Algorithm::Sha256);
            self.archive().put_layer(&blob.digest, &blob.digest, blob.size, &mut plain)?;
            let is_read = plain.count() == blob.size;
            return match plain.finish() {
                (has, _) if is_read && has != blob.digest => {
                    let error = format!("it is damaged: its content has the digest {has}");
                    Err(Error::new(error).hint(hint::REPAIR_OR_PULL))
                }
                _ => Ok(()),
            };
        }
        let mut plain = Hashed::new(compression.decode(content)?, Algorithm::Sha256);
        let mut file = spool(&mut plain, &self.tmp)?;
        let (diff_id, size) = plain.finish();
        self.archive().put_layer(&blob.digest, &diff_id, size, &mut file)
    }
}

impl DockerArchiveWriter {
    fn put_layer(
        &mut self,
        blob: &Digest,
        diff_id: &Digest,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<()> {
        if self.written.insert(diff_id.clone()) {
            self.tar.file(&layer_path(diff_id), size, content)?;
        }
        self.layers.insert(blob.clone(), diff_id.clone());
        Ok(())
    }

    fn add_image(&mut self, manifest: &Manifest, names: &[Reference]) -> Result<()> {
        let digest = &manifest.config.digest;
        let config = self.small.get(digest);
        let config =
            config.ok_or_else(|| Error::new(format!("its config {digest} did not come")))?;
        let (_, diff_ids) = parse_config(config, manifest.layers.len())?;
        for (layer, diff_id) in manifest.layers.iter().zip(&diff_ids) {
            match self.layers.get(&layer.digest) {
                Some(has) if has == diff_id => {}
                Some(has) => fail!("layer {}: its diff ID is {has}, not {diff_id}", layer.digest),
                None => fail!("its layer {} did not come", layer.digest),
            }
        }
        if self.written.insert(digest.clone()) {
            self.tar.file(&config_path(digest), config.len() as u64, &mut &config[..])?;
        }
        let image = match self.images.iter_mut().find(|image| image.config == *digest) {
            Some(image) => image,
            None => {
                let image = DockerArchiveImage {
                    config: digest.clone(),
                    names: Vec::new(),
                    layers: diff_ids,
                };
                self.images.push(image);
                self.images.last_mut().ok_or_else(|| Error::new("no image"))?
            }
        };
        for name in names.iter().filter(|name| name.tag.is_some()) {
            if !image.names.contains(name) {
                image.names.push(name.clone());
            }
        }
        Ok(())
    }

    fn manifest_json(&self) -> String {
        let image = |image: &DockerArchiveImage| {
            let names: Vec<String> = image.names.iter().map(tagged).collect();
            let layers: Vec<String> = image.layers.iter().map(layer_path).collect();
            json!({"Config": config_path(&image.config), "RepoTags": names, "Layers": layers})
        };
        json!(self.images.iter().map(image).collect::<Vec<_>>()).to_string()
    }

    // Name -> tag -> top layer: read by docker before 1.10, and still written by docker.
    fn repositories(&self) -> String {
        let mut repositories: BTreeMap<String, BTreeMap<String, &str>> = BTreeMap::new();
        for image in &self.images {
            for name in &image.names {
                let tagged = tagged(name);
                if let (Some((name, tag)), Some(top)) =
                    (tagged.rsplit_once(':'), image.layers.last())
                {
                    repositories
                        .entry(name.to_owned())
                        .or_default()
                        .insert(tag.to_owned(), top.hex());
                }
            }
        }
        json!(repositories).to_string()
    }
}

fn layer_path(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

fn config_path(config: &Digest) -> String {
    format!("{}.json", config.hex())
}

/// Returns a name with only its tag, as docker shows it.
fn tagged(name: &Reference) -> String {
    Reference { digest: None, ..name.clone() }.familiar()
}

fn is_layer(media_type: &str) -> bool {
    // All kinds of layers, also those once "not for distribution".
    media_type.contains(".layer.") && media_type.contains(".tar")
        || media_type.starts_with(media::DOCKER_LAYER)
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
}

impl ImageTarget for DockerArchiveTarget {
    fn describe(&self) -> String {
        match self.names.first() {
            Some(name) => format!("{}:{name}", self.name),
            None => self.name.clone(),
        }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let archive = self.archive();
        Ok(archive.layers.contains_key(&descriptor.digest)
            || archive.small.contains_key(&descriptor.digest))
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let of = || format!("{}: blob {}", self.name, descriptor.digest);
        if self.has_blob(descriptor)? {
            progress(descriptor.size);
            return Ok(());
        }
        if is_layer(&descriptor.media_type) {
            // The diff ID in the config shows whether this is the layer.
            let content = ProgressReader::new(open()?, descriptor.size, progress);
            return self.put_layer(descriptor, content).context(of);
        }
        if descriptor.size > LARGEST {
            let kind = descriptor.media_type.escape_debug();
            fail!("{}: neither a layer nor a config: {kind}", of());
        }
        let mut bytes = Vec::new();
        let mut content = ProgressReader::verified(open()?, descriptor, progress);
        content.read_to_end(&mut bytes).context(of)?;
        self.archive().small.insert(descriptor.digest.clone(), bytes);
        Ok(())
    }

    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()> {
        let document =
            ManifestDocument::parse(bytes, Some(media_type)).context(|| self.describe())?;
        match (digest, document) {
            (None, ManifestDocument::Manifest(manifest)) => {
                self.archive().add_image(&manifest, &self.names).context(|| self.describe())
            }
            _ => Err(Error::invalid(format!("{}: it cannot hold an index", self.describe()))
                .hint(hint::ONE_PLATFORM)),
        }
    }

    fn finish(&self) -> Result<()> {
        let mut archive = self.archive();
        for (name, text) in
            [("manifest.json", archive.manifest_json()), ("repositories", archive.repositories())]
        {
            archive.tar.file(name, text.len() as u64, &mut text.as_bytes())?;
        }
        archive.tar.finish()
    }
}
