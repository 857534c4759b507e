//! Removal of names and images: first out of images.json, then the objects that only they needed, out of the store and
//! off the disk.
//!
//! The order makes a kill harmless. First `images.json` is written without the image (atomic). Then its blobs and
//! layers are renamed into `tmp/`, each under an exclusive lock and all under `images.lock`. At last they are deleted,
//! with no lock that others wait for. A kill in between leaves objects that no image needs, never an image without an
//! object it needs.
//!
//! Runs in the base user namespace: layers have files of other IDs.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::census::disk_use;
use super::{ImageList, ImageRecord, Store, layers};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, LockAttempt};
use crate::hint;
use crate::image::Reference;
use crate::image::manifest::{ManifestDocument, parse_config};

/// Target of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalTarget {
    /// A name of the image, with a tag or with only a digest. The image itself is removed with its last name.
    Name(Reference),
    /// The image with this manifest, whatever its names.
    Image(Digest),
}

/// Treatment of an image that has several names, or a stopped container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForceRemoval {
    /// Keep the image and report an error.
    No,
    /// Remove the image.
    Yes,
}

/// Result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRemoval {
    /// Names removed from images.
    pub untagged: Vec<Reference>,
    /// ID (config's digest) of the removed image; `None`: a record of the image remains, or a container keeps it.
    pub deleted: Option<Digest>,
    /// Freed disk space in bytes.
    pub bytes: u64,
}

/// Locks `path` for its removal, without waiting. Errors: its file system has no locks, or it cannot be opened.
pub(super) fn grip(path: &Path) -> Result<LockAttempt> {
    let is_unsupported = |error: &std::io::Error| {
        matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK))
    };
    let shown = || format!("cannot lock {}", path.display());
    match files::grip(path) {
        Err(error) if is_unsupported(&error) => Err(error).context(shown).hint(|| hint::NO_FLOCK),
        answer => answer.context(shown),
    }
}

/// Objects that a set of images needs.
#[derive(Default)]
pub(super) struct NeededObjects {
    /// Digests of blobs.
    pub blobs: HashSet<Digest>,
    /// Layers, by diff ID.
    pub layers: HashSet<Digest>,
}

impl NeededObjects {
    /// Collects the objects that `images` need.
    pub fn by<'a>(images: impl IntoIterator<Item = &'a ImageRecord>) -> Self {
        let mut needed = Self::default();
        for image in images {
            needed.blobs.extend(image.blobs().cloned());
            needed.layers.extend(image.layers.iter().map(|layer| layer.diff_id.clone()));
        }
        needed
    }
}

/// Blobs and layers that are out of the store and still on the disk, locked.
#[derive(Default)]
pub(super) struct RemovedObjects(Vec<(PathBuf, File)>);

