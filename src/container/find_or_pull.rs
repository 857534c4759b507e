//! Image of the store as a root: finds the image, or pulls it according to `--pull`. Unpacks its layers with the owners
//! that this user's store needs, and locks it against removal.

use super::image_defaults::{ConfiguredDefaults, check_platform};
use super::image_root::{ImageLock, ImageRoot, StoredImage};
use super::images::{self, Pull};
use super::stores;
use super::usnea::Usnea;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::manifest::{Platform, parse_config};
use crate::image::owners::Owners;
use crate::image::pull::TransferProgress;
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::store::{HeldBlob, ImageLayer, ImageRecord, Store};
use crate::image::transport::ImageLocation;
use crate::layer::LowerLayer;

/// Number of attempts to get an image that other commands remove right after the pull.
const TRIES: usize = 5;

/// Policy for pulling the image of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Pull only a missing image.
    #[default]
    Missing,
    /// Always pull.
    Always,
    /// Never pull.
    Never,
    /// Pull if the image of this name in the registry differs; use the local one if the registry is unreachable.
    Newer,
}

/// Policy, source and progress listener of a pull.
pub struct PullSettings<'a> {
    /// Policy of the pull.
    pub policy: PullPolicy,
    /// Settings of the pull, with the image as its source.
    pub pull: Pull,
    /// Listener for progress.
    pub progress: &'a dyn TransferProgress,
}

impl PullSettings<'static> {
    /// Returns settings that never pull, for `dir:`, `host:` and local images.
    pub fn never() -> Result<Self> {
        let pull = Pull {
            place: "scratch".parse()?,
            input: None,
            platform: None,
            asked: RegistryOptions::default(),
            signature_policy: None,
        };
        Ok(Self { policy: PullPolicy::Never, pull, progress: &images::NoProgress })
    }
}

/// Life of the container that gets a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerLife {
    /// Ends with the command.
    Disposable,
    /// Until the container is removed. It can be started on other machines, so an image in a store that those see is not
    /// replaced by its copy in the node cache.
    Kept,
}

/// Returns the image's root, locked against removal.
pub fn root(
    usnea: &Usnea,
    text: &str,
    pull: &PullSettings<'_>,
    life: ContainerLife,
) -> Result<ImageRoot> {
    let base = usnea.base()?;
    let (store, image, blob) = find_or_pull_held(usnea, text, pull, life)?;
    let owners = stores::owners(base, &store);
    if !is_unpacked(&store, &image, &owners) {
        images::prepare(base, &store, &image, pull.progress)?;
    }
    if image.layers.is_empty() {
        store.make_empty_layer()?;
    }
    if usnea.images()?.is_cache(&store) {
        blob.record_use();
    }
    Ok(ImageRoot { held: ImageLock::Stored(blob), ..describe(&store, &image, &owners)? })
}

/// Returns the image with a lock: from here on no command removes it.
fn find_or_pull_held(
    usnea: &Usnea,
    text: &str,
    pull: &PullSettings<'_>,
    life: ContainerLife,
) -> Result<(Store, ImageRecord, HeldBlob)> {
    for _ in 0..TRIES {
        let found = acquire(usnea, text, pull)?;
        let (store, image) = match life {
            ContainerLife::Disposable => images::cached(usnea, found, pull.progress)?,
            ContainerLife::Kept => found,
        };
        // A prune may have removed the image before the lock.
        if let Some(blob) = store.blob(&image.manifest)? {
            return Ok((store, image, blob));
        }
    }
    Err(Error::conflict(format!("image '{text}' is repeatedly removed by other commands")))
}

/// Returns the image of this name; pulls it according to `pull`.
pub fn find_or_pull(usnea: &Usnea, text: &str, pull: &PullSettings<'_>) -> Result<ImageRecord> {
    acquire(usnea, text, pull).map(|(_, image)| image)
}

/// Returns the image's root, without a lock. Changes nothing.
pub fn would_be_root(usnea: &Usnea, text: &str) -> Result<ImageRoot> {
    let (store, image) = images::known(usnea.existing_images()?, text)?;
    let owners = stores::owners(usnea.base()?, &store);
    describe(&store, &image, &owners)
}

