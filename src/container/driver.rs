//! Choice of the storage driver that stacks the layers of a root: the kernel's overlayfs if usable, else usnea's FUSE
//! overlay, else copying.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::image_root::ImageRoot;
use crate::error::{Context, Error, Result, Setting};
use crate::host::overlay::{self, OverlayEvidence};
use crate::host::scratch::ScratchFolder;
use crate::host::{fuse, idmap};
use crate::ids::{ContainerIds, HostIds, Id, IdMaps};
use crate::layer::LowerLayer;
use crate::layer::override_stat::Records;
use crate::spec::{ContainerOptions, Stacking, StorageDriver};
use crate::userns::{Base, Writer};

/// Way out where the kernel's overlay cannot show files with the container's own IDs.
const OWN_IDS: &str = "fuse and copy give them the container's own IDs; leave the flag out, or the map of IDs as it is";

/// Chosen storage driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverChoice {
    /// Driver, and its settings for the spec.
    pub stacking: Stacking,
    /// True if a mount of the kernel's overlayfs was just tried and succeeded: the store does not record that yet.
    was_tried: bool,
}

/// Returns the driver of `--storage-driver`, else the first usable one. `maps`: those of the container. Errors: the
/// requested driver is not usable.
pub fn choose(
    options: &ContainerOptions,
    base: &Base,
    maps: &IdMaps<ContainerIds, HostIds>,
    root: &ImageRoot,
    store: &Path,
) -> Result<DriverChoice> {
    let ImageRoot { is_shared, is_foreign, whiteouts, .. } = *root;
    let idmapped = has_own_ids(base, maps);
    let (driver, was_tried) = match options.storage_driver {
        Some(StorageDriver::Fuse) => {
            fuse::usable().context(|| Setting::StorageDriver.with("fuse"))?;
            (StorageDriver::Fuse, false)
        }
        Some(StorageDriver::Overlay) => {
            if !whiteouts.are_read_by_kernel() {
                return Err(Error::invalid(
                    "the store's file system has no whiteouts that the kernel's overlay reads",
                )
                .within(Setting::StorageDriver.with("overlay"))
                    .hint("leave the flag out: fuse and copy read those that the image's layers have here"));
            }
            if idmapped && root.has_image_layer() {
                return Err(Error::invalid(
                    "files of a single-file image would have other owners inside",
                )
                .within(Setting::StorageDriver.with("overlay"))
                .hint(OWN_IDS));
            }
            if idmapped && let Err(error) = idmap::serves(store) {
                let text = format!("files of the image would have other owners inside: {error}");
                return Err(Error::invalid(text)
                    .within(Setting::StorageDriver.with("overlay"))
                    .hint(OWN_IDS));
            }
            let tried = Trial { store, root }.run();
            let known = tried
                .context(|| Setting::StorageDriver.with("overlay"))
                .hint(|| "leave the flag out: fuse or copy can be used instead")?;
            if is_shared {
                log::warn!(
                    "{} overlay: files of a shared store can be read and not changed, but for its owner: the kernel does not know whose they are",
                    Setting::StorageDriver
                );
            }
            (StorageDriver::Overlay, known == OverlayEvidence::Tried)
        }
        Some(StorageDriver::Copy) => (copying(root)?, false),
        None => first_usable(base, maps, root, store)?,
    };
    if !options.read_only {
        warn_of_owner(base, root, driver);
    }
    let records = if is_shared { Records::InLowers } else { Records::Nowhere };
    let (real_lowers, upper) = (root.overlays.lowers.len(), root.upper_owner());
    let stacking =
        Stacking { driver, idmapped, records, whiteouts, is_foreign, real_lowers, upper };
    Ok(DriverChoice { stacking, was_tried })
}

/// Warns of a root directory whose owner has no ID in base: an overlay cannot copy such files up, nor remove them
/// (EOVERFLOW, EPERM). usnea's own overlay can if there are several IDs.
fn warn_of_owner(base: &Base, root: &ImageRoot, driver: StorageDriver) {
    let has_one_id = base.writer == Writer::Itself;
    let serves = match driver {
        StorageDriver::Copy => true,
        StorageDriver::Fuse => !has_one_id,
        StorageDriver::Overlay => false,
    };
    let has_id = |layer: &LowerLayer| {
        // The owner of a file with an image means nothing for those of the files in it.
        let LowerLayer::Folder(folder) = layer else { return true };
        let owner = folder.metadata().map(|metadata| metadata.uid());
        owner.map_or(true, |uid| base.maps.uids.inside_of(Id::new(uid)).is_some())
    };
    // Owners of a shared store's files are in records.
    if serves || root.is_shared || root.is_foreign || root.layers.iter().all(has_id) {
        return;
    }
    let other = if has_one_id { "copy" } else { "fuse" };
    log::warn!(
        "the root belongs to another user: its files cannot be changed or removed in the container; {} {other} can do that",
        Setting::StorageDriver
    );
}

