//! Names of stored containers and pods: `names/NAME` is a symbolic link to the folder. A command that makes or removes
//! a link holds `names.lock`. A link to a missing folder is a leftover of a killed command. The name of a disposable
//! container is a locked file instead (`disposable_name`).

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
    _lock: File,
}

/// Kind of a named object. Containers and pods share one set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKind {
    /// Container.
    Container,
    /// Pod.
    Pod,
}

impl NamedKind {
    /// Returns the folder of such objects, relative to `names`.
    fn folder(self) -> &'static Path {
        Path::new(match self {
            Self::Container => "../containers",
            Self::Pod => "../pods",
        })
    }
}

impl Names {
    /// Waits for the lock. Holders keep it only for a few renames.
    pub fn lock(store: &Path) -> Result<Self> {
        let folder = config::open_private(&store.join("names"))?;
        let lock = files::lock_file(&store.join("names.lock"), Lock::Exclusive)?;
        config::open_private(&store.join("containers"))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Assigns `name` to the container `id`, whose folder may not be in place yet. Errors: another object has the name.
    pub fn assign(&self, name: &str, id: &str) -> Result<()> {
        self.assign_to(NamedKind::Container, name, id)
    }

    /// Assigns `name` to an object as [`Self::assign`].
    pub fn assign_to(&self, kind: NamedKind, name: &str, id: &str) -> Result<()> {
        let link = self.folder.join(name);
        if let Some(holder) = self.holder(name) {
            return Err(Error::conflict(format!("the name {name} is in use by {holder}"))
                .hint(hint::NAME_IN_USE));
        }
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(kind.folder().join(id), &link)
            .context(|| format!("cannot assign the name {name}"))
    }

    /// Assigns a free random name to container `id`.
    pub fn assign_random(&self, id: &str) -> Result<String> {
        self.assign_random_to(NamedKind::Container, id)
    }

    /// Assigns a free random name to the object `id`.
    pub fn assign_random_to(&self, kind: NamedKind, id: &str) -> Result<String> {
        for attempt in 0.. {
            let name = random_name::name(attempt)?;
            if self.holder(&name).is_none() {
                self.assign_to(kind, &name, id)?;
                return Ok(name);
            }
        }
        Err(Error::new("no name is left"))
    }

    /// Removes the name of container `id`, if that container has it.
    pub fn release(&self, name: &str, id: &str) {
        if target(&self.folder, name).as_deref() == Some(id) {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }

    /// Returns the current holder of the name, for messages: kind and short ID of an existing object.
    pub fn holder(&self, name: &str) -> Option<String> {
        let link = self.folder.join(name);
        match target(&self.folder, name) {
            Some(id) => {
                let is_pods = std::fs::read_link(&link)
                    .is_ok_and(|target| target.starts_with(NamedKind::Pod.folder()));
                let kind = if is_pods { "pod" } else { "container" };
                link.is_dir().then(|| format!("{kind} {}", crate::object_id::short(&id)))
            }
            None => {
                let is_held = !matches!(
                    files::grip(&self.folder.join(name)),
                    Ok(LockAttempt::Ours(_) | LockAttempt::Gone)
                );
                is_held.then(|| "a container that is removed when it ends".to_owned())
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