fn is_unpacked(store: &Store, image: &ImageRecord, owners: &Owners) -> bool {
    image.layers.iter().all(|layer| store.has_layer(&layer.diff_id, owners))
}

/// Finds the image in the stores, or pulls it.
fn acquire(usnea: &Usnea, text: &str, wanted: &PullSettings<'_>) -> Result<(Store, ImageRecord)> {
    let (base, stores) = (usnea.base()?, usnea.images()?);
    let registries = Registries::load()?;
    let here = match &wanted.pull.place {
        ImageLocation::Registry(_) => stores.find(text, &registries)?,
        // An archive is read each time, since its content may have changed. Existing layers are not unpacked again.
        _ => None,
    };
    // An image in a read-only store is usable only if its layers are unpacked with suitable owners: this user cannot
    // unpack them there.
    let usable = |store: &Store, image: &ImageRecord| {
        stores.is_changeable(store) || is_unpacked(store, image, &stores::owners(base, store))
    };
    if let Some((store, image)) = &here {
        let refusal =
            |layer: &ImageLayer| store.refusal(&layer.diff_id, &stores::owners(base, store));
        if let Some(error) = image.layers.iter().find_map(refusal) {
            log::warn!("image '{text}' of {} is not used: {error}", store.root().display());
        }
    }
    let here = here.filter(|(store, image)| usable(store, image));
    let here = here.filter(|(_, image)| {
        let fits = |platform: &Platform| image.platform.serves(platform);
        wanted.pull.platform.as_ref().is_none_or(fits)
    });
    match (here, wanted.policy) {
        (Some(here), PullPolicy::Missing | PullPolicy::Never) => Ok(here),
        (None, PullPolicy::Never) => Err(images::known(stores, text).err().unwrap_or_else(|| {
            Error::not_found(format!("image '{text}' is not in the store for this platform"))
        })),
        (Some(here), PullPolicy::Newer) => newer(here, usnea, wanted),
        _ => pulled(usnea, wanted),
    }
}

fn pulled(usnea: &Usnea, wanted: &PullSettings<'_>) -> Result<(Store, ImageRecord)> {
    images::pull_into_store(usnea, &wanted.pull, wanted.progress)
}

/// Returns the current image of the registry. Returns the local image if it is the same, or if no registry has the
/// image or can be reached. Errors: the pull fails.
fn newer(
    here: (Store, ImageRecord),
    usnea: &Usnea,
    wanted: &PullSettings<'_>,
) -> Result<(Store, ImageRecord)> {
    let is_same = |digest: &Digest| here.1.is_known_as(digest);
    match images::registry_digest(usnea, &wanted.pull) {
        Ok(digest) if is_same(&digest) => return Ok(here),
        Ok(_) => pulled(usnea, wanted),
        Err(error) => Err(error),
    }
    .or_else(|error| match error.is_endpoint_specific() {
        true => {
            log::warn!("{error}: the local image is used");
            Ok(here)
        }
        false => Err(error),
    })
}

fn describe(store: &Store, image: &ImageRecord, owners: &Owners) -> Result<ImageRoot> {
    check_platform(&image.platform)?;
    let (mut folders, whiteouts) = store.stack(&image.layers, owners);
    if folders.is_empty() {
        folders.push(store.empty_layer_path());
    }
    let ConfiguredDefaults { defaults, labels, health } =
        defaults(store, image).context(|| format!("image {}", image.config.short()))?;
    let manifest = store.blob_path(&image.manifest);
    let stored = Some(StoredImage { manifest, id: image.config.to_string() });
    Ok(ImageRoot {
        layers: folders.into_iter().map(LowerLayer::Folder).collect(),
        is_shared: *owners == Owners::Shared,
        is_foreign: store.is_foreign(),
        whiteouts,
        defaults,
        labels,
        health,
        stored,
        overlays: Default::default(),
        held: ImageLock::Nothing,
    })
}

fn defaults(store: &Store, image: &ImageRecord) -> Result<ConfiguredDefaults> {
    let bytes = store.read_blob(&image.config)?;
    let (config, _) = parse_config(&bytes, image.layers.len())?;
    Ok(ConfiguredDefaults::of(config.config))
}
