//! Root of a container before its own layer: layers of an image, an image in a file, a directory, or programs of the
//! host.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::overlays::Overlays;
use crate::error::{Context, Result};
use crate::image::store::HeldBlob;
use crate::layer::LowerLayer;
use crate::layer::squashfs::ImageFile;
use crate::layer::whiteout::Whiteouts;
use crate::monitor::record::Healthcheck;
use crate::rootfs::host::HostRoot;
use crate::spec::{ImageDefaults, UPPER, UpperOwner};

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
    /// Overlays of the user: their read-only layers are the first of `layers`.
    pub(super) overlays: Overlays,
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
            overlays: Overlays::default(),
            held,
        }
    }

    /// File with the image that is the root; `None`: another root.
    pub fn image_file(&self) -> Option<&ImageFile> {
        self.layers.last().and_then(LowerLayer::image)
    }

    /// True if a layer is an image in a file.
    pub fn has_image_layer(&self) -> bool {
        self.layers.iter().any(|layer| layer.image().is_some())
    }

    /// Puts the overlays of the user above the layers.
    pub(super) fn below(mut self, overlays: Overlays) -> Self {
        self.layers.splice(..0, overlays.lowers.iter().cloned());
        if overlays.whiteouts == Whiteouts::Names {
            self.whiteouts = Whiteouts::Names;
        }
        self.overlays = overlays;
        self
    }

    /// Owner of the writable layer above.
    pub(super) fn upper_owner(&self) -> UpperOwner {
        match self.overlays.written {
            Some(_) => UpperOwner::User,
            None => UpperOwner::Container,
        }
    }

    /// Returns all layers in which the container's first files are, the topmost first.
    pub(super) fn searched(&self) -> Vec<LowerLayer> {
        let written = self.overlays.written.iter().map(|folder| folder.join(UPPER).into());
        written.chain(self.layers.iter().cloned()).collect()
    }

    /// Returns copies of the locks, for a process that outlives this value.
    pub fn hold(&self) -> Result<Vec<OwnedFd>> {
        let mut held = self.overlays.hold()?;
        let file = match &self.held {
            ImageLock::Nothing => return Ok(held),
            ImageLock::Host(root) => root.lock(),
            ImageLock::Stored(blob) => &blob.file,
            ImageLock::File(file) => file,
        };
        held.push(file.try_clone().context(|| "cannot hold the image")?.into());
        Ok(held)
    }
}
