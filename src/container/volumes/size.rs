//! Disk space of volumes.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::record::{StoredVolume, all};
use super::usage as users;
use crate::container::Usnea;
use crate::error::Result;
use crate::image::store::UsageTotals;
use crate::userns;

/// Returns the disk space of each volume, in bytes. Runs in the base user namespace, where all folders are readable.
pub(super) fn of(usnea: &Usnea, store: &Path, volumes: &[StoredVolume]) -> Result<Vec<u64>> {
    let folders: Vec<PathBuf> = volumes.iter().map(|volume| volume.data(store)).collect();
    userns::in_base(usnea.base()?, || Ok(folders.iter().map(|folder| size(folder)).collect()))
}

fn size(folder: &Path) -> u64 {
    let mut seen = HashSet::new();
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    let all = entries.filter_map(|entry| entry.metadata().ok());
    // A file with several hard links counts once.
    let each = all.filter(|file| file.nlink() < 2 || seen.insert((file.dev(), file.ino())));
    each.map(|file| file.blocks() * 512).sum()
}

/// Returns the disk space of all volumes, and of those that no container mounts.
pub fn usage(usnea: &Usnea) -> Result<UsageTotals> {
    let store = usnea.store()?;
    let volumes = all(store)?;
    if volumes.is_empty() {
        return Ok(UsageTotals::default());
    }
    let mut part = UsageTotals::default();
    for (volume, size) in volumes.iter().zip(of(usnea, store, &volumes)?) {
        let is_used = users::is_used(store, &volume.name)?;
        part.count += 1;
        part.active += u64::from(is_used);
        part.size += size;
        part.reclaimable += if is_used { 0 } else { size };
    }
    Ok(part)
}
