//! images.json: the images of the store and their names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ImageRecord, Store};
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::files;
use crate::hint;
use crate::image::Reference;
use crate::image::owners::Owners;

/// The images of a store, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageList {
    version: u32,
    images: Vec<ImageRecord>,
}

pub(super) const VERSION: u32 = 1;

/// Largest images.json that is read, in bytes: some ten thousand images.
const LONGEST: u64 = 256 << 20;

impl ImageList {
    /// Creates an empty list.
    pub(super) fn new() -> Self {
        Self { version: VERSION, images: Vec::new() }
    }

    /// All images of the list.
    pub fn all(&self) -> &[ImageRecord] {
        &self.images
    }

    /// The image with this manifest.
    pub fn of_manifest(&self, manifest: &Digest) -> Option<&ImageRecord> {
        self.images.iter().find(|image| image.manifest == *manifest)
    }

    /// The image that `reference` names: by its tag, or by the digest of its manifest or of the index it came from.
    pub fn named(&self, reference: &Reference) -> Option<&ImageRecord> {
        let Some(digest) = &reference.digest else {
            return self.images.iter().find(|image| image.names.contains(reference));
        };
        let from_there = |one: &Reference| one.name() == reference.name();
        let has = |image: &&ImageRecord| {
            image.is_known_as(digest) && image.names.iter().chain(&image.digests).any(from_there)
        };
        self.images.iter().rev().find(has)
    }

    /// True if an image has this name with a tag.
    pub fn has_name(&self, name: &Reference) -> bool {
        self.images.iter().any(|image| image.names.contains(name))
    }

    /// The image whose ID (config or manifest digest) begins with `text`. `None`: no such image. Errors: several images
    /// match.
    pub fn with_id(&self, text: &str) -> Result<Option<&ImageRecord>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.is_empty() || hex.len() > 64 || !is_hex {
            return Ok(None);
        }
        let begins = |digest: &Digest| digest.hex().starts_with(hex);
        let mut found =
            self.images.iter().filter(|image| begins(&image.config) || begins(&image.manifest));
        let Some(first) = found.next() else { return Ok(None) };
        // An image packed twice has one ID and two manifests: either will do.
        if found.any(|other| other.config != first.config) {
            fail!(Conflict: "image ID {text}: several images begin so; give more digits");
        }
        Ok(Some(first))
    }

    /// Adds `image`, or its new facts to an existing record; its names are taken from other images. Returns the record.
    /// An ID has a record for each manifest that it was published with, so that a push sends the manifest unchanged. A
    /// manifest that no registry has is merged into an existing record of its ID.
    pub fn add(&mut self, image: ImageRecord) -> ImageRecord {
        for name in &image.names {
            self.untag(name);
        }
        let same_manifest = self.images.iter().position(|old| old.manifest == image.manifest);
        let is_same = |old: &ImageRecord| !image.is_published() && old.config == image.config;
        let same_id = || self.images.iter().position(is_same);
        match same_manifest.or_else(same_id).and_then(|at| self.images.get_mut(at)) {
            Some(old) => {
                if old.manifest == image.manifest {
                    old.index = image.index.or(old.index.take());
                    old.layers = image.layers;
                }
                old.names.extend(image.names);
                let new = image.digests.into_iter().filter(|digest| !old.digests.contains(digest));
                let new: Vec<Reference> = new.collect();
                old.digests.extend(new);
                old.clone()
            }
            None => {
                self.images.push(image.clone());
                image
            }
        }
    }

    /// The records of the image with this ID, one for each manifest.
    pub fn of_config<'a>(&'a self, config: &'a Digest) -> impl Iterator<Item = &'a ImageRecord> {
        self.images.iter().filter(move |image| image.config == *config)
    }

    /// Removes a name from the image that has it; true if an image had it.
    pub fn untag(&mut self, name: &Reference) -> bool {
        let mut had = false;
        for image in &mut self.images {
            let before = image.names.len();
            image.names.retain(|one| one != name);
            had |= image.names.len() != before;
        }
        had
    }

    /// Gives the image with this manifest one more name, taken from any other image.
    pub fn tag(&mut self, manifest: &Digest, name: Reference) {
        self.untag(&name);
        if let Some(image) = self.images.iter_mut().find(|image| image.manifest == *manifest) {
            image.names.push(name);
        }
    }

    /// Adds an image of another list, with those of its names that no image here has.
    pub(super) fn insert(&mut self, mut image: ImageRecord) {
        image.names.retain(|name| self.named(name).is_none());
        self.images.push(image);
    }

    /// Replaces the record with the same manifest by `image`.
    pub(super) fn replace(&mut self, image: ImageRecord) {
        if let Some(old) = self.images.iter_mut().find(|old| old.manifest == image.manifest) {
            *old = image;
        }
    }

    /// Removes and returns the image with this manifest.
    pub fn remove(&mut self, manifest: &Digest) -> Option<ImageRecord> {
        let at = self.images.iter().position(|image| image.manifest == *manifest)?;
        Some(self.images.remove(at))
    }
}