impl RemovedObjects {
    /// Deletes the objects. Returns the disk space freed, in bytes. An object that cannot be deleted stays in tmp/ for
    /// the next command.
    pub fn empty(self) -> u64 {
        let mut freed = 0;
        for (path, lock) in self.0 {
            let size = disk_use(&path).unwrap_or_default();
            match files::remove_held(&path, lock) {
                Ok(()) => freed += size,
                Err(error) => log::warn!("cannot remove {}: {error}", path.display()),
            }
        }
        freed
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Store {
    /// Removes a name from an image, or an image from the store with the objects that only it needs: `docker rmi`.
    /// Errors: no such image; several names, without force; the image is in use.
    pub fn remove(&self, target: &RemovalTarget, force: ForceRemoval) -> Result<ImageRemoval> {
        let lock = self.lock_images()?;
        let mut images = self.images()?;
        let image = match target {
            RemovalTarget::Name(name) => images.named(name),
            RemovalTarget::Image(manifest) => images.of_manifest(manifest),
        };
        let Some(image) = image.cloned() else { return Err(no_such_image(target)) };
        if let RemovalTarget::Name(name) = target
            && is_one_of_several(&image, name)
        {
            images.forget_name(&image.manifest, name);
            self.write_images(&images)?;
            return Ok(ImageRemoval { untagged: vec![name.clone()], ..ImageRemoval::default() });
        }
        let (mut removal, mut removed) = (ImageRemoval::default(), RemovedObjects::default());
        for image in records_to_remove(&images, target, &image, force)? {
            let (one, objects) = self.take_out_image(&mut images, &image, force)?;
            removal.untagged.extend(one.untagged);
            removal.deleted = one.deleted;
            removed.0.extend(objects.0);
        }
        drop(lock);
        let bytes = removed.empty();
        self.renew_copy();
        Ok(ImageRemoval { bytes, ..removal })
    }

    /// Removes the image from images.json and moves the objects that only it needed into tmp/. The caller holds the lock.
    /// Errors: a container runs on the image; without force, a stopped container needs it. With force, the blobs and
    /// layers that the stopped container needs stay (as in docker).
    pub(super) fn take_out_image(
        &self,
        images: &mut ImageList,
        image: &ImageRecord,
        force: ForceRemoval,
    ) -> Result<(ImageRemoval, RemovedObjects)> {
        // Held until all is moved: no other command can begin to use the image.
        let manifest_lock = match grip(&self.blob_path(&image.manifest))? {
            LockAttempt::Held => {
                return Err(Error::conflict(format!(
                    "image {} is in use by a running container or another command",
                    image.display_name()
                ))
                .hint("stop its containers first"));
            }
            LockAttempt::Ours(lock) => Some(lock),
            LockAttempt::Gone => None,
        };
        // After the lock: a container that is being made holds the blob until its folder is in place.
        let users = self.containers_of_image(&image.manifest)?;
        if let (Some(user), ForceRemoval::No) = (users.first(), force) {
            let error = format!("image {} is in use by container {user}", image.display_name());
            return Err(Error::conflict(error).hint(hint::REMOVE_CONTAINERS_OR_FORCE));
        }
        images.remove(&image.manifest);
        self.write_images(images)?;
        if !users.is_empty() {
            let untagged = image.names.iter().chain(&image.digests).cloned().collect();
            return Ok((
                ImageRemoval { untagged, ..ImageRemoval::default() },
                RemovedObjects::default(),
            ));
        }
        let manifest_path = self.blob_path(&image.manifest);
        let mut removed = RemovedObjects::default();
        let still = NeededObjects::by(images.all());
        let of_image = NeededObjects::by([image]);
        for blob in of_image.blobs.difference(&still.blobs) {
            let path = self.blob_path(blob);
            match &manifest_lock {
                // Its lock is ours already, by another open file: a second one would be refused.
                Some(lock) if path == manifest_path => {
                    self.take_out_locked(&path, lock, &mut removed)?
                }
                _ => self.take_out_object(&path, &mut removed)?,
            }
        }
        for diff_id in of_image.layers.difference(&still.layers) {
            for folder in self.layer_folders(diff_id)? {
                self.take_out_object(&folder, &mut removed)?;
            }
        }
        let untagged = image.names.iter().chain(&image.digests).cloned().collect();
        let is_gone = images.of_config(&image.config).next().is_none();
        let deleted = is_gone.then(|| image.config.clone());
        Ok((ImageRemoval { untagged, deleted, bytes: 0 }, removed))
    }

    /// Moves the object at `path`, unless it is in use.
    pub(super) fn take_out_object(&self, path: &Path, removed: &mut RemovedObjects) -> Result<()> {
        removed.0.extend(self.set_aside(path)?);
        Ok(())
    }

    fn take_out_locked(
        &self,
        path: &Path,
        lock: &File,
        removed: &mut RemovedObjects,
    ) -> Result<()> {
        let aside = self.tmp().join(files::random_name(super::REMOVED));
        std::fs::rename(path, &aside).context(|| format!("cannot remove {}", path.display()))?;
        let lock = lock.try_clone().context(|| format!("cannot remove {}", path.display()))?;
        removed.0.push((aside, lock));
        Ok(())
    }

    /// The folders of a layer, one for each form of owners.
    pub(super) fn layer_folders(&self, diff_id: &Digest) -> Result<Vec<PathBuf>> {
        let of_it = |(_, id): &(PathBuf, Option<Digest>)| id.as_ref() == Some(diff_id);
        Ok(self.layers_by_id()?.into_iter().filter(of_it).map(|(path, _)| path).collect())
    }

    /// All folders in layers/, with the diff ID where the folder is an image's layer.
    pub(super) fn layers_by_id(&self) -> Result<Vec<(PathBuf, Option<Digest>)>> {
        let entries = list(&self.layers_folder())?;
        Ok(entries.into_iter().map(|(path, name)| (path, layers::diff_id_of(&name))).collect())
    }

    /// Digests of all blobs.
    pub(super) fn blobs(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for (_, name) in list(&self.root.join("blobs").join(algorithm))? {
                all.extend(format!("{algorithm}:{name}").parse::<Digest>().ok());
            }
        }
        Ok(all)
    }

    /// True if a container or another command uses the image. The caller holds the lock of images.json: else a remover
    /// that runs meanwhile would take our lock for a user's.
    pub(super) fn is_held(&self, image: &ImageRecord) -> Result<bool> {
        Ok(matches!(grip(&self.blob_path(&image.manifest))?, LockAttempt::Held)
            || !self.containers_of_image(&image.manifest)?.is_empty())
    }

    /// Short IDs of this store's containers, running or not, whose image has this manifest.
    fn containers_of_image(&self, manifest: &Digest) -> Result<Vec<String>> {
        let of_it = |(_, of): &(String, Digest)| of == manifest;
        Ok(self
            .used_manifests()?
            .into_iter()
            .filter(of_it)
            .map(|(container, _)| container)
            .collect())
    }

    /// Path of the manifest's blob that a container in `folder` of this store needs. `None`: it needs none. If the
    /// store was moved since, the path is that of the blob in the moved store.
    pub fn used_manifest(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let link = folder.join(super::USED);
        let target = match std::fs::read_link(&link) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            answer => answer.context(|| link.display().to_string())?,
        };
        if target.is_absolute() && target.exists() {
            return Ok(Some(target));
        }
        let digest = manifest_of(&target)
            .ok_or_else(|| Error::new(format!("{} leads to no image", link.display())))?;
        Ok(Some(self.blob_path(&digest)))
    }

