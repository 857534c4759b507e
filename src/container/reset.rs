//! `usnea system reset`: removes all containers, then the contents of the store. Keeps files that are not usnea's, in
//! case `--root` names a wrong folder.

use std::path::{Path, PathBuf};

use super::folder;
use super::stores::Stores;
use crate::config;
use crate::container::Usnea;
use crate::container::{self, RemoveOptions};
use crate::error::{Context, Error, Result};
use crate::files::{self, LockAttempt};
use crate::hint;
use crate::image::store::PruneScope;
use crate::userns;

/// Files and folders of usnea in a store. Locks and images.json are the last, so that an interrupted reset can be
/// repeated.
const OURS: [&str; 23] = [
    "containers",
    "pods",
    "volumes",
    "networks",
    "events",
    "events.1",
    "secrets",
    "names",
    "ranges",
    "layers",
    "link",
    "host",
    "downloads",
    "blobs",
    "run",
    "tmp",
    "overlay-serves",
    "images.json.copy",
    "manifests.json",
    "whiteouts",
    "images.json",
    "images.json.damaged",
    "names.lock",
];

/// Folders whose entries are locked while in use.
const HELD: [&str; 6] = ["blobs/sha256", "layers", "tmp", "ranges", "names", "networks"];

/// Removes the store, including running containers, and the images of the node cache. Returns the files that are not usnea's, which stay. Errors: another
/// user can replace the store's path, and so lead the removal to other files of ours.
pub fn reset(usnea: &Usnea) -> Result<Vec<PathBuf>> {
    let store = usnea.store()?;
    if !store.exists() {
        return Ok(Vec::new());
    }
    config::require_sole_control(store).context(|| format!("cannot remove {}", store.display()))?;
    for id in container::ids(store)? {
        let how = RemoveOptions { force: true, ..RemoveOptions::default() };
        container::remove(usnea, &id, how)
            .context(|| format!("container {}", crate::object_id::short(&id)))?;
    }
    if let Some(path) = held(store) {
        let text = format!("{} is in use", path.display());
        return Err(Error::conflict(text).hint(hint::END_COMMANDS));
    }
    let base = usnea.base()?;
    for path in ours(store) {
        let removed = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => folder::remove(&path, base),
            Ok(_) => std::fs::remove_file(&path).map_err(Error::from),
            Err(_) => Ok(()),
        };
        removed.context(|| format!("cannot remove {}", path.display()))?;
    }
    empty_cache(usnea)?;
    let left = std::fs::read_dir(store).into_iter().flatten().flatten();
    let left: Vec<PathBuf> = left.map(|entry| entry.path()).collect();
    if left.is_empty() {
        std::fs::remove_dir(store).context(|| format!("cannot remove {}", store.display()))?;
    }
    Ok(left)
}

/// Removes all images of the node cache but those that other stores' containers use.
fn empty_cache(usnea: &Usnea) -> Result<()> {
    let existing = Stores::look(usnea.store()?, usnea.settings()?);
    let Some(cache) = existing.cache().filter(|cache| cache.store.is_writable()) else {
        return Ok(());
    };
    let prune = || cache.store.prune(PruneScope::Unused, |_| Ok(true));
    let pruned = userns::in_base(usnea.base()?, prune)
        .context(|| format!("cannot empty {}", cache.store.root().display()))?;
    pruned.failures.into_iter().next().map_or(Ok(()), Err)
}

fn ours(store: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = OURS.iter().map(|name| store.join(name)).collect();
    let locks = std::fs::read_dir(store).into_iter().flatten().flatten();
    let locks = locks.filter(|entry| entry.file_name().to_string_lossy().ends_with(".lock"));
    all.extend(locks.map(|entry| entry.path()).filter(|path| path.is_file()));
    all
}

/// Returns an entry that another process has locked.
fn held(store: &Path) -> Option<PathBuf> {
    let entries = HELD.iter().filter_map(|name| std::fs::read_dir(store.join(name)).ok()).flatten();
    let is_held = |path: &PathBuf| {
        // The symbolic link of a name leads to a container, which is removed already.
        let metadata = path.symlink_metadata();
        metadata.is_ok_and(|metadata| !metadata.is_symlink())
            && matches!(files::grip(path), Ok(LockAttempt::Held))
    };
    entries.flatten().map(|entry| entry.path()).find(is_held)
}
