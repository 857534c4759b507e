//! Images of a docker-archive: manifest.json names the members that are each image's config and layers. Reads the
//! archives of docker and of every other known writer: layers compressed or not, reached over links, in folders or as
//! blobs.
//!
//! Such an archive has no manifests, so one is generated in docker's form. The digest of an uncompressed layer is its
//! diff ID from the config, which the reader of the layer verifies. A compressed layer is hashed here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;

use super::members::ArchiveMembers;
use crate::digest::{Algorithm, Digest, Hashed};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::go_json;
use crate::hint;
use crate::image::Reference;
use crate::image::compression::{Compression, sniff_section};
use crate::image::file_range::FileRange;
use crate::image::layout::LayoutFiles;
use crate::image::manifest::{Descriptor, LARGEST, MOST_LAYERS, media, parse_config};
use crate::image::source::{BlobReader, FetchedManifest, ImageSource};
use crate::image::transport::ArchiveSelector;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManifestJsonEntry {
    #[serde(deserialize_with = "go_json::or_zero")]
    config: String,
    #[serde(deserialize_with = "go_json::list")]
    repo_tags: Vec<String>,
    #[serde(deserialize_with = "go_json::list")]
    layers: Vec<String>,
}

/// A docker-archive open for reading.
pub struct DockerArchive {
    members: Arc<ArchiveMembers>,
    name: String,
    entries: Vec<ManifestJsonEntry>,
    // Compressed layers already hashed: images share them.
    hashed: Mutex<HashMap<String, Descriptor>>,
}

impl DockerArchive {
    /// Opens the archive with these members, called `name` in messages. Errors: manifest.json is missing or damaged.
    pub fn new(members: Arc<ArchiveMembers>, name: String) -> Result<Self> {
        let read = || -> Result<Vec<ManifestJsonEntry>> {
            let file = members.open("manifest.json")?.ok_or_else(|| {
                Error::new("no manifest.json in it").hint(hint::ARCHIVE_WITH_MANIFEST)
            })?;
            let bytes = file.read_small(LARGEST).context(|| "manifest.json")?;
            let entries: Option<Vec<ManifestJsonEntry>> =
                go_json::read(&bytes).context(|| "manifest.json")?;
            Ok(entries.unwrap_or_default())
        };
        let entries = read().context(|| name.clone())?;
        Ok(Self { members, name, entries, hashed: Mutex::default() })
    }

    /// Number of images in the archive.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The names of the image at `number`, as manifest.json spells them.
    pub fn names(&self, number: usize) -> Vec<String> {
        self.entries.get(number).map(|entry| entry.repo_tags.clone()).unwrap_or_default()
    }

    /// Position of the image that `which` selects. Without `which`, the only image. Errors list the available names.
    pub fn find(&self, which: Option<&ArchiveSelector>) -> Result<usize> {
        let listed = || {
            let names: Vec<String> =
                (0..self.count().min(10)).flat_map(|at| self.names(at)).collect();
            let names = names.join(", ").chars().take(400).collect::<String>();
            format!(
                "there is {}",
                if names.is_empty() {
                    "@0, and so on".to_owned()
                } else {
                    names.escape_debug().to_string()
                }
            )
        };
        let found = match which {
            None if self.count() == 1 => Some(0),
            None => {
                let error =
                    Error::conflict(format!("{}: it has {} images", self.name, self.count()));
                return Err(error.hint(format!("say which: {}", listed())));
            }
            Some(ArchiveSelector::At(number)) => {
                Some(*number).filter(|number| *number < self.count())
            }
            Some(ArchiveSelector::Named(typed)) => {
                let wanted = typed.in_registry(crate::image::reference::DOCKER_HUB);
                let is_it =
                    |name: &String| name.parse::<Reference>().is_ok_and(|name| name == wanted);
                (0..self.count()).find(|at| self.names(*at).iter().any(is_it))
            }
        };
        found.ok_or_else(|| {
            let which = which.map(ToString::to_string).unwrap_or_default();
            Error::not_found(format!("{}: no image in it is called {which}", self.name))
                .hint(listed())
        })
    }

