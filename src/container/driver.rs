//! Who stacks the layers of a root: the kernel's overlay where it serves, else our own, else nobody.

use std::path::Path;

use crate::error::{Context, Result};
use crate::host::{fuse, overlay};
use crate::ids::IdMaps;
use crate::spec::{Options, Stacking, StorageDriver};
use crate::userns::{Base, Writer};

/// What `--storage-driver` asks for, else the first that serves. `maps`: the container's, to the host.
pub fn choose(options: &Options, base: &Base, maps: &IdMaps, store: &Path) -> Result<Stacking> {
    // With one ID, every file is of that one.
    let has_others = base.writer != Writer::Itself;
    let idmapped = has_others && maps != &base.maps;
    let driver = match options.storage_driver {
        Some(StorageDriver::Fuse) => {
            fuse::usable().context(|| "--storage-driver fuse")?;
            StorageDriver::Fuse
        }
        Some(asked) => asked,
        None => first_that_serves(idmapped, store)?,
    };
    Ok(Stacking { driver, idmapped })
}

/// Notes that the kernel's overlay serves: it is tried once a boot.
pub fn remember(stacking: &Stacking, store: &Path) {
    if stacking.driver == StorageDriver::Overlay && !overlay::is_noted(store) {
        overlay::note(store);
    }
}

fn first_that_serves(idmapped: bool, store: &Path) -> Result<StorageDriver> {
    if idmapped {
        // Only ours can show a root's files as the container's own IDs.
        match fuse::usable() {
            Ok(()) => return Ok(StorageDriver::Fuse),
            Err(error) => log::warn!("files of the image have other owners inside: {error}"),
        }
    }
    let Err(overlay) = overlay::serves(store) else { return Ok(StorageDriver::Overlay) };
    match fuse::usable() {
        Ok(()) => {
            log::info!("no kernel overlay here ({overlay}): usnea's own instead");
            Ok(StorageDriver::Fuse)
        }
        Err(fuse) => {
            log::info!("no kernel overlay here ({overlay}), and no FUSE ({fuse}): copying");
            Ok(StorageDriver::Copy)
        }
    }
}
