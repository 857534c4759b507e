//! Names of stored containers: `names/NAME` is a link to the container's folder. A command that makes or removes a link
//! holds `names.lock`; a link to a missing folder is a leftover of a kill. The name of a disposable container (`usnea
//! run --rm`) is a file with a lock on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::random_name;
use crate::config;
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock, LockAttempt};
use crate::hint;

/// Lock on all names of a store.
pub struct Names {
    folder: PathBuf,
    containers: PathBuf,
    _lock: File,
}

impl Names {
    /// Takes the lock, waiting. Holders need it for no longer than a few renames.
    pub fn lock(store: &Path) -> Result<Self> {
        let folder = config::open_private(&store.join("names"))?;
        let lock = files::lock_file(&store.join("names.lock"), Lock::Exclusive)?;
        Ok(Self {
            folder,
            containers: config::open_private(&store.join("containers"))?,
            _lock: lock,
        })
    }

    /// Assigns `name` to container `id`, whose folder may not be in place yet. Errors: another container has the name.
    pub fn give(&self, name: &str, id: &str) -> Result<()> {
        let link = self.folder.join(name);
        if let Some(holder) = self.holder(name) {
            return Err(Error::conflict(format!(
                "the name {name} is in use by container {holder}"
            ))
            .hint(hint::NAME_IN_USE));
        }
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(Path::new("../containers").join(id), &link)
            .context(|| format!("cannot give the name {name}"))
    }

    /// Assigns a free random name to container `id`.
    pub fn invent(&self, id: &str) -> Result<String> {
        for attempt in 0.. {
            let name = random_name::name(attempt)?;
            if self.holder(&name).is_none() {
                self.give(&name, id)?;
                return Ok(name);
            }
        }
        Err(Error::new("no name is left"))
    }

    /// Removes the name of container `id`, if that container has it.
    pub fn take(&self, name: &str, id: &str) {
        if target(&self.folder, name).as_deref() == Some(id) {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }

    /// Returns the holder of the name: the short ID of an existing container.
    pub fn holder(&self, name: &str) -> Option<String> {
        match target(&self.folder, name) {
            Some(id) => {
                self.containers.join(&id).is_dir().then(|| crate::object_id::short(&id).to_owned())
            }
            None => {
                let is_held = !matches!(
                    files::grip(&self.folder.join(name)),
                    Ok(LockAttempt::Ours(_) | LockAttempt::Gone)
                );
                is_held.then(|| "that is thrown away when it ends".to_owned())
            }
        }
    }
}

/// Returns the ID of the container with this name in the store, whether or not its folder exists.
pub fn find(store: &Path, name: &str) -> Option<String> {
    target(&store.join("names"), name)
}

fn target(names: &Path, name: &str) -> Option<String> {
    let target = std::fs::read_link(names.join(name)).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}
