//! Image to push: one of a store, or a new one whose blobs are in no store.

use std::fs::File;

use super::compose::ComposedImage;
use super::store::{HeldBlob, ImageRecord, Store};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::hint;

/// Image to push, whose blobs are files of this machine.
#[derive(Clone, Copy)]
pub enum PushedImage<'a> {
    /// Image of a store.
    Stored {
        /// Store that has the image.
        store: &'a Store,
        /// Record of the image.
        image: &'a ImageRecord,
    },
    /// New image.
    Composed(&'a ComposedImage),
}

impl PushedImage<'_> {
    /// Digest of the manifest.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Stored { image, .. } => &image.manifest,
            Self::Composed(image) => image.manifest_digest(),
        }
    }

    /// Locks the image against its removal; `None`: a new one, which needs no lock. Errors: it was removed.
    pub fn hold(&self) -> Result<Option<HeldBlob>> {
        let Self::Stored { store, image } = self else { return Ok(None) };
        match store.blob(&image.manifest)? {
            Some(held) => Ok(Some(held)),
            None => {
                let error = Error::new(format!("its manifest {} is missing", image.manifest));
                Err(error.hint(hint::REMOVED_OR_REPAIR))
            }
        }
    }

    /// Reads the manifest.
    pub fn manifest(&self) -> Result<Vec<u8>> {
        match self {
            Self::Stored { store, image } => store.read_blob(&image.manifest),
            Self::Composed(image) => Ok(image.manifest_bytes().to_vec()),
        }
    }

    /// Opens a blob at its beginning. Files of one blob may share their position: only one reader at a time.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        match self {
            Self::Stored { store, .. } => store.open_blob(digest),
            Self::Composed(image) => image.open_blob(digest),
        }
    }
}
