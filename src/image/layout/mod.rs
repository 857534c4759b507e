//! OCI image layouts (image spec, image-layout.md): reading them, in a folder or in an archive.
//!
//! A layout is untrusted. Its files are opened by digest, small ones with a limit, and content is used only if it has
//! that digest. `folder` opens and writes the files of a folder; `write` is the target.

mod folder;
mod write;

use std::path::Path;
use std::sync::Arc;

use super::file_range::FileRange;
use super::manifest::{Descriptor, Index, LARGEST, ManifestDocument, media};
use super::source::{BlobReader, FetchedManifest, ImageSource};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::go_json;

pub use write::{LayoutTarget, MARKER, entry, index, with_entry};

/// The annotation that names an image of a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd, buildkit and docker store the whole name; [`REF_NAME`] is then only the tag.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// Access to the files of a layout.
pub trait LayoutFiles: Send + Sync {
    /// Opens the regular file at `path` in the layout. `None`: no such file.
    fn open(&self, path: &str) -> Result<Option<FileRange>>;
}

/// A layout open for reading.
#[derive(Clone)]
pub struct OciLayout {
    files: Arc<dyn LayoutFiles>,
    name: String,
    index: Index,
    bytes: Vec<u8>,
}

impl OciLayout {
    /// Opens the layout in the folder `dir`. Errors: not a layout.
    pub fn open(dir: &Path) -> Result<Self> {
        let name = format!("oci:{}", dir.display());
        let folder = folder::LayoutFolder::open(dir).context(|| name.clone())?;
        Self::of(Arc::new(folder), name)
    }

    /// Opens the layout in `files`, called `name` in messages.
    pub fn of(files: Arc<dyn LayoutFiles>, name: String) -> Result<Self> {
        let (bytes, index) = read_index(&*files).context(|| name.clone())?;
        Ok(Self { files, name, index, bytes })
    }

    /// All images: each with its names (whole ones where the layout has them) and its source.
    pub fn images(&self) -> Vec<(Vec<String>, LayoutImage)> {
        if self.is_one_for_many_platforms() {
            return vec![(Vec::new(), self.image_of(None))];
        }
        let mut images: Vec<(Vec<String>, LayoutImage)> = Vec::new();
        for entry in &self.index.manifests {
            let name = whole_name(entry).map(str::to_owned);
            let known = images.iter_mut().find(|(_, image)| {
                image.entry.as_ref().is_some_and(|known| known.digest == entry.digest)
            });
            match known {
                Some((names, _)) => names.extend(name),
                None => images.push((name.into_iter().collect(), self.image_of(Some(entry)))),
            }
        }
        images
    }

    /// The image called `name` (by either annotation, or by its digest). Without a name, the only image. Errors list
    /// the available names.
    pub fn image(&self, name: Option<&str>) -> Result<LayoutImage> {
        let entries = &self.index.manifests;
        let Some(name) = name else {
            return match &entries[..] {
                [only] => Ok(self.image_of(Some(only))),
                [] => Err(Error::not_found(format!("{}: there is no image in it", self.name))),
                _ if self.is_one_for_many_platforms() => Ok(self.image_of(None)),
                _ => {
                    Err(Error::conflict(format!("{}: it has {} images", self.name, entries.len()))
                        .hint(format!("say which: {}", self.listed())))
                }
            };
        };
        let called = |entry: &&Descriptor| {
            [REF_NAME, IMAGE_NAME]
                .iter()
                .any(|key| entry.annotations.get(*key).is_some_and(|has| has == name))
        };
        let has_digest = |entry: &&Descriptor| entry.digest.to_string() == name;
        let entry = entries.iter().find(called).or_else(|| entries.iter().find(has_digest));
        entry.map(|entry| self.image_of(Some(entry))).ok_or_else(|| {
            let error = format!("{}: no image in it is called {}", self.name, name.escape_debug());
            Error::not_found(error).hint(format!("there is {}", self.listed()))
        })
    }

    /// True if the layout has several entries, none with a name, all with a platform: older tools put an index right
    /// into index.json.
    fn is_one_for_many_platforms(&self) -> bool {
        let of_one = |entry: &Descriptor| {
            entry.platform.is_some()
                && !entry.annotations.contains_key(REF_NAME)
                && !entry.annotations.contains_key(IMAGE_NAME)
        };
        self.index.manifests.len() > 1 && self.index.manifests.iter().all(of_one)
    }

    fn image_of(&self, entry: Option<&Descriptor>) -> LayoutImage {
        LayoutImage { layout: self.clone(), entry: entry.cloned() }
    }

