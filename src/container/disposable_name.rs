//! Names of disposable containers: a locked file reserves a name as long as the container's parent lives.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result, Setting};

/// Name that is reserved until this value is dropped.
#[derive(Debug)]
pub struct ReservedName {
    path: PathBuf,
    _lock: File,
}

/// Reserves `name`. A valid container name is a valid file name. Errors: another container has this name.
pub fn reserve(store: &Path, name: &str) -> Result<ReservedName> {
    let folder = crate::config::open_private(&store.join("names"))?;
    let path = folder.join(name);
    let phrase = || Setting::Name.with(name);
    loop {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context(phrase)?;
        if file.try_lock().is_err() {
            return Err(Error::conflict("another container has this name")).context(phrase);
        }
        // The last holder may have removed the file between the open and the lock: then tries again.
        let open = file.metadata().context(phrase)?.ino();
        if path.metadata().is_ok_and(|now| now.ino() == open) {
            return Ok(ReservedName { path, _lock: file });
        }
    }
}

impl Drop for ReservedName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