impl DriverChoice {
    /// Records in the store that the kernel's overlayfs is usable, if a trial has just shown that. It is tried once per
    /// boot.
    pub fn remember(self, store: &Path) {
        if self.was_tried {
            overlay::note(store);
        }
    }
}

/// True if the container maps IDs differently from base. With a single ID all files belong to that ID, so the
/// difference does not matter.
fn has_own_ids(base: &Base, maps: &IdMaps<ContainerIds, HostIds>) -> bool {
    base.writer != Writer::Itself && maps != &base.maps.clone().as_containers()
}

/// Returns the first usable driver, and true if the kernel's overlayfs was tried.
fn first_usable(
    base: &Base,
    maps: &IdMaps<ContainerIds, HostIds>,
    root: &ImageRoot,
    store: &Path,
) -> Result<(StorageDriver, bool)> {
    let why_not = match has_own_ids(base, maps) {
        _ if !root.whiteouts.are_read_by_kernel() => {
            Err(Error::new("the store's file system has no whiteouts that it reads"))
        }
        _ if root.is_shared => {
            Err(Error::new("owners of a shared store's files are in records alone"))
        }
        true if root.has_image_layer() => {
            Err(Error::new("owners in a single-file image are moved by usnea's own overlay"))
        }
        // Showing files with the container's own IDs needs ID-mapped mounts, and those need root of the host.
        true => idmap::serves(store),
        false => Ok(()),
    };
    if let Err(error) = why_not {
        log::info!("no kernel overlay: {error}");
        return Ok(match fuse::usable() {
            Ok(()) => (StorageDriver::Fuse, false),
            Err(error) => {
                let driver = copying(root)?;
                log::warn!(
                    "the image is copied, since usnea's own overlay cannot be used: {error}"
                );
                (driver, false)
            }
        });
    }
    let (driver, found) = of_trial(Trial { store, root }.run());
    match driver {
        StorageDriver::Overlay => {}
        StorageDriver::Fuse => log::info!("{}", found.text),
        StorageDriver::Copy => {
            log::info!("{}", found.text);
            copying(root)?;
        }
    }
    Ok((driver, found.was_tried))
}

/// Returns the driver that copies layers. Errors: the writable layer is an overlay of the user, which has changes alone.
fn copying(root: &ImageRoot) -> Result<StorageDriver> {
    let Some(folder) = &root.overlays.written else { return Ok(StorageDriver::Copy) };
    let error = "the image would be copied into it, since neither the kernel's overlay nor usnea's own is used";
    Err(Error::invalid(error)
        .within(Setting::Overlay.with(folder.display()))
        .hint("'usnea doctor' tells how to get one of them"))
}

/// Trial of the kernel's overlayfs where the writable layer is.
struct Trial<'a> {
    store: &'a Path,
    root: &'a ImageRoot,
}

impl Trial<'_> {
    /// Tries the overlay of the user on its own file system. Errors: the step that fails.
    fn run(&self) -> Result<OverlayEvidence> {
        let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
        match &self.root.overlays.written {
            Some(folder) if device(folder) != device(self.store) => {
                let phrase = || format!("cannot try the kernel overlay in {}", folder.display());
                overlay::try_in(&ScratchFolder::new(folder).context(phrase)?)?;
                // Known for that folder, not for the store.
                Ok(OverlayEvidence::Noted)
            }
            _ => overlay::serves(self.store),
        }
    }
}

/// Returns the default driver of this machine, and the reason for that choice.
pub fn default_driver(store: &Path) -> (StorageDriver, String) {
    let (driver, found) = of_trial(overlay::serves(store));
    let is_idmapped = driver == StorageDriver::Overlay && idmap::serves(store).is_ok();
    let own = if is_idmapped { ", over idmapped layers too" } else { "" };
    (driver, found.text + own)
}

/// Reason for the choice of a driver.
struct DriverSearch {
    text: String,
    /// True if a mount of the kernel's overlayfs was just tried and succeeded.
    was_tried: bool,
}

/// Returns the first usable driver after a trial of the kernel's overlayfs.
fn of_trial(tried: Result<OverlayEvidence>) -> (StorageDriver, DriverSearch) {
    let found = |text: String| DriverSearch { text, was_tried: false };
    let overlay = match tried {
        Ok(known) => {
            let text = "the kernel's overlay serves ordinary users here".to_owned();
            return (
                StorageDriver::Overlay,
                DriverSearch { text, was_tried: known == OverlayEvidence::Tried },
            );
        }
        Err(error) => error,
    };
    match fuse::usable() {
        Ok(()) => {
            let text = format!("no kernel overlay here ({overlay}): usnea's own instead");
            (StorageDriver::Fuse, found(text))
        }
        Err(fuse) => {
            let text = format!("no kernel overlay here ({overlay}), and no FUSE ({fuse}): copying");
            (StorageDriver::Copy, found(text))
        }
    }
}
