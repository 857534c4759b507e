//! `usnea volume rm` and `prune`, and the removal of a container's own volumes.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::filter::VolumeFilter;
use super::record::{all, find, folder as volumes};
use super::{size, usage};
use crate::container::Usnea;
use crate::container::folder::{self, Folder};
use crate::container::pruned::Pruned;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::files;
use crate::hint;
use crate::monitor::events;
use crate::spec::VolumeName;

/// Removes a volume with its files. Errors: containers mount the volume; names them.
pub fn remove(usnea: &Usnea, name: &VolumeName) -> Result<()> {
    let store = usnea.store()?;
    let place = volumes(store).join(name.as_str());
    if !place.exists() {
        return Ok(());
    }
    let lock = lock_alone(&place);
    // The users are listed after the lock: a command that makes a container with the volume has that lock until the
    // container can be found.
    let users = usage::users(store, name)?;
    if !users.is_empty() {
        let names = users.join(", ");
        return Err(Error::conflict(format!("volume {name} is in use by {names}"))
            .hint(hint::remove_users(&users)));
    }
    let Some(lock) = lock else {
        // Another command has removed the volume meanwhile.
        if !place.exists() {
            return Ok(());
        }
        return Err(Error::conflict(format!("volume {name} is in use by a container that runs"))
            .hint("stop that first"));
    };
    let base = usnea.base()?;
    let removed = Folder::move_to_tmp(store, &place, lock)?.remove(base);
    folder::sweep(store, base);
    removed?;
    events::of_other(store, "volume", name.as_str(), "destroy", &[]);
    Ok(())
}

/// Locks a volume's folder against all others. Waits a little for other removals, which hold the lock for a moment.
/// `None`: a container uses the volume, or it is gone.
fn lock_alone(place: &Path) -> Option<File> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lock = files::try_exclusive(place);
        if lock.is_some() || !place.exists() || Instant::now() >= deadline {
            return lock;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes those of a removed container's volumes that are anonymous and unused. Warns if a removal fails.
pub fn remove_anonymous(usnea: &Usnea, names: &[VolumeName]) {
    let Ok(store) = usnea.store() else { return };
    for name in names {
        match find(store, name) {
            Ok(Some(volume)) if volume.anonymous => {}
            _ => continue,
        }
        // Another container may mount the volume by its name.
        if usage::is_used(store, name).unwrap_or(true) {
            continue;
        }
        if let Err(error) = remove(usnea, name) {
            log::warn!("{error}");
        }
    }
}

/// Removes the volumes that match the filters and that no container mounts. Returns their names.
pub fn prune(usnea: &Usnea, filters: &[VolumeFilter]) -> Result<Pruned<VolumeName>> {
    let store = usnea.store()?;
    let mut pruned = Pruned::default();
    folder::sweep(store, usnea.base()?);
    for volume in all(store)? {
        if !VolumeFilter::fit(filters, &volume, store)? || usage::is_used(store, &volume.name)? {
            continue;
        }
        let bytes = size::of(usnea, store, std::slice::from_ref(&volume))?;
        match remove(usnea, &volume.name) {
            Ok(()) => {
                pruned.removed.push(volume.name);
                pruned.bytes += bytes.iter().sum::<u64>();
            }
            // Another command has begun to use the volume.
            Err(error) if error.kind() == ErrorKind::Conflict => log::debug!("{error}"),
            Err(error) => {
                let volume = format!("volume {}", volume.name);
                pruned.failures.extend(Err::<(), _>(error).context(|| volume).err());
            }
        }
    }
    Ok(pruned)
}
