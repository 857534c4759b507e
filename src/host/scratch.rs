//! A folder to try things in, on the store's own file system, removed whatever happens.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::filesystem::nearest_existing;

/// The folder; dropping it removes it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in the store's `tmp/`. The store is not made for it: where it, or its `tmp/`, is missing, the nearest
    /// folder above will do. Errors: mkdir(2), such as EROFS.
    pub fn new(store: &Path) -> io::Result<Self> {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name = format!(".doctor-{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
        let folder = nearest_existing(&store.join("tmp")).join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder in it.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        DirBuilder::new().create(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Empty, it goes even where no descriptor is left to list it with.
        if std::fs::remove_dir(&self.0).is_ok() {
            return;
        }
        // An overlay makes work/work with mode 000, which could not even be listed.
        let _ = std::fs::set_permissions(self.0.join("work/work"), Permissions::from_mode(0o700));
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_behind_not_even_what_an_overlay_left() {
        let store = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&store.path().join("not/there/yet")).unwrap();
        let work = scratch.folder("work").unwrap();
        DirBuilder::new().mode(0o000).create(work.join("work")).unwrap();
        drop(scratch);
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    }
}
