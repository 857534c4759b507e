//! Context of a command: the store, the image stores, the settings and the base user namespace.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::descriptors::check_sockets;
use super::stores::Stores;
use crate::config::{self, Settings};
use crate::engine::{CallerStreams, ListenSockets};
use crate::error::Result;
use crate::userns::Base;

/// Store of a user, and all that depends on it: the first parameter of most verbs. Each part is determined once, at its
/// first use: `usnea version` needs no home directory, `usnea ps` no user namespace.
#[derive(Debug, Default)]
pub struct Usnea {
    root: Option<PathBuf>,
    store: OnceLock<PathBuf>,
    images: OnceLock<Stores>,
    existing_images: OnceLock<Stores>,
    base: OnceLock<Base>,
    settings: OnceLock<Settings>,
    streams: Option<CallerStreams<'static>>,
    sockets: Option<ListenSockets>,
}

impl Usnea {
    /// Makes a context for the store in the folder `root`; `None`: `$USNEA_ROOT`, else the folder in the user's home.
    /// Reads no files.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root, ..Self::default() }
    }

    /// Folder of the store on the command line; `None`: not given.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Adds the standard streams of this process: a container with the passthrough log driver inherits them.
    pub fn with_streams(self, streams: CallerStreams<'static>) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Standard streams of this process; `None`: containers must not inherit them.
    pub(super) fn caller_streams(&self) -> Option<CallerStreams<'static>> {
        self.streams
    }

    /// Adds the sockets of this process's socket activation: containers that are run or started get them.
    pub fn with_sockets(self, sockets: Option<ListenSockets>) -> Self {
        Self { sockets, ..self }
    }

    /// Sockets of this process's socket activation.
    pub fn sockets(&self) -> Option<&ListenSockets> {
        self.sockets.as_ref()
    }

    /// Marks all descriptors but the standard streams close-on-exec: no program that this process starts gets them. Must
    /// be called before any open. Errors: a socket of socket activation is not open.
    pub fn close_descriptors_at_exec(&self) -> Result<()> {
        check_sockets(self.sockets())
    }

    /// Absolute path of the store, which may not exist yet. Errors: no home is known; a symbolic link of another user.
    pub fn store(&self) -> Result<&Path> {
        let path = || {
            let path = self.store_path()?;
            config::refuse_link_of_others(&path)?;
            Ok(path)
        };
        once(&self.store, path).map(PathBuf::as_path)
    }

    /// Path of the store, unchecked: no file system is asked, which might never answer.
    pub fn store_path(&self) -> Result<PathBuf> {
        config::store_path(self.root.as_deref())
    }

    /// Makes the store and its folder for temporary files, if they are missing. Errors: the store belongs to another
    /// user.
    pub fn make_store(&self) -> Result<&Path> {
        let store = self.store()?;
        config::open_private(store)?;
        config::open_private(&store.join("tmp"))?;
        Ok(store)
    }

    /// Image stores: the user's own, which is made if missing, and those of the settings.
    pub fn images(&self) -> Result<&Stores> {
        once(&self.images, || Stores::open(self.store()?, self.settings()?))
    }

    /// Image stores, for reading only. Makes no files.
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

/// Returns the value of `cell`; makes it unless an earlier call has succeeded.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
