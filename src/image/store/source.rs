//! Image of a store as the source of a pull into another store.

use std::io::{Seek, SeekFrom};

use super::{ImageRecord, Store};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::manifest::Descriptor;
use crate::image::source::{BlobReader, FetchedManifest, ImageSource};

/// Image of a store, which is copied.
#[derive(Clone, Copy, Debug)]
pub struct StoreSource<'a> {
    /// Store that has the image.
    pub store: &'a Store,
    /// Record of the image.
    pub image: &'a ImageRecord,
}

impl ImageSource for StoreSource<'_> {
    fn describe(&self) -> String {
        format!("image {} of {}", self.image.config.short(), self.store.root().display())
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        let bytes = self.store.read_blob(digest.unwrap_or(&self.image.manifest))?;
        Ok(FetchedManifest { bytes, media_type: None })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let mut file = self.store.open_blob(&descriptor.digest)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        Ok(self.store.open_blob(digest)?.metadata()?.len())
    }

    fn has_published_manifest(&self) -> bool {
        // A copy has no names: it is found through the image that it is a copy of.
        false
    }
}
