//! `usnea rmi`, `tag`, `untag`, `image prune`, `system df` and `check`: operations on the store, in the base user
//! namespace.

use super::filter::{ImageFilter, ImageFilters, ImagePlace};
use super::{known, log_image_event, name_typed};
use crate::config::LayerLimits;
use crate::container::Usnea;
use crate::container::folder;
use crate::container::pruned::Pruned;
use crate::container::stores::{self, Stores, given_name, meanings};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
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

/// Returns the image that `text` names, and its store. Errors: no such image, or only in a read-only store.
fn changeable(stores: &Stores, text: &str) -> Result<(Store, ImageRecord)> {
    let (store, image) = known(stores, text)?;
    if !stores.is_changeable(&store) {
        fail!(Refused: "image '{}' is in {}, which is not yours to change",
            text.escape_debug(),
            store.root().display()
        );
    }
    Ok((store, image))
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

/// Returns the IDs of all images of the node cache and the user's own store, each once.
pub fn ids(usnea: &Usnea) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for store in usnea.images()?.changeable() {
        let images = store.images()?;
        ids.extend(images.all().iter().map(|image| image.config.hex().to_owned()));
    }
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
    let (first, image) = changeable(stores, text)?;
    let target = target(text, &image, registries);
    let mut removal = remove_in(&first, base, &target, force)?;
    // The same image may be in the node cache and in the user's own store: as a copy without names, or with the name.
    for store in stores.changeable().filter(|store| store.root() != first.root()) {
        if let Some(target) = same_in(store, &image, &target, removal.deleted.as_ref())? {
            match remove_in(store, base, &target, force) {
                Ok(one) => {
                    removal.untagged.extend(one.untagged);
                    removal.bytes += one.bytes;
                }
                // The copy goes when it is not used any more.
                Err(error) if error.kind() == ErrorKind::Conflict => log::info!("{error}"),
                Err(error) => return Err(error),
            }
        }
    }
    for name in &removal.untagged {
        log_image_event(stores, &image.config, "untag", Some(name.to_string()));
    }
    if let Some(id) = &removal.deleted {
        log_image_event(stores, id, "delete", Some(text.to_owned()));
    }
    Ok(removal)
}

fn remove_in(
    store: &Store,
    base: &Base,
    target: &RemovalTarget,
    force: ForceRemoval,
) -> Result<ImageRemoval> {
    userns::in_base(base, || {
        let removal = store.remove(target, force)?;
        store.sweep();
        Ok(removal)
    })
}

/// Returns what `target`, which is `image` or one of its names, means in another store; `None`: nothing. `deleted`: ID of
/// the image if it was removed with its last name.
fn same_in(
    store: &Store,
    image: &ImageRecord,
    target: &RemovalTarget,
    deleted: Option<&Digest>,
) -> Result<Option<RemovalTarget>> {
    let images = store.images()?;
    let Some(same) = images.of_config(&image.config).next() else { return Ok(None) };
    let is_copy = same.names.is_empty() && deleted.is_some();
    Ok(match target {
        RemovalTarget::Name(name) if !is_copy => images.named(name).map(|_| target.clone()),
        _ => Some(RemovalTarget::Image(same.manifest.clone())),
    })
}

/// Adds the names `texts` to the image `source`.
pub fn tag(usnea: &Usnea, source: &str, texts: &[String]) -> Result<()> {
    let stores = usnea.images()?;
    let (store, image) = changeable(stores, source)?;
    let names = texts.iter().map(|text| given_name(&text.parse()?));
    let names = names.collect::<Result<Vec<_>>>()?;
    store.tag(&image.manifest, &names)?;
    stores.take_names(&store, &names);
    for name in &names {
        log_image_event(stores, &image.config, "tag", Some(name.to_string()));
    }
    Ok(())
}

/// Removes the names `texts` from the image `source`; without any, removes all its names.
pub fn untag(usnea: &Usnea, source: &str, texts: &[String]) -> Result<()> {
    let stores = usnea.images()?;
    let ((store, image), registries) = (changeable(stores, source)?, Registries::load()?);
    let name = |text: &String| match name_typed(text, &image, &registries) {
        Some(name) => Ok(name),
        None => {
            fail!(NotFound: "image {} is not called '{}'", image.config.short(), text.escape_debug())
        }
    };
    let names = texts.iter().map(name).collect::<Result<Vec<_>>>()?;
    for name in store.untag(&image.manifest, &names)? {
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
    let mut pruned = Pruned::default();
    for store in stores.changeable() {
        let PruneResult { images, bytes, failures, .. } = userns::in_base(base, || {
            store.prune(which, |image| filters.pass(store, image, ImagePlace::Own))
        })?;
        pruned.removed.extend(images);
        pruned.bytes += bytes;
        pruned.failures.extend(failures);
    }
    Ok(pruned)
}

/// Returns the disk usage of the user's own store and the node cache, each image by its store.
pub fn usage(usnea: &Usnea) -> Result<StoreUsage> {
    let mut usage = StoreUsage::default();
    for store in usnea.images()?.changeable() {
        usage.add(userns::in_base(usnea.base()?, || store.usage())?);
    }
    Ok(usage)
}

/// Checks the node cache and the user's own store for faults, and repairs them as `repair` says.
pub fn check(usnea: &Usnea, repair: Repair, depth: CheckDepth) -> Result<Vec<StoreFault>> {
    let base = usnea.base()?;
    let mut faults = Vec::new();
    for store in usnea.images()?.changeable() {
        let owners = stores::owners(base, store);
        faults.extend(userns::in_base(base, || {
            store.check(Some(CheckSettings {
                repair,
                depth,
                owners: &owners,
                limits: &LayerLimits::NONE,
            }))
        })?);
    }
    Ok(faults)
}
