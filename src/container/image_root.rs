//! Root of a container before its own layer: the folders of an image's layers, a directory, or programs of the host.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::image::store::HeldBlob;
use crate::layer::whiteout::Whiteouts;
use crate::rootfs::host::HostRoot;
use crate::spec::ImageDefaults;

/// Folders of a root, which are protected against removal as long as this value lives.
#[derive(Debug)]
pub struct ImageRoot {
    /// Folders of the layers, the topmost first: at least one.
    pub folders: Vec<PathBuf>,
    /// True if the folders belong to a store that several users share: owners of files are only recorded, not real
    /// ([`Owners::Shared`]).
    ///
    /// [`Owners::Shared`]: crate::image::owners::Owners::Shared
    pub is_shared: bool,
    /// True if the folders are in a store of another user.
    pub is_foreign: bool,
    /// Form of the whiteouts in the folders.
    pub whiteouts: Whiteouts,
    /// Defaults of the image's config: command, environment, user and the like.
    pub defaults: ImageDefaults,
    /// Image of the store with these layers; `None`: a directory, or programs of the host.
    pub stored: Option<StoredImage>,
    pub(super) held: ImageLock,
}

/// Image of a store, as a container records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Path of the manifest's blob.
    pub manifest: PathBuf,
    /// ID of the image.
    pub id: String,
    /// Labels of the image.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Health check of the image's config.
    pub health: Option<crate::monitor::record::Healthcheck>,
}

/// Lock that protects a root against removal.
#[derive(Debug)]
pub(super) enum ImageLock {
    Nothing,
    Host(HostRoot),
    Stored(HeldBlob),
}

impl ImageRoot {
    /// Returns a root of a single folder, without an image.
    pub(super) fn of(folder: PathBuf, held: ImageLock) -> Self {
        let (folders, defaults) = (vec![folder], ImageDefaults::default());
        Self {
            folders,
            is_shared: false,
            is_foreign: false,
            whiteouts: Whiteouts::Overlay,
            defaults,
            stored: None,
            held,
        }
    }

    /// Returns a copy of the lock, for a process that outlives this value.
    pub fn hold(&self) -> Result<Option<OwnedFd>> {
        let file = match &self.held {
            ImageLock::Nothing => return Ok(None),
            ImageLock::Host(root) => root.lock(),
            ImageLock::Stored(blob) => &blob.file,
        };
        Ok(Some(file.try_clone().context(|| "cannot hold the image")?.into()))
    }
}
