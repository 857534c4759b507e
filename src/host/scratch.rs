//! Folder for trials, on the store's own file system, always removed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::filesystem::nearest_existing;
use crate::files::{self, Lock};

/// Prefix of the folder's name in the store's `tmp/`.
const PREFIX: &str = ".doctor-";

/// Folder for trials, removed on drop.
#[derive(Debug)]
pub struct ScratchFolder {
    path: PathBuf,
    /// Lock that keeps the sweepers of killed processes' folders away.
    lock: Option<File>,
}

impl ScratchFolder {
    /// Makes a folder in the store's `tmp/`. Does not make the store: where the store or its `tmp/` is missing, uses
    /// the nearest folder above. Errors: mkdir(2), such as EROFS.
    pub fn new(store: &Path) -> io::Result<Self> {
        sweep(store);
        let tmp = store.join("tmp");
        let folder = nearest_existing(&tmp);
        loop {
            let mut random = [0u8; 8];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
            let path = folder.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
            DirBuilder::new().mode(0o700).create(&path)?;
            // A sweep may have removed the folder before it was locked: try again.
            if let Some(lock) = files::hold(&path, Lock::Shared)? {
                return Ok(Self { path, lock: Some(lock) });
            }
        }
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder inside.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().create(&path)?;
        Ok(path)
    }
}

/// Removes folders of killed commands from the store.
pub fn sweep(store: &Path) {
    files::sweep(&store.join("tmp"), &[PREFIX]);
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // An empty folder can be removed even when no descriptor is left to list it with.
        if std::fs::remove_dir(&self.path).is_ok() {
            return;
        }
        // A sweep of another process may have the lock's file open for a moment.
        let removed = match self.lock.take() {
            Some(lock) => files::remove_held(&self.path, lock),
            None => files::remove_tree(&self.path),
        };
        if let Err(error) = removed {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_behind_not_even_what_an_overlay_left() {
        let store = tempfile::tempdir().unwrap();
        let scratch = ScratchFolder::new(&store.path().join("not/there/yet")).unwrap();
        let work = scratch.folder("work").unwrap();
        DirBuilder::new().mode(0o000).create(work.join("work")).unwrap();
        drop(scratch);
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    }
}