    /// Target of the link to this manifest's blob in a container's folder: a relative path in our own store, which may
    /// be moved.
    pub fn link_to_manifest(&self, blob: &Path) -> PathBuf {
        match blob.strip_prefix(&self.root) {
            Ok(inside) => Path::new("../..").join(inside),
            Err(_) => blob.to_owned(),
        }
    }

    /// Short IDs of all containers with a folder, and the manifests of their images.
    pub(super) fn used_manifests(&self) -> Result<Vec<(String, Digest)>> {
        let mut used = Vec::new();
        for containers in self.container_folders()? {
            for (folder, mut container) in list(&containers)? {
                let Ok(target) = std::fs::read_link(folder.join(super::USED)) else { continue };
                if let Some(digest) = manifest_of(&target) {
                    container.truncate(12);
                    used.push((container, digest));
                }
            }
        }
        Ok(used)
    }

    /// Diff IDs of the image with this manifest, read from the blobs themselves. `None`: not an image, or not whole.
    pub(super) fn diff_ids_of(&self, manifest: &Digest) -> Option<Vec<Digest>> {
        let bytes = self.read_blob(manifest).ok()?;
        let ManifestDocument::Manifest(manifest) = ManifestDocument::parse(&bytes, None).ok()?
        else {
            return None;
        };
        let config = self.read_blob(&manifest.config.digest).ok()?;
        parse_config(&config, manifest.layers.len()).ok().map(|(_, diff_ids)| diff_ids)
    }

    /// Digest of the config of the image with this manifest. `None`: not an image, or missing.
    pub(super) fn config_of(&self, manifest: &Digest) -> Option<Digest> {
        let bytes = self.read_blob(manifest).ok()?;
        match ManifestDocument::parse(&bytes, None).ok()? {
            ManifestDocument::Manifest(manifest) => Some(manifest.config.digest),
            ManifestDocument::Index(_) => None,
        }
    }

