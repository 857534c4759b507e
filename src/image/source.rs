//! Sources and targets of images, whatever the transport.

use std::fs::File;
use std::io::{self, Read};

use super::manifest::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::fail;
use crate::files::Spool;
use crate::hint;

/// A manifest or an index as the source sent it.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// The bytes, at most [`super::manifest::LARGEST`] of them.
    pub bytes: Vec<u8>,
    /// Media type from the transport (Content-Type); `None` if the transport names none.
    pub media_type: Option<String>,
}

/// Bytes of a blob, in order. The source itself resumes after interruptions.
pub type BlobReader = Box<dyn Read + Send>;

/// Source of an image. Used by several threads at once.
pub trait ImageSource: Sync {
    /// Name of the source, for messages: `docker://docker.io/library/debian:12`, `oci:/x:1`.
    fn describe(&self) -> String;

    /// Fetches the manifest or index that `digest` names; `None`: the source's own. The caller checks the digest.
    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest>;

    /// Opens the blob at offset `from` (bytes). The caller checks the digest, and reads no further than the
    /// descriptor's size.
    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader>;

    /// Returns the length of a blob in bytes, for a descriptor without a size.
    fn size(&self, digest: &Digest) -> Result<u64> {
        fail!("blob {digest}: its size is unknown")
    }

    /// Returns the blob as a verified file in tmp/ of the store that is pulled into. That store may take the file over.
    fn spool(&self, _digest: &Digest) -> Option<&Spool> {
        None
    }

    /// True if the manifest is the published one, not one generated while reading: only then does its digest show where
    /// the image came from.
    fn has_published_manifest(&self) -> bool {
        true
    }
}

/// Target of a push.
pub trait ImageTarget: Sync {
    /// Name of the target, for messages.
    fn describe(&self) -> String;

    /// True if the target has the blob already.
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Writes the blob. `open` opens the blob's file at its beginning, for each try anew.
    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()>;

    /// Writes the manifest after its blobs. `Some(digest)`: an entry of an index, under its digest alone. `None`: the
    /// target's own.
    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()>;

    /// Ends the work, once, after the last manifest: only then is an archive whole and has its name.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads a blob's file for a target: exactly `size` bytes, with progress reports.
pub struct ProgressReader<'a> {
    file: File,
    size: u64,
    count: u64,
    told: &'a dyn Fn(u64),
    /// Digest that the bytes must have, and their hash so far.
    expected: Option<(Digest, Hasher)>,
}

impl<'a> ProgressReader<'a> {
    /// Reads `size` bytes of `file`; `told` receives the number of bytes read so far.
    pub fn new(file: File, size: u64, told: &'a dyn Fn(u64)) -> Self {
        Self { file, size, count: 0, told, expected: None }
    }

    /// Reads the blob `descriptor`. The read that would complete the content fails if the content has another digest. A
    /// store's blob may be damaged, or changed by the store's owner.
    pub fn verified(file: File, descriptor: &Descriptor, told: &'a dyn Fn(u64)) -> Self {
        let digest = descriptor.digest.clone();
        let hasher = Hasher::new(digest.algorithm());
        Self { expected: Some((digest, hasher)), ..Self::new(file, descriptor.size, told) }
    }

    /// Hashes `bytes`; compares the digest after the last one.
    fn hash(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((digest, mut hasher)) = self.expected.take() else { return Ok(()) };
        hasher.update(bytes);
        if self.count < self.size {
            self.expected = Some((digest, hasher));
            return Ok(());
        }
        let has = hasher.finish();
        if has == digest {
            return Ok(());
        }
        let error =
            Error::new(format!("blob {digest} is damaged: its content has the digest {has}"));
        Err(io::Error::other(error.hint(hint::REPAIR_OR_PULL)))
    }
}

impl Read for ProgressReader<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.count)).unwrap_or(usize::MAX);
        let most = left.min(room.len());
        let Some(room) = room.get_mut(..most).filter(|room| !room.is_empty()) else {
            return self.hash(&[]).map(|()| 0);
        };
        let length = self.file.read(room)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob breaks off"));
        }
        self.count += length as u64;
        self.hash(room.get(..length).unwrap_or_default())?;
        (self.told)(self.count);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn content_with_another_digest_is_never_read_whole() {
        let read = |content: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            file.rewind().unwrap();
            let descriptor = Descriptor {
                media_type: String::new(),
                digest: Digest::of(b"content"),
                size: 7,
                platform: None,
                annotations: Default::default(),
                urls: Vec::new(),
            };
            let mut all = Vec::new();
            let answer = ProgressReader::verified(file, &descriptor, &|_| ()).read_to_end(&mut all);
            answer.map(|_| all).map_err(|error| Error::from(error).to_string())
        };
        assert_eq!(read(b"content").unwrap(), b"content");
        assert!(read(b"c0ntent").unwrap_err().contains("is damaged"));
        assert!(read(b"cont").unwrap_err().contains("breaks off"));
    }
}
