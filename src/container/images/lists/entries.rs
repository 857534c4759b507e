//! Makes entries of manifest lists from images of the store and of registries.

use std::io::Read;

use super::super::pull::{Pull, of_registries};
use super::ImagesToList;
use crate::container::stores::Stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::config::ImageConfig;
use crate::image::list::{IndexEntry, ListedManifest};
use crate::image::manifest::{LARGEST, Manifest, ManifestDocument, Platform};
use crate::image::reference::Reference;
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::Registry;
use crate::image::source::ImageSource;
use crate::image::transport::ImageLocation;

/// Returns the entries for all images in `images`.
pub fn listings(stores: &Stores, images: &ImagesToList) -> Result<Vec<ListedManifest>> {
    let mut all = Vec::new();
    for text in &images.images {
        let of = || format!("cannot add {} to the list", text.escape_debug());
        all.extend(of_image(stores, text, images).context(of)?);
    }
    Ok(all)
}

fn of_image(stores: &Stores, text: &str, images: &ImagesToList) -> Result<Vec<ListedManifest>> {
    if !text.starts_with("docker://")
        && let Some((store, image)) = stores.find(text, &Registries::load()?)?
    {
        let bytes = store.read_blob(&image.manifest)?;
        let entry = IndexEntry::of_manifest(&bytes, image.manifest.clone(), &image.platform)?;
        return Ok(vec![ListedManifest { entry, origin: None }]);
    }
    EntryOrigin::of_registry(stores, text, &images.asked)?.listings(images)
}

/// Manifest or index of a registry, with the name by which it was found.
pub struct EntryOrigin {
    registry: Registry,
    reference: Reference,
    bytes: Vec<u8>,
    digest: Digest,
}

impl EntryOrigin {
    /// Fetches the manifest or index. Errors: no registry has it, or `text` does not name a registry's image.
    pub fn of_registry(stores: &Stores, text: &str, asked: &RegistryOptions) -> Result<Self> {
        let place: ImageLocation = text.parse()?;
        if !matches!(place, ImageLocation::Registry(_)) {
            let error = format!("{place}: a list holds images of the store and of registries");
            return Err(Error::not_found(error).hint(hint::pull_first(place)));
        }
        let pull = Pull {
            place,
            input: None,
            platform: None,
            asked: asked.clone(),
            signature_policy: None,
        };
        of_registries(stores, &pull, |registry, reference| {
            let fetched = registry.manifest(reference.digest.as_ref())?;
            let digest = checked(&fetched.bytes, reference.digest.as_ref())?;
            ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref())?;
            Ok(Self {
                registry: registry.clone(),
                reference: reference.clone(),
                bytes: fetched.bytes,
                digest,
            })
        })
    }

    /// Returns the manifest or index as bytes.
    pub fn document(self) -> Result<Vec<u8>> {
        Ok(self.bytes)
    }

    fn listings(self, images: &ImagesToList) -> Result<Vec<ListedManifest>> {
        let index = match ManifestDocument::parse(&self.bytes, None)? {
            ManifestDocument::Manifest(manifest) => {
                let platform = self.platform(&manifest)?;
                let entry = IndexEntry::of_manifest(&self.bytes, self.digest, &platform)?;
                return Ok(vec![ListedManifest { entry, origin: Some(self.reference) }]);
            }
            ManifestDocument::Index(index) => index,
        };
        let mut entries = IndexEntry::all_of(&self.bytes)?;
        if !images.all {
            let platform = images.platform.clone().unwrap_or_else(Platform::host);
            let chosen = index.choose(&platform)?.digest.clone();
            entries.retain(|entry| entry.digest == chosen);
        }
        let listing = |entry| ListedManifest { entry, origin: Some(self.reference.clone()) };
        Ok(entries.into_iter().map(listing).collect())
    }

    /// Returns the platform in the image's config.
    fn platform(&self, manifest: &Manifest) -> Result<Platform> {
        manifest.check_is_image()?;
        let mut bytes = Vec::new();
        let blob = self.registry.blob(&manifest.config, 0)?;
        blob.take(LARGEST).read_to_end(&mut bytes).context(|| "the image's config")?;
        checked(&bytes, Some(&manifest.config.digest)).context(|| "the image's config")?;
        Ok(ImageConfig::parse(&bytes)?.platform())
    }
}

/// Returns the digest of the bytes. Errors: the digest differs from `wanted`.
pub fn checked(bytes: &[u8], wanted: Option<&Digest>) -> Result<Digest> {
    let Some(wanted) = wanted else { return Ok(Digest::of(bytes)) };
    let mut hasher = crate::digest::Hasher::new(wanted.algorithm());
    hasher.update(bytes);
    let has = hasher.finish();
    if has != *wanted {
        fail!("its content has the digest {has}, not {wanted}");
    }
    Ok(has)
}