impl Store {
    pub(super) fn images_path(&self) -> PathBuf {
        self.root.join("images.json")
    }

    /// Path of the second copy of images.json. The copy also reserves space: when the disk is full, it is removed.
    pub(super) fn copy_path(&self) -> PathBuf {
        self.root.join("images.json.copy")
    }

    /// Reads the images. Errors: images.json is unreadable or malformed.
    pub fn images(&self) -> Result<ImageList> {
        let path = self.images_path();
        let bytes = match self.read_object(&path, LONGEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.images_without_list();
            }
            answer => answer
                .map_err(super::foreign::explain)
                .context(|| format!("cannot read {}", path.display()))?,
        };
        let images: ImageList = serde_json::from_slice(&bytes)
            .map_err(Error::new)
            .context(|| path.display().to_string())
            .hint(|| hint::REPAIR_FROM_BLOBS)?;
        if images.version != VERSION {
            fail!(
                "{} is of version {}: it was written by another usnea; this one reads {VERSION}",
                path.display(),
                images.version
            );
        }
        Ok(images)
    }

    /// Returns the empty list of a new store. Errors: the store has lost its images.json.
    fn images_without_list(&self) -> Result<ImageList> {
        let hint = match (self.copy_path().exists(), self.has_objects()?) {
            (true, _) => hint::REPAIR_FROM_COPY,
            // Without its list, all objects would look unused, and a prune would remove them.
            (false, true) => hint::REPAIR_FROM_BLOBS,
            (false, false) => return Ok(ImageList::new()),
        };
        // Another command may have begun the store between the two looks.
        match self.images_path().exists() {
            true => self.images(),
            false => {
                let path = self.images_path();
                Err(Error::new(format!("{} is missing", path.display())).hint(hint))
            }
        }
    }

    /// True if the store has a blob, or an unpacked layer of an image.
    pub(super) fn has_objects(&self) -> Result<bool> {
        let is_layer = |(_, diff_id): &(PathBuf, Option<Digest>)| diff_id.is_some();
        Ok(!self.blobs()?.is_empty() || self.layers_by_id()?.iter().any(is_layer))
    }

    /// Writes the empty list of a new store, so that a store with objects and without a list has lost the list.
    pub(super) fn begin_list(&self) {
        if self.images_path().exists() || self.copy_path().exists() {
            return;
        }
        let begin = || {
            let _lock = self.lock_images()?;
            match self.images_path().exists() || self.has_objects()? {
                true => Ok(()),
                false => self.write_images(&ImageList::new()),
            }
        };
        // A read-only or full file system: a command that only reads works all the same.
        if let Err::<(), Error>(error) = begin() {
            log::debug!("{error}");
        }
    }

    /// Changes images.json under the lock: reads it, applies `change`, replaces it. After a power cut either the old or
    /// the new file exists.
    pub fn change_images<T>(&self, change: impl FnOnce(&mut ImageList) -> Result<T>) -> Result<T> {
        let _lock = self.lock_images()?;
        let mut images = self.images()?;
        let before = images.clone();
        let answer = change(&mut images)?;
        if images != before {
            self.write_images(&images)?;
        }
        Ok(answer)
    }

    /// Records `image`, merged with existing records of the same ID ([`ImageList::add`]). Returns the record. Replaces a
    /// record that no registry has, or that has lost blobs, unless that record's image is in use.
    pub fn record(&self, image: ImageRecord) -> Result<ImageRecord> {
        self.change_images(|images| {
            let others = images.of_config(&image.config);
            let others = others.filter(|old| old.manifest != image.manifest);
            let is_worse = |old: &&ImageRecord| {
                !self.has_blobs(old) || image.is_published() && !old.is_published()
            };
            let worse: Vec<ImageRecord> = others.filter(is_worse).cloned().collect();
            let mut image = image;
            for old in worse {
                if self.is_held(&old)? {
                    continue;
                }
                images.remove(&old.manifest);
                let names = old.names.into_iter().filter(|name| !image.names.contains(name));
                image.names.extend(names.collect::<Vec<_>>());
                image.digests.extend(old.digests);
            }
            Ok(images.add(image))
        })
    }

    /// True if the store has all blobs of the image, and its layers unpacked in this form.
    pub fn is_whole(&self, image: &ImageRecord, owners: &Owners) -> bool {
        let is_unpacked = |layer: &super::ImageLayer| self.has_layer(&layer.diff_id, owners);
        self.has_blobs(image) && image.layers.iter().all(is_unpacked)
    }

    fn has_blobs(&self, image: &ImageRecord) -> bool {
        image.blobs().all(|blob| self.blob_path(blob).is_file())
    }

    /// Replaces images.json; the caller holds the lock.
    pub(super) fn write_images(&self, images: &ImageList) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(images).map_err(Error::new)?;
        let replace = || files::replace(&self.tmp(), &self.images_path(), &bytes);
        replace().or_else(|error| match error.kind() {
            ErrorKind::Full => self.make_room().and_then(|()| replace()).or_else(|_| {
                files::replace_in_place(&self.images_path(), &bytes).map_err(|_| error)
            }),
            _ => Err(error),
        })?;
        self.publish(&self.images_path())?;
        self.write_copy(&bytes);
        Ok(())
    }

    /// Removes the copy to free its space.
    pub(super) fn make_room(&self) -> Result<()> {
        let path = self.copy_path();
        std::fs::remove_file(&path).map_err(|error| files::cannot_write(error, &path))
    }

    /// Writes the copy. Removes it if the disk has no space for it: an old copy would be wrong.
    fn write_copy(&self, bytes: &[u8]) {
        let path = self.copy_path();
        if let Err(error) = files::replace(&self.tmp(), &path, bytes) {
            log::debug!("{error}");
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Writes the copy again after it was removed.
    pub(super) fn renew_copy(&self) {
        if self.copy_path().exists() {
            return;
        }
        if let Ok(_lock) = self.lock_images() {
            self.renew_copy_locked();
        }
    }

    /// Writes the copy again; the caller holds the lock.
    pub(super) fn renew_copy_locked(&self) {
        if !self.copy_path().exists()
            && let Ok(bytes) = std::fs::read(self.images_path())
        {
            self.write_copy(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::Platform;
    use crate::image::store::ImageLayer;

    fn image(seed: &str, names: &[&str]) -> ImageRecord {
        ImageRecord {
            manifest: Digest::of(seed.as_bytes()),
            index: None,
            config: Digest::of(format!("{seed}'s config").as_bytes()),
            layers: vec![ImageLayer {
                blob: Digest::of(b"blob"),
                packed: 1,
                diff_id: Digest::of(b"diff"),
                size: 5,
            }],
            platform: Platform::host(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            digests: vec![format!("q.io/x@{}", Digest::of(seed.as_bytes())).parse().unwrap()],
            created: None,
            added: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_name_belongs_to_the_last_that_got_it() {
        let mut images = ImageList::default();
        images.add(image("a", &["q.io/x:1", "q.io/x:2"]));
        images.add(image("b", &["q.io/x:1"]));
        let named = |images: &ImageList, name: &str| {
            images.named(&name.parse().unwrap()).map(|image| image.manifest.clone())
        };
        assert_eq!(named(&images, "q.io/x:1"), Some(Digest::of(b"b")));
        assert_eq!(named(&images, "q.io/x:2"), Some(Digest::of(b"a")));
        assert_eq!(named(&images, "q.io/x:3"), None);
        images.tag(&Digest::of(b"a"), "q.io/y:1".parse().unwrap());
        assert_eq!(named(&images, "q.io/y:1"), Some(Digest::of(b"a")));
        assert!(images.untag(&"q.io/y:1".parse().unwrap()));
        assert!(!images.untag(&"q.io/y:1".parse().unwrap()));
        assert_eq!(images.all().len(), 2);
    }

    #[test]
    fn an_image_is_found_by_its_digest_only_where_it_came_from() {
        let mut images = ImageList::default();
        images.add(image("a", &[]));
        let digest = Digest::of(b"a");
        let find = |name: &str| images.named(&format!("{name}@{digest}").parse().unwrap());
        assert!(find("q.io/x").is_some());
        assert!(find("q.io/y").is_none());
    }

    #[test]
    fn ids_may_be_shortened_but_not_ambiguous() {
        let mut images = ImageList::default();
        images.add(image("a", &[]));
        images.add(image("b", &[]));
        let id = images.all()[0].config.hex().to_owned();
        assert_eq!(images.with_id(&id[..12]).unwrap().unwrap().config.hex(), id);
        assert!(images.with_id(&format!("sha256:{id}")).unwrap().is_some());
        assert!(images.with_id("").unwrap().is_none());
        assert!(images.with_id("debian").unwrap().is_none());
        let (a, b) = (images.all()[0].config.hex(), images.all()[1].config.hex());
        if a.as_bytes()[0] == b.as_bytes()[0] {
            assert!(images.with_id(&a[..1]).is_err());
        }
    }

    #[test]
    fn an_image_that_comes_again_keeps_its_names() {
        let mut images = ImageList::default();
        images.add(image("a", &["q.io/x:1"]));
        images.add(image("a", &["q.io/x:2"]));
        assert_eq!(images.all().len(), 1);
        assert_eq!(images.all()[0].names.len(), 2);
        assert_eq!(images.all()[0].digests.len(), 1);
    }

    #[test]
    fn a_store_keeps_its_images() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        assert_eq!(store.images().unwrap().all(), []);
        store
            .change_images(|images| {
                images.add(image("a", &["debian"]));
                Ok(())
            })
            .unwrap();
        assert_eq!(store.images().unwrap().all(), [image("a", &["debian:latest"])]);
        std::fs::write(folder.path().join("store/images.json"), "{").unwrap();
        assert!(store.images().unwrap_err().hint_text().unwrap().contains("check --repair"));
    }
}
