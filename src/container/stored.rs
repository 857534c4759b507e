//! Image of the store as a root: found, pulled where `--pull` says so, unpacked in the form that this user needs, and
//! held while the container runs.

use super::image_root::{ImageLock, ImageRoot, StoredImage};
use super::images::{self, Pull};
use super::stores;
use super::usnea::Usnea;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::go_json;
use crate::image::manifest::Platform;
use crate::image::owners::Owners;
use crate::image::pull::TransferProgress;
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::store::{HeldBlob, ImageRecord, Store};
use crate::image::transport::ImageLocation;
use crate::monitor::record::Healthcheck;
use crate::spec::ImageDefaults;

/// Number of attempts to get an image that another command removes at once.
const TRIES: usize = 5;

/// Policy of pulls before a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
    /// When the registry has another one by this name; what is here serves when the registry cannot be asked.
    Newer,
}

/// When and from where to pull an image.
pub struct PullSettings<'a> {
    /// Policy of the pull.
    pub policy: PullPolicy,
    /// Settings of the pull. Its place is the image.
    pub pull: Pull,
    /// Listener for the progress of the pull.
    pub progress: &'a dyn TransferProgress,
}

impl PullSettings<'static> {
    /// Settings for a root that nothing is pulled for: `dir:`, `host:`, an image that is here.
    pub fn never() -> Result<Self> {
        let pull = Pull {
            place: "scratch".parse()?,
            input: None,
            platform: None,
            asked: RegistryOptions::default(),
            signature_policy: None,
        };
        Ok(Self { policy: PullPolicy::Never, pull, progress: &images::Silent })
    }
}

/// Returns the image's root, held.
pub fn root(usnea: &Usnea, text: &str, pull: &PullSettings<'_>) -> Result<ImageRoot> {
    let base = usnea.base()?;
    let (store, image, blob) = find_or_pull_held(usnea, text, pull)?;
    let owners = stores::owners(base, &store);
    if !is_unpacked(&store, &image, &owners) {
        images::prepare(base, &store, &image, pull.progress)?;
    }
    if image.layers.is_empty() {
        store.make_empty_layer()?;
    }
    Ok(ImageRoot { held: ImageLock::Stored(blob), ..describe(&store, &image, &owners)? })
}

/// Returns the image, held: from here on no command removes it.
fn find_or_pull_held(
    usnea: &Usnea,
    text: &str,
    pull: &PullSettings<'_>,
) -> Result<(Store, ImageRecord, HeldBlob)> {
    for _ in 0..TRIES {
        let (store, image) = acquire(usnea, text, pull)?;
        // A prune may have removed the image meanwhile.
        if let Some(blob) = store.blob(&image.manifest)? {
            return Ok((store, image, blob));
        }
    }
    Err(Error::conflict(format!("image '{text}' is removed again and again by another command")))
}

/// Returns the image of this name, pulled where `wanted` says so.
pub fn find_or_pull(usnea: &Usnea, text: &str, pull: &PullSettings<'_>) -> Result<ImageRecord> {
    acquire(usnea, text, pull).map(|(_, image)| image)
}

/// Returns the image's root; holds and makes nothing.
pub fn would_be_root(usnea: &Usnea, text: &str) -> Result<ImageRoot> {
    let (store, image) = images::known(usnea.existing_images()?, text)?;
    let owners = stores::owners(usnea.base()?, &store);
    describe(&store, &image, &owners)
}

fn is_unpacked(store: &Store, image: &ImageRecord, owners: &Owners) -> bool {
    image.layers.iter().all(|layer| store.has_layer(&layer.diff_id, owners))
}

/// Finds the image here, or pulls it.
fn acquire(usnea: &Usnea, text: &str, wanted: &PullSettings<'_>) -> Result<(Store, ImageRecord)> {
    let (base, stores) = (usnea.base()?, usnea.images()?);
    let registries = Registries::load()?;
    let here = match &wanted.pull.place {
        ImageLocation::Registry(_) => stores.find(text, &registries)?,
        // An archive is read each time: its content may have changed. Layers that are here are not fetched again.
        _ => None,
    };
    // Layers that others unpacked for themselves alone are of no use here, and not ours to unpack.
    let usable = |store: &Store, image: &ImageRecord| {
        let is_own = store.root() == stores.own().root();
        is_own || is_unpacked(store, image, &stores::owners(base, store))
    };
    let here = here.filter(|(store, image)| usable(store, image));
    let here = here.filter(|(_, image)| {
        let fits = |platform: &Platform| image.platform.serves(platform);
        wanted.pull.platform.as_ref().is_none_or(fits)
    });
    match (here, wanted.policy) {
        (Some(here), PullPolicy::Missing | PullPolicy::Never) => Ok(here),
        (None, PullPolicy::Never) => Err(images::known(stores, text).err().unwrap_or_else(|| {
            Error::not_found(format!("image '{text}' is not here for this platform"))
        })),
        (Some(here), PullPolicy::Newer) => newer(here, usnea, wanted),
        _ => pulled(usnea, wanted),
    }
}

fn pulled(usnea: &Usnea, wanted: &PullSettings<'_>) -> Result<(Store, ImageRecord)> {
    let image = images::pull(usnea, &wanted.pull, wanted.progress)?;
    Ok((usnea.images()?.own().clone(), image))
}

/// Returns the image here, or the image that the registry has by its name now. Errors: the pull fails; where no
/// registry has the image or can be reached, the image here serves.
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
    .or_else(|error| match error.is_of_place() {
        true => {
            log::warn!("{error}: the image that is here is used");
            Ok(here)
        }
        false => Err(error),
    })
}

fn describe(store: &Store, image: &ImageRecord, owners: &Owners) -> Result<ImageRoot> {
    if image.platform.os != "linux" {
        return Err(Error::invalid(format!(
            "an image for {}: only linux runs here",
            image.platform
        )));
    }
    if !image.platform.serves(&Platform::host()) {
        log::warn!("the image is for {}, this machine is {}", image.platform, Platform::host());
    }
    let (mut folders, whiteouts) = store.stack(&image.layers, owners);
    if folders.is_empty() {
        folders.push(store.empty_layer_path());
    }
    let (defaults, labels, health) =
        defaults(store, image).context(|| format!("image {}", image.config.short()))?;
    let manifest = store.blob_path(&image.manifest);
    let stored = Some(StoredImage { manifest, id: image.config.to_string(), labels, health });
    Ok(ImageRoot {
        folders,
        is_shared: *owners == Owners::Shared,
        is_foreign: store.is_foreign(),
        whiteouts,
        defaults,
        stored,
        held: ImageLock::Nothing,
    })
}

type Labels = std::collections::BTreeMap<String, String>;

fn defaults(
    store: &Store,
    image: &ImageRecord,
) -> Result<(ImageDefaults, Labels, Option<Healthcheck>)> {
    let bytes = store.read_blob(&image.config)?;
    let (config, _) = crate::image::manifest::parse_config(&bytes, image.layers.len())?;
    let config = config.config;
    let health = config.healthcheck.and_then(health);
    let defaults = ImageDefaults {
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        env: config.env,
        workdir: config.working_dir,
        user: config.user,
        volumes: config.volumes,
        stop_signal: config.stop_signal,
        exposed_ports: config.exposed_ports,
    };
    Ok((defaults, config.labels, health))
}

/// Returns the health check of a config: docker's own field, not in OCI. Leaves out an invalid check.
fn health(check: serde_json::Value) -> Option<Healthcheck> {
    go_json::of_value(check)
        .inspect_err(|error| log::warn!("the image's check of health: {error}"))
        .ok()
}
