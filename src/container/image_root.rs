//! Root of a container before its own layer: layers of an image, an image in a file, a directory, or programs of the
//! host.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::image::store::HeldBlob;
use crate::layer::LowerLayer;
use crate::layer::squashfs::ImageFile;
use crate::layer::whiteout::Whiteouts;
use crate::monitor::record::Healthcheck;
use crate::rootfs::host::HostRoot;
use crate::spec::ImageDefaults;

/// Layers of a root, which are protected against removal as long as this value lives.
#[derive(Debug)]
pub struct ImageRoot {
    /// Layers, the topmost first: at least one.
    pub layers: Vec<LowerLayer>,
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
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Health check of the image's config.
    pub health: Option<Healthcheck>,
    /// Image of the store with these layers; `None`: an image in a file, a directory, or programs of the host.
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
}

/// Lock that protects a root against removal.
#[derive(Debug)]
pub(super) enum ImageLock {
    Nothing,
    Host(HostRoot),
    Stored(HeldBlob),
    /// Open file with the image. Nothing prevents its removal: an open file keeps its content.
    File(File),
}

impl ImageRoot {
    /// Returns a root of a single layer, without an image.
    pub(super) fn of(layer: LowerLayer, held: ImageLock) -> Self {
        Self {
            layers: vec![layer],
            is_shared: false,
            is_foreign: false,
            whiteouts: Whiteouts::Overlay,
            defaults: ImageDefaults::default(),
            labels: BTreeMap::new(),
            health: None,
            stored: None,
            held,
        }
    }

    /// File with the image that is the root; `None`: another root.
    pub fn image_file(&self) -> Option<&ImageFile> {
        self.layers.iter().find_map(LowerLayer::image)
    }

    /// Returns a copy of the lock, for a process that outlives this value.
    pub fn hold(&self) -> Result<Option<OwnedFd>> {
        let file = match &self.held {
            ImageLock::Nothing => return Ok(None),
            ImageLock::Host(root) => root.lock(),
            ImageLock::Stored(blob) => &blob.file,
            ImageLock::File(file) => file,
        };
        Ok(Some(file.try_clone().context(|| "cannot hold the image")?.into()))
    }
}
