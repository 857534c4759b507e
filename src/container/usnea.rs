//! House value: the store, the stores of images and the user's base namespace, for all verbs of a command.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::stores::Stores;
use crate::config::{self, Settings};
use crate::engine::CallerStreams;
use crate::error::Result;
use crate::userns::Base;

/// Store of a user with all that depends on it: first parameter of every verb. Each part is determined at its first
/// use, and once: `usnea version` needs no home, `usnea ps` no user namespace.
#[derive(Debug, Default)]
pub struct Usnea {
    root: Option<PathBuf>,
    store: OnceLock<PathBuf>,
    images: OnceLock<Stores>,
    existing_images: OnceLock<Stores>,
    base: OnceLock<Base>,
    settings: OnceLock<Settings>,
    streams: Option<CallerStreams<'static>>,
}

impl Usnea {
    /// Names the store: its folder, or `None` for `$USNEA_ROOT` or the folder in the user's home. Reads nothing.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root, ..Self::default() }
    }

    /// Folder that the command line names; `None`: it names none.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Adds the standard streams of this process: a container with the passthrough log driver inherits them.
    pub fn with_streams(self, streams: CallerStreams<'static>) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Standard streams of this process; `None`: they are not for containers.
    pub(super) fn caller_streams(&self) -> Option<CallerStreams<'static>> {
        self.streams
    }

    /// Absolute path of the store, which may not exist yet. Errors: no home is known.
    pub fn store(&self) -> Result<&Path> {
        once(&self.store, || config::store_path(self.root.as_deref())).map(PathBuf::as_path)
    }

    /// Makes the store and its folder for temporary files, if missing. Errors: a store of another user.
    pub fn make_store(&self) -> Result<&Path> {
        let store = self.store()?;
        config::open_private(store)?;
        config::open_private(&store.join("tmp"))?;
        Ok(store)
    }

    /// Stores of images: our own, made if missing, and those of the settings.
    pub fn images(&self) -> Result<&Stores> {
        once(&self.images, || Stores::open(self.store()?, self.settings()?))
    }

    /// Stores of images, for reading alone: makes nothing.
    pub fn existing_images(&self) -> Result<&Stores> {
        once(&self.existing_images, || Ok(Stores::look(self.store()?, self.settings()?)))
    }

    /// Settings of usnea.toml. Errors: an unreadable file, or an unknown key.
    pub fn settings(&self) -> Result<&Settings> {
        once(&self.settings, Settings::load)
    }

    /// Base user namespace of the calling user.
    pub fn base(&self) -> Result<&Base> {
        once(&self.base, Base::of_user)
    }
}

/// Returns the value of `cell`, made at the first use that succeeds.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
