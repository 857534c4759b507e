//! Names of kept containers: `names/NAME` is a link to the container's folder. Who makes or removes one holds
//! `names.lock`; a link to a folder that is not there is a leftover of a kill. A name that a container has which is thrown
//! away (`usnea run --rm`) is a file with a lock on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::words;
use crate::config;
use crate::error::{Context, Error, Result};
use crate::files::{self, Grip, Lock};

/// The lock on all names of a store.
pub struct Names {
    folder: PathBuf,
    containers: PathBuf,
    _lock: File,
}

impl Names {
    /// Takes the lock, waiting. It is held for no longer than a few renames.
    pub fn lock(store: &Path) -> Result<Self> {
        let folder = config::open_private(&store.join("names"))?;
        let lock = files::lock_file(&store.join("names.lock"), Lock::Exclusive)?;
        Ok(Self {
            folder,
            containers: config::open_private(&store.join("containers"))?,
            _lock: lock,
        })
    }

    /// Gives `name` to container `id`, whose folder may not be in place yet. Errors: another has it.
    pub fn give(&self, name: &str, id: &str) -> Result<()> {
        let link = self.folder.join(name);
        if let Some(holder) = self.holder(name) {
            return Err(Error::new(format!("the name {name} is in use by container {holder}"))
                .hint("remove or rename that container, or use --replace"));
        }
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(Path::new("../containers").join(id), &link)
            .context(|| format!("cannot give the name {name}"))
    }

    /// Gives `id` a name that nobody has.
    pub fn invent(&self, id: &str) -> Result<String> {
        for attempt in 0.. {
            let name = words::name(attempt)?;
            if self.holder(&name).is_none() {
                self.give(&name, id)?;
                return Ok(name);
            }
        }
        Err(Error::new("no name is left"))
    }

    /// Takes the name from container `id`, if it has it.
    pub fn take(&self, name: &str, id: &str) {
        if target(&self.folder, name).as_deref() == Some(id) {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }

    /// Who has the name: the short ID of a container that is there.
    pub fn holder(&self, name: &str) -> Option<String> {
        match target(&self.folder, name) {
            Some(id) => {
                self.containers.join(&id).is_dir().then(|| super::super::run::short(&id).to_owned())
            }
            None => {
                let is_held =
                    !matches!(files::grip(&self.folder.join(name)), Ok(Grip::Ours(_) | Grip::Gone));
                is_held.then(|| "that is thrown away when it ends".to_owned())
            }
        }
    }
}

/// The ID of the container that has the name in the store, whether or not it is there.
pub fn find(store: &Path, name: &str) -> Option<String> {
    target(&store.join("names"), name)
}

fn target(names: &Path, name: &str) -> Option<String> {
    let target = std::fs::read_link(names.join(name)).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}