    /// Gives an image more names, taken from any other image. Errors: no such image.
    pub fn tag(&self, manifest: &Digest, names: &[Reference]) -> Result<()> {
        self.change_images(|images| {
            if images.of_manifest(manifest).is_none() {
                return Err(no_such_image(&RemovalTarget::Image(manifest.clone())));
            }
            for name in names {
                if name.tag.is_none() || name.digest.is_some() {
                    fail!(Invalid: "{name}: a new name has a tag and no digest");
                }
                images.tag(manifest, name.clone());
            }
            Ok(())
        })
    }

    /// Removes names from an image, those in `names` or all if empty. The image stays even without a name (podman's
    /// untag). Errors: no such image; a name that the image does not have.
    pub fn untag(&self, manifest: &Digest, names: &[Reference]) -> Result<Vec<Reference>> {
        self.change_images(|images| {
            let Some(image) = images.of_manifest(manifest) else {
                return Err(no_such_image(&RemovalTarget::Image(manifest.clone())));
            };
            let gone = if names.is_empty() { image.names.clone() } else { names.to_vec() };
            if let Some(name) = gone.iter().find(|name| !image.names.contains(name)) {
                fail!(NotFound: "image {} is not called {}", image.config.short(), name.familiar());
            }
            for name in &gone {
                images.untag(name);
            }
            Ok(gone)
        })
    }
}

impl ImageList {
    /// Removes a name, with a tag or with a digest, from the image with this manifest.
    fn forget_name(&mut self, manifest: &Digest, name: &Reference) {
        if let Some(mut image) = self.of_manifest(manifest).cloned() {
            image.names.retain(|one| one != name);
            image.digests.retain(|one| one != name);
            self.replace(image);
        }
    }
}

impl ImageRecord {
    /// Name for messages: the image's first name, else its short ID.
    pub(super) fn display_name(&self) -> String {
        self.names.first().map_or_else(|| self.config.short().to_owned(), Reference::familiar)
    }
}

/// The records to remove with `image`, which loses its last name or is removed as a whole. By ID: all records of the
/// image. By name: also those that no name reaches any more. Errors: several names, without force.
fn records_to_remove(
    images: &ImageList,
    target: &RemovalTarget,
    image: &ImageRecord,
    force: ForceRemoval,
) -> Result<Vec<ImageRecord>> {
    let all: Vec<ImageRecord> = images.of_config(&image.config).cloned().collect();
    let names: Vec<String> =
        all.iter().flat_map(|one| &one.names).map(Reference::familiar).collect();
    if let RemovalTarget::Name(_) = target {
        let others_stay = names.len() > image.names.len();
        let goes = |one: &ImageRecord| one.manifest == image.manifest || !others_stay;
        return Ok(all.into_iter().filter(goes).collect());
    }
    if names.len() > 1 && force == ForceRemoval::No {
        let error =
            format!("image {} has several names: {}", image.config.short(), names.join(", "));
        return Err(Error::conflict(error).hint(hint::REMOVE_NAMES_OR_FORCE));
    }
    Ok(all)
}

/// True if the image can still be found by a name once `name` is removed. References with digests do not keep an image
/// whose last tag is removed (docker's rule). Tags keep the image when a reference with a digest is removed.
fn is_one_of_several(image: &ImageRecord, name: &Reference) -> bool {
    match &name.digest {
        None => image.names.len() > 1,
        Some(_) => !image.names.is_empty() || image.digests.iter().any(|other| other != name),
    }
}

fn no_such_image(target: &RemovalTarget) -> Error {
    match target {
        RemovalTarget::Name(name) => Error::not_found(format!("no image {} here", name.familiar())),
        RemovalTarget::Image(digest) => {
            Error::not_found(format!("no image {} here", digest.short()))
        }
    }
}

/// The digest in the path of a blob: `.../ALGORITHM/HEX`.
fn manifest_of(blob: &Path) -> Option<Digest> {
    let mut parts = blob.iter().rev().filter_map(|part| part.to_str());
    let (hex, algorithm) = (parts.next()?, parts.next()?);
    format!("{algorithm}:{hex}").parse().ok()
}

/// Lists the paths and names in `folder`, sorted. A missing folder counts as empty.
pub(super) fn list(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let shown = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(shown)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.context(shown)?;
        all.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    all.sort();
    Ok(all)
}
