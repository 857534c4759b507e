//! Locked folders `tmp/run-ID` of the store: of a disposable container, of a container that is being created, and of
//! one that is being removed. The lock ends with its process. The next command removes the unlocked folders of killed
//! commands.
//!
//! Files in such a folder may belong to subordinate IDs: those are removed in the base user namespace.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::hint;
use crate::userns::{self, Base};

/// Prefix of the folders in `tmp` that [`sweep`] removes.
pub const PREFIX: &str = "run-";

/// Returns the path of the folder of container `id`.
pub fn path(store: &Path, id: &str) -> PathBuf {
    store.join("tmp").join(format!("{PREFIX}{id}"))
}

/// Locked folder, new or about to be removed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder, and `layers` in it.
    pub fn make(path: &Path, layers: &[PathBuf]) -> Result<Self> {
        let folder = Self { path: path.to_owned(), lock: locked(path)? };
        match fill(layers) {
            Ok(()) => Ok(folder),
            Err(error) => {
                let _ = files::remove_held(path, folder.lock);
                Err(error)
            }
        }
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the folder to its final path `place`.
    pub fn keep(&self, place: &Path) -> Result<()> {
        std::fs::rename(&self.path, place).context(|| format!("cannot make {}", place.display()))
    }

    /// Returns the lock of the folder, which outlives this value.
    pub fn into_lock(self) -> File {
        self.lock
    }

    /// Moves the folder `place`, whose lock is `lock`, to `tmp` for its removal.
    pub fn move_to_tmp(store: &Path, place: &Path, lock: File) -> Result<Self> {
        let path = path(store, &files::random_name(""));
        std::fs::rename(place, &path).context(|| format!("cannot remove {}", place.display()))?;
        Ok(Self { path, lock })
    }

    /// Removes the folder with its contents.
    pub fn remove(self, base: &Base) -> Result<()> {
        remove_held(&self.path, self.lock, base)
            .context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// Makes the folder and locks it. Tries again if [`sweep`] of another command removes the folder before it is locked.
fn locked(path: &Path) -> Result<File> {
    let phrase = || format!("cannot make {}", path.display());
    loop {
        DirBuilder::new().mode(0o700).create(path).map_err(full).context(phrase)?;
        if let Some(lock) = files::hold(path, Lock::Exclusive).context(phrase)? {
            return Ok(lock);
        }
    }
}

/// Makes the folders that layers need.
pub fn fill(layers: &[PathBuf]) -> Result<()> {
    for layer in layers {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(layer);
        made.map_err(full).context(|| format!("cannot make {}", layer.display()))?;
    }
    Ok(())
}

fn full(error: io::Error) -> Error {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let error = Error::from(error);
    if is_full {
        return error.hint(hint::MORE_SPACE_FOR_CONTAINERS);
    }
    error
}

/// Removes a folder, including files of subordinate IDs.
pub fn remove(path: &Path, base: &Base) -> Result<()> {
    match files::remove_tree(path) {
        // A folder of a subordinate ID: only that ID may empty it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            userns::in_base(base, || Ok(files::remove_tree(path)?))
        }
        answer => Ok(answer?),
    }
}

/// Removes a locked folder, and releases its lock.
fn remove_held(path: &Path, lock: File, base: &Base) -> Result<()> {
    files::remove_unlocked(path, lock, || remove(path, base))
}

/// Removes the folders of killed commands. Ignores failures: the next command tries again.
pub fn sweep(store: &Path, base: &Base) {
    let Ok(entries) = std::fs::read_dir(store.join("tmp")) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        let Some(lock) = files::try_exclusive(&path) else { continue };
        let removed = remove_held(&path, lock, base);
        log::debug!("removed {}, left by a killed command: {removed:?}", path.display());
    }
}
