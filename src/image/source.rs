//! What an image is pulled from and pushed to, whatever the transport.

use std::fs::File;
use std::io::{self, Read};

use super::manifest::Descriptor;
use crate::digest::Digest;
use crate::error::Result;
use crate::fail;

/// A manifest or an index as it came.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The bytes, at most [`super::manifest::LARGEST`] of them.
    pub bytes: Vec<u8>,
    /// What the transport says that it is (Content-Type); `None` where it says nothing.
    pub media_type: Option<String>,
}

/// Bytes of a blob, in order. Interruptions are the source's to mend.
pub type Blob = Box<dyn Read + Send>;

/// Where an image comes from. Used by several threads at once.
pub trait Source: Sync {
    /// Its name, for messages: `docker://docker.io/library/debian:12`, `oci:/x:1`.
    fn describe(&self) -> String;

    /// The manifest or index that `digest` names; `None`: what the source stands for. Whether the bytes have that digest
    /// is checked by the caller.
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched>;

    /// The blob's bytes from offset `from` (bytes) on. Whether they have the digest is checked by the caller, who reads
    /// no further than the descriptor's size.
    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<Blob>;

    /// The length of a blob in bytes, for a descriptor that does not say it.
    fn size(&self, digest: &Digest) -> Result<u64> {
        fail!("blob {digest}: its size is not said")
    }

    /// Whether its manifest is the one that the image was published with, not one that was made up while it was read: only
    /// then its digest says where the image came from.
    fn has_published_manifest(&self) -> bool {
        true
    }
}

/// Where an image goes.
pub trait Target: Sync {
    /// Its name, for messages.
    fn describe(&self) -> String;

    /// Whether the blob is there already.
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Puts the blob there. `open` gives its file from the beginning, as often as need be.
    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()>;

    /// Puts the manifest there after its blobs; `Some(digest)`: one of an index, under its digest alone; `None`: what the
    /// target stands for.
    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()>;

    /// Ends the work, once, after the last manifest: an archive is whole, and has its name, only then.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// A blob's file on its way to a target: exactly its bytes, and word of how many went out.
pub struct Told<'a> {
    file: File,
    size: u64,
    count: u64,
    told: &'a dyn Fn(u64),
}

impl<'a> Told<'a> {
    /// `size` bytes of `file`; `told` hears how many went out so far.
    pub fn new(file: File, size: u64, told: &'a dyn Fn(u64)) -> Self {
        Self { file, size, count: 0, told }
    }
}

impl Read for Told<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.count)).unwrap_or(usize::MAX);
        let most = left.min(room.len());
        let Some(room) = room.get_mut(..most).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        let length = self.file.read(room)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob breaks off"));
        }
        self.count += length as u64;
        (self.told)(self.count);
        Ok(length)
    }
}