    /// Composes the image at `number`. Errors: missing members, a config that does not match.
    pub fn image(&self, number: usize) -> Result<DockerImage> {
        let name = match self.names(number).first() {
            Some(name) => format!("{}:{}", self.name, name.escape_debug()),
            None => format!("{}:@{number}", self.name),
        };
        let entry = self.entries.get(number);
        let entry =
            entry.ok_or_else(|| Error::not_found(format!("{name}: there is no such image")))?;
        self.compose(entry, name.clone()).context(|| name)
    }

    fn compose(&self, entry: &ManifestJsonEntry, name: String) -> Result<DockerImage> {
        let paths = &entry.layers;
        if paths.len() > MOST_LAYERS {
            fail!("it has {} layers, more than {MOST_LAYERS}", paths.len());
        }
        let config = self.member(&entry.config)?;
        let bytes = config.clone().read_small(LARGEST).context(|| "the config")?;
        let (_, diff_ids) = parse_config(&bytes, paths.len())?;
        let config_is = Descriptor::new(media::DOCKER_CONFIG, Digest::of(&bytes), config.size());
        let mut blobs = HashMap::from([(config_is.digest.clone(), config)]);
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(&diff_ids) {
            let section = self.member(path)?;
            let layer = self.layer(path, &section, diff_id).context(|| shown(path))?;
            blobs.insert(layer.digest.clone(), section);
            layers.push(layer);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::DOCKER_MANIFEST,
            "config": config_is,
            "layers": layers,
        });
        Ok(DockerImage { name, manifest: manifest.to_string().into_bytes(), blobs })
    }

    fn layer(&self, path: &str, section: &FileRange, diff_id: &Digest) -> Result<Descriptor> {
        let media_type = match sniff_section(section)? {
            Compression::None => {
                return Ok(Descriptor::new(media::DOCKER_LAYER, diff_id.clone(), section.size()));
            }
            Compression::Gzip => media::DOCKER_LAYER_GZIP,
            // Docker has no media type for zstd.
            Compression::Zstd => media::OCI_LAYER_ZSTD,
            // OCI has none for these either: the reader detects the compression from the first bytes.
            Compression::Xz | Compression::Bzip2 => media::DOCKER_LAYER,
        };
        let mut known = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = known.get(path) {
            return Ok(layer.clone());
        }
        let mut hashed = Hashed::new(section.clone(), Algorithm::Sha256);
        std::io::copy(&mut hashed, &mut std::io::sink()).context(|| "cannot read it")?;
        let layer = Descriptor::new(media_type, hashed.finish().0, section.size());
        known.insert(path.to_owned(), layer.clone());
        Ok(layer)
    }

    fn member(&self, path: &str) -> Result<FileRange> {
        let found = self.members.open(path)?;
        found.ok_or_else(|| Error::new(format!("there is no {} in it", shown(path))))
    }
}

fn shown(path: &str) -> String {
    path.chars().take(200).collect::<String>().escape_debug().to_string()
}

/// An image of a docker-archive.
pub struct DockerImage {
    name: String,
    manifest: Vec<u8>,
    blobs: HashMap<Digest, FileRange>,
}

impl ImageSource for DockerImage {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        if digest.is_some_and(|digest| *digest != Digest::of(&self.manifest)) {
            fail!("{}: there is one image in it, no index", self.name);
        }
        let media_type = Some(media::DOCKER_MANIFEST.to_owned());
        Ok(FetchedManifest { bytes: self.manifest.clone(), media_type })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        match self.blobs.get(&descriptor.digest) {
            Some(section) => Ok(Box::new(section.clone().skip(from))),
            None => fail!("{}: there is no blob {}", self.name, descriptor.digest),
        }
    }

    fn has_published_manifest(&self) -> bool {
        false
    }
}
