//! `usnea rmi`, `tag`, `untag`, `image prune`, `system df` and `check`: operations on the store, in the base user
//! namespace.

use super::filter::{ImageFilter, ImageFilters, ImagePlace};
use super::{known, log_image_event, name_typed};
use crate::config::LayerLimits;
use crate::container::Usnea;
use crate::container::folder;
use crate::container::pruned::Pruned;
use crate::container::stores::{self, Stores, given_name, meanings};
use crate::error::{Error, Result};
use crate::fail;
use crate::image::reference::{Reference, TypedReference};
use crate::image::registries_conf::Registries;
use crate::image::store::{
    CheckDepth, CheckSettings, ForceRemoval, ImageRecord, ImageRemoval, PruneResult, PruneScope,
    RemovalTarget, Repair, Store, StoreFault, StoreUsage,
};
use crate::userns::{self, Base};

/// Rule for images that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Missing images are an error.
    Fails,
    /// Missing images are ignored.
    Ignored,
}

/// Returns the image that `text` names, in the user's own store. Errors: no such image, or only in a read-only store.
fn own(stores: &Stores, text: &str) -> Result<ImageRecord> {
    let (store, image) = known(stores, text)?;
    if store.root() != stores.own().root() {
        fail!(Refused: "image '{}' is in {}, which is not yours to change",
            text.escape_debug(),
            store.root().display()
        );
    }
    Ok(image)
}

/// Returns what `text` means for a removal: one name of `image`, or the whole image.
fn target(text: &str, image: &ImageRecord, registries: &Registries) -> RemovalTarget {
    if let Some(name) = name_typed(text, image, registries) {
        return RemovalTarget::Name(name);
    }
    let typed = text.parse::<TypedReference>().ok().filter(|typed| typed.digest.is_some());
    let names = typed.map(|typed| meanings(&typed, registries)).unwrap_or_default();
    let named = |one: &&Reference| {
        names.iter().any(|name| one.digest == name.digest && one.name() == name.name())
    };
    match image.digests.iter().find(named) {
        Some(name) => RemovalTarget::Name(name.clone()),
        None => RemovalTarget::Image(image.manifest.clone()),
    }
}

/// Returns the IDs of all images of the user's own store, each once.
pub fn ids(usnea: &Usnea) -> Result<Vec<String>> {
    let stores = usnea.images()?;
    let images = stores.own().images()?;
    let mut ids: Vec<String> =
        images.all().iter().map(|image| image.config.hex().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Removes the images or names `texts` one by one; continues after failures. Passes each result to `report` at once.
/// Returns the number of failures.
pub fn remove(
    usnea: &Usnea,
    texts: &[String],
    force: ForceRemoval,
    missing: Missing,
    report: &mut dyn FnMut(Result<&ImageRemoval, &Error>),
) -> Result<usize> {
    let stores = usnea.images()?;
    let (base, registries) = (usnea.base()?, Registries::load()?);
    let mut failed = 0;
    for text in texts {
        if missing == Missing::Ignored && stores.find(text, &registries)?.is_none() {
            continue;
        }
        match remove_one(stores, base, &registries, text, force) {
            Ok(removal) => report(Ok(&removal)),
            // Another command removed the image first.
            Err(_) if missing == Missing::Ignored && stores.find(text, &registries)?.is_none() => {}
            Err(error) => {
                failed += 1;
                report(Err(&error));
            }
        }
    }
    Ok(failed)
}

fn remove_one(
    stores: &Stores,
    base: &Base,
    registries: &Registries,
    text: &str,
    force: ForceRemoval,
) -> Result<ImageRemoval> {
    let image = own(stores, text)?;
    let target = target(text, &image, registries);
    let removal = in_store(stores, base, |store| {
        let removal = store.remove(&target, force)?;
        store.sweep();
        Ok(removal)
    })?;
    for name in &removal.untagged {
        log_image_event(stores, &image.config, "untag", Some(name.to_string()));
    }
    if let Some(id) = &removal.deleted {
        log_image_event(stores, id, "delete", Some(text.to_owned()));
    }
    Ok(removal)
}

fn in_store<T>(stores: &Stores, base: &Base, work: impl FnOnce(&Store) -> Result<T>) -> Result<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let store = stores.own();
    userns::in_base(base, || work(store))
}

/// Adds the names `texts` to the image `source`.
pub fn tag(usnea: &Usnea, source: &str, texts: &[String]) -> Result<()> {
    let stores = usnea.images()?;
    let image = own(stores, source)?;
    let names = texts.iter().map(|text| given_name(&text.parse()?));
    let names = names.collect::<Result<Vec<_>>>()?;
    stores.own().tag(&image.manifest, &names)?;
    for name in &names {
        log_image_event(stores, &image.config, "tag", Some(name.to_string()));
    }
    Ok(())
}

/// Removes the names `texts` from the image `source`; without any, removes all its names.
pub fn untag(usnea: &Usnea, source: &str, texts: &[String]) -> Result<()> {
    let stores = usnea.images()?;
    let (image, registries) = (own(stores, source)?, Registries::load()?);
    let name = |text: &String| match name_typed(text, &image, &registries) {
        Some(name) => Ok(name),
        None => {
            fail!(NotFound: "image {} is not called '{}'", image.config.short(), text.escape_debug())
        }
    };
    let names = texts.iter().map(name).collect::<Result<Vec<_>>>()?;
    for name in stores.own().untag(&image.manifest, &names)? {
        log_image_event(stores, &image.config, "untag", Some(name.to_string()));
    }
    Ok(())
}

/// Removes unused data: images that match all filters, layers and blobs that no image needs, leftovers of killed
/// commands.
pub fn prune(
    usnea: &Usnea,
    which: PruneScope,
    filters: &[ImageFilter],
) -> Result<Pruned<ImageRemoval>> {
    let stores = usnea.images()?;
    let filters = ImageFilters::new(filters, stores)?;
    let base = usnea.base()?;
    folder::sweep(stores.own().root(), base);
    let PruneResult { images, bytes, failures, .. } = in_store(stores, base, |store| {
        store.prune(which, |image| filters.pass(store, image, ImagePlace::Own))
    })?;
    Ok(Pruned { removed: images, bytes, failures })
}

/// Returns the disk usage of the store.
pub fn usage(usnea: &Usnea) -> Result<StoreUsage> {
    let stores = usnea.images()?;
    in_store(stores, usnea.base()?, Store::usage)
}

/// Checks the store for faults, and repairs them as `repair` says.
pub fn check(usnea: &Usnea, repair: Repair, depth: CheckDepth) -> Result<Vec<StoreFault>> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let owners = stores::owners(base, stores.own());
    in_store(stores, base, |store| {
        store.check(Some(CheckSettings {
            repair,
            depth,
            owners: &owners,
            limits: &LayerLimits::NONE,
        }))
    })
}