    fn listed(&self) -> String {
        const MOST: usize = 10;
        let entries = &self.index.manifests;
        let name = |entry: &Descriptor| match entry.annotations.get(REF_NAME) {
            Some(name) => name.chars().take(200).collect::<String>().escape_debug().to_string(),
            None => entry.digest.to_string(),
        };
        let mut names: Vec<String> = entries.iter().take(MOST).map(name).collect();
        if entries.len() > MOST {
            names.push(format!("and {} more", entries.len() - MOST));
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn whole_name(entry: &Descriptor) -> Option<&str> {
    let name = [IMAGE_NAME, REF_NAME].iter().find_map(|key| entry.annotations.get(*key));
    name.map(String::as_str).filter(|name| !name.is_empty())
}

fn read_index(files: &dyn LayoutFiles) -> Result<(Vec<u8>, Index)> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct LayoutMarker {
        #[serde(deserialize_with = "go_json::text")]
        image_layout_version: Option<String>,
    }
    let marker = read_file(files, "oci-layout", 4096)?;
    let marker: LayoutMarker = go_json::read(&marker).context(|| "oci-layout")?;
    let version = marker.image_layout_version.unwrap_or_else(|| "1.0.0".to_owned());
    if !version.starts_with("1.") {
        let version: String = version.chars().take(20).collect();
        fail!("oci-layout: version '{}' is not known, only 1.x", version.escape_debug());
    }
    let bytes = read_file(files, "index.json", LARGEST)?;
    match ManifestDocument::parse(&bytes, None).context(|| "index.json")? {
        ManifestDocument::Index(index) => Ok((bytes, index)),
        ManifestDocument::Manifest(_) => fail!("index.json: a manifest, not an index"),
    }
}

fn read_file(files: &dyn LayoutFiles, path: &str, limit: u64) -> Result<Vec<u8>> {
    let file = files.open(path).context(|| path)?.ok_or_else(|| {
        Error::new(format!("no {path} in it"))
            .hint("an OCI image layout has oci-layout and index.json")
    })?;
    file.read_small(limit).context(|| path)
}

/// Path of a blob in a layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// An image of a layout, or the index of a multi-platform image.
pub struct LayoutImage {
    layout: OciLayout,
    // None: index.json itself.
    entry: Option<Descriptor>,
}

impl LayoutImage {
    fn range(&self, digest: &Digest) -> Result<FileRange> {
        let found = self.layout.files.open(&blob_path(digest));
        let found = found.context(|| format!("{}: blob {digest}", self.layout.name))?;
        found.ok_or_else(|| Error::new(format!("{}: there is no blob {digest}", self.layout.name)))
    }

    fn entry_of(&self, digest: &Digest) -> Option<&Descriptor> {
        self.layout.index.manifests.iter().find(|entry| entry.digest == *digest)
    }
}

impl ImageSource for LayoutImage {
    fn describe(&self) -> String {
        let Some(entry) = &self.entry else { return self.layout.name.clone() };
        let name = entry.annotations.get(REF_NAME).cloned();
        format!("{}:{}", self.layout.name, name.unwrap_or_else(|| entry.digest.to_string()))
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        let (digest, media_type) = match (digest, &self.entry) {
            (Some(digest), _) => (digest, self.entry_of(digest).map(|entry| &entry.media_type)),
            (None, Some(entry)) => (&entry.digest, Some(&entry.media_type)),
            (None, None) => {
                let media_type = Some(media::OCI_INDEX.to_owned());
                return Ok(FetchedManifest { bytes: self.layout.bytes.clone(), media_type });
            }
        };
        let of = || format!("{}: manifest {digest}", self.layout.name);
        let bytes = self.range(digest)?.read_small(LARGEST).context(of)?;
        // An empty media type in a descriptor counts as missing.
        let media_type = media_type.filter(|kind| !kind.is_empty());
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let has = hasher.finish();
        if has != *digest {
            fail!("{}: its content has the digest {has}", of());
        }
        Ok(FetchedManifest { bytes, media_type: media_type.cloned() })
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        Ok(self.range(digest)?.size())
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let range = self.range(&descriptor.digest)?;
        if range.size() != descriptor.size {
            fail!(
                "{}: blob {} has {} bytes, not {}",
                self.layout.name,
                descriptor.digest,
                range.size(),
                descriptor.size
            );
        }
        Ok(Box::new(range.skip(from)))
    }
}

#[cfg(test)]
mod tests;
