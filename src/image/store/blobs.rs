//! Blobs: each fetched once for all commands that want it, and verified before it gets its name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use super::Store;
use super::foreign::{self, ObjectKind};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock, Spool};
use crate::hint;
use crate::image::manifest::LARGEST;
use crate::image::source::BlobReader;

/// A verified blob that no command removes while this value lives.
#[derive(Debug)]
pub struct HeldBlob {
    /// The blob's file, open for reading, with a shared lock.
    pub file: File,
}

/// Result of a request for a blob.
pub enum BlobClaim {
    /// The blob exists.
    Present(HeldBlob),
    /// The blob is missing and this command fetches it: others wait.
    Ours(PartialBlob),
}

impl Store {
    /// Path of the blob, whether it exists or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The blob; `None` if it does not exist.
    pub fn blob(&self, digest: &Digest) -> Result<Option<HeldBlob>> {
        let path = self.blob_path(digest);
        let held = files::hold(&path, Lock::Shared)
            .context(|| format!("cannot open {}", path.display()))?;
        Ok(held.map(|file| HeldBlob { file }))
    }

    /// Opens a blob for reading; its content is not verified. Errors: missing, or not a regular file of the store's
    /// owner.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        self.open_object(&path, ObjectKind::File)
            .map(File::from)
            .map_err(foreign::explain)
            .context(|| format!("cannot open {}", path.display()))
            .hint(|| hint::FIND_MISSING_AND_PULL)
    }

    /// Reads a small blob (manifest, index, config). Errors: missing, damaged, or larger than [`LARGEST`].
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = self
            .read_object(&path, LARGEST)
            .map_err(foreign::explain)
            .context(|| format!("cannot read {}", path.display()))
            .hint(|| hint::REPAIR_OR_PULL)?;
        if digest_of(&bytes, digest.algorithm()) != *digest {
            let error = format!("{} is damaged: it is not what its name says", path.display());
            return Err(Error::new(error).hint(hint::REPAIR_OR_PULL));
        }
        Ok(bytes)
    }

    /// True if the blob exists and its content does not match its digest.
    pub fn is_damaged(&self, digest: &Digest) -> bool {
        let file = self.open_object(&self.blob_path(digest), ObjectKind::File);
        file.and_then(|file| file_has_digest(&file.into(), digest)).is_ok_and(|is_it| !is_it)
    }

    /// Path of the blob's partial download.
    pub(super) fn download_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        self.root.join("downloads").join(name)
    }

    /// Opens the blob's partial download for reading. Errors: none is under way.
    pub fn open_download(&self, digest: &Digest) -> Result<File> {
        let path = self.download_path(digest);
        File::open(&path).context(|| format!("cannot open {}", path.display()))
    }

    /// Adds a small blob under its digest, which the caller has checked.
    pub fn add_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<HeldBlob> {
        loop {
            if let Some(held) = self.blob(digest)? {
                return Ok(held);
            }
            let path = self.blob_path(digest);
            files::replace(&self.tmp(), &path, bytes)?;
            self.publish(&path)?;
        }
    }

    /// Adds the content of `source` as a blob. Returns its digest and its length in bytes.
    pub fn add_large_blob(&self, mut source: impl Read) -> Result<(HeldBlob, Digest, u64)> {
        let mut spool = Spool::new(&self.tmp())?;
        let mut tee = HashingTee { to: &mut spool.file, hasher: Hasher::new(Algorithm::Sha256) };
        let length = io::copy(&mut source, &mut tee).map_err(|error| match error.kind() {
            io::ErrorKind::Other => Error::from(error),
            _ => files::cannot_write(error, &spool.path),
        })?;
        let digest = tee.hasher.finish();
        if let Some(held) = self.blob(&digest)? {
            return Ok((held, digest, length));
        }
        let held = self.name_blob(&spool.file, &spool.path, &digest)?;
        Ok((held, digest, length))
    }

    /// Renames a verified file to its place among the blobs. The file must be locked exclusively; the lock becomes a
    /// shared one.
    fn name_blob(&self, file: &File, path: &Path, digest: &Digest) -> Result<HeldBlob> {
        self.publish(path)?;
        let place = self.blob_path(digest);
        // A command that removes objects holds this lock. So no removal comes between the rename and the change of the
        // blob's own lock, which is not atomic (flock(2)).
        let _lock = self.lock_images()?;
        std::fs::rename(path, &place).map_err(|error| files::cannot_write(error, &place))?;
        let lock = file.try_clone().and_then(|file| {
            files::share(&file)?;
            Ok(file)
        });
        let file = lock.context(|| format!("cannot lock {}", place.display()))?;
        if !files::leads_to(&place, &file) {
            fail!("blob {digest} was removed at once by another command");
        }
        Ok(HeldBlob { file })
    }

    /// Takes over `spool`, a verified file in tmp/, as the blob of the claim `partial`.
    pub fn adopt(&self, partial: &PartialBlob, spool: &Spool) -> Result<HeldBlob> {
        let held = self.name_blob(&spool.file, &spool.path, &partial.digest)?;
        let _ = std::fs::remove_file(&partial.path);
        Ok(held)
    }

    /// Returns the blob, or the right to fetch it. Waits while another command fetches it, and calls `on_wait` if that
    /// takes long.
    pub fn claim_blob(&self, digest: &Digest, on_wait: &dyn Fn()) -> Result<BlobClaim> {
        let path = self.download_path(digest);
        loop {
            if let Some(held) = self.blob(digest)? {
                return Ok(BlobClaim::Present(held));
            }
            let file = files::lock_file_or_tell(&path, on_wait)?;
            // During the wait the download may have been finished (renamed) or pruned.
            if !files::leads_to(&path, &file) {
                continue;
            }
            if let Some(held) = self.blob(digest)? {
                let _ = std::fs::remove_file(&path);
                return Ok(BlobClaim::Present(held));
            }
            let have = file.metadata().context(|| format!("cannot look at {}", path.display()))?;
            let progress = DownloadProgress { written: have.len(), end: None };
            return Ok(BlobClaim::Ours(PartialBlob {
                file,
                path,
                digest: digest.clone(),
                progress: Mutex::new(progress),
                changed: Condvar::new(),
            }));
        }
    }
}

/// Computes the digest of `bytes` with this algorithm.
pub(super) fn digest_of(bytes: &[u8], algorithm: Algorithm) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

struct HashingTee<'a> {
    to: &'a mut File,
    hasher: Hasher,
}

impl Write for HashingTee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.to.write(bytes)?;
        self.hasher.update(bytes.get(..length).unwrap_or_default());
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob being downloaded, locked. The bytes that a killed command fetched stay in downloads/, and the next command
/// resumes there.
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    digest: Digest,
    progress: Mutex<DownloadProgress>,
    changed: Condvar,
}

struct DownloadProgress {
    written: u64,
    /// True once complete and verified, false once failed, `None` while under way.
    end: Option<bool>,
}

/// Bytes moved at once.
const PIECE: usize = 256 * 1024;

impl PartialBlob {
    fn set(&self, change: impl FnOnce(&mut DownloadProgress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn written(&self) -> u64 {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).written
    }

    /// Fetches the missing part of `size` bytes, verifies the whole, and gives the blob its name. `open` starts at an
    /// offset; `on_progress` receives the number of bytes present. Errors: those of the source; too few bytes; a digest that
    /// does not match, and then the fetched bytes are discarded.
    pub fn finish(
        &self,
        store: &Store,
        size: u64,
        open: &dyn Fn(u64) -> Result<BlobReader>,
        on_progress: &dyn Fn(u64),
    ) -> Result<HeldBlob> {
        let outcome = self.fetch_and_name(store, size, open, on_progress);
        self.set(|progress| progress.end = Some(outcome.is_ok()));
        outcome
    }

    fn fetch_and_name(
        &self,
        store: &Store,
        size: u64,
        open: &dyn Fn(u64) -> Result<BlobReader>,
        on_progress: &dyn Fn(u64),
    ) -> Result<HeldBlob> {
        let came = self.fetch(size, open, on_progress)?;
        if came != self.digest {
            self.file.set_len(0).map_err(|error| files::cannot_write(error, &self.path))?;
            fail!("blob {}: what came is {came}", self.digest);
        }
        store.name_blob(&self.file, &self.path, &self.digest)
    }

    fn fetch(
        &self,
        size: u64,
        open: &dyn Fn(u64) -> Result<BlobReader>,
        on_progress: &dyn Fn(u64),
    ) -> Result<Digest> {
        let unwritable = |error| files::cannot_write(error, &self.path);
        if self.written() > size {
            self.file.set_len(0).map_err(unwritable)?;
            self.set(|progress| progress.written = 0);
        }
        let mut room = vec![0; PIECE];
        let mut hasher = Hasher::new(self.digest.algorithm());
        let mut at = hash_beginning(&self.file, self.written(), &mut room, &mut hasher)
            .context(|| format!("cannot read {}", self.path.display()))?;
        on_progress(at);
        if at == size {
            return Ok(hasher.finish());
        }
        let mut source = open(at)?;
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let length = match source.read(&mut room[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context(|| format!("blob {}", self.digest)),
                Ok(0) => fail!("blob {}: {at} bytes came, not {size}", self.digest),
                Ok(length) => length,
            };
            self.file.write_all_at(&room[..length], at).map_err(unwritable)?;
            hasher.update(&room[..length]);
            at += length as u64;
            self.set(|progress| progress.written = at);
            on_progress(at);
        }
        // Content longer than its descriptor says is not that blob: one more read reveals it.
        if source.read(&mut room[..1]).context(|| format!("blob {}", self.digest))? != 0 {
            fail!("blob {} is longer than its manifest says", self.digest);
        }
        Ok(hasher.finish())
    }

    /// Reads the download from its beginning, while it arrives.
    pub fn follow(&self) -> DownloadReader<'_> {
        DownloadReader { partial: self, at: 0 }
    }
}

/// Hashes the first `length` bytes of `file`. Returns the number of bytes hashed.
fn hash_beginning(
    file: &File,
    length: u64,
    room: &mut [u8],
    hasher: &mut Hasher,
) -> io::Result<u64> {
    let mut at = 0;
    while at < length {
        let most = usize::try_from(length - at).unwrap_or(room.len()).min(room.len());
        let read = file.read_at(&mut room[..most], at)?;
        if read == 0 {
            break;
        }
        hasher.update(&room[..read]);
        at += read as u64;
    }
    Ok(at)
}

/// A reader of a blob being downloaded. Ends when the blob is complete and verified; fails if the download fails.
pub struct DownloadReader<'a> {
    partial: &'a PartialBlob,
    at: u64,
}

impl Read for DownloadReader<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let partial = self.partial;
        let mut progress = partial.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let there = loop {
            match (progress.written.saturating_sub(self.at), progress.end) {
                (there @ 1.., _) => break there,
                (_, Some(true)) => return Ok(0),
                (_, Some(false)) => return Err(io::Error::other(DownloadFailed)),
                (_, None) => {
                    progress =
                        partial.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(progress);
        let most = usize::try_from(there).unwrap_or(room.len()).min(room.len());
        let length = partial.file.read_at(&mut room[..most], self.at)?;
        // The content had a wrong digest and was discarded.
        if length == 0 && most > 0 {
            return Err(io::Error::other(DownloadFailed));
        }
        self.at += length as u64;
        Ok(length)
    }
}

/// Error of a [`DownloadReader`] whose download failed; the downloading thread reports the cause.
#[derive(Debug)]
pub struct DownloadFailed;

impl std::fmt::Display for DownloadFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the download failed")
    }
}

impl std::error::Error for DownloadFailed {}

/// True if the file at `path` has this digest. Errors: the file cannot be read.
pub(super) fn has_digest(path: &Path, digest: &Digest) -> io::Result<bool> {
    file_has_digest(&File::open(path)?, digest)
}

fn file_has_digest(file: &File, digest: &Digest) -> io::Result<bool> {
    let mut hasher = Hasher::new(digest.algorithm());
    hash_beginning(file, u64::MAX, &mut vec![0; PIECE], &mut hasher)?;
    Ok(hasher.finish() == *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    fn ours(store: &Store, digest: &Digest) -> PartialBlob {
        match store.claim_blob(digest, &|| ()).unwrap() {
            BlobClaim::Ours(partial) => partial,
            BlobClaim::Present(_) => panic!("it is there already"),
        }
    }

    fn from(bytes: &'static [u8]) -> impl Fn(u64) -> Result<BlobReader> {
        move |at| Ok(Box::new(&bytes[at as usize..]))
    }

    #[test]
    fn a_blob_is_fetched_once_and_followed_meanwhile() {
        let (_folder, store) = store();
        let digest = Digest::of(b"content");
        let partial = ours(&store, &digest);
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| {
                let mut all = Vec::new();
                partial.follow().read_to_end(&mut all).map(|_| all)
            });
            partial.finish(&store, 7, &from(b"content"), &|_| ()).unwrap();
            assert_eq!(follower.join().unwrap().unwrap(), b"content");
        });
        assert!(matches!(store.claim_blob(&digest, &|| ()).unwrap(), BlobClaim::Present(_)));
        assert_eq!(store.read_blob(&digest).unwrap(), b"content");
    }

    #[test]
    fn a_download_goes_on_where_it_stopped() {
        let (_folder, store) = store();
        let digest = Digest::of(b"content");
        let broken = |_| -> Result<BlobReader> { Ok(Box::new(&b"cont"[..])) };
        let error = ours(&store, &digest).finish(&store, 7, &broken, &|_| ()).unwrap_err();
        assert!(error.to_string().ends_with("4 bytes came, not 7"), "{error}");
        let rest = |at| -> Result<BlobReader> {
            assert_eq!(at, 4);
            Ok(Box::new(&b"ent"[..]))
        };
        ours(&store, &digest).finish(&store, 7, &rest, &|_| ()).unwrap();
    }

    #[test]
    fn content_with_another_digest_never_gets_the_blob_s_name() {
        let (_folder, store) = store();
        let digest = Digest::of(b"content");
        for wrong in [&b"c0ntent"[..], b"content and more"] {
            let partial = ours(&store, &digest);
            assert!(partial.finish(&store, 7, &from(wrong), &|_| ()).is_err());
            let mut all = Vec::new();
            assert!(partial.follow().read_to_end(&mut all).is_err());
        }
        assert!(store.blob(&digest).unwrap().is_none());
        // The discarded bytes do not affect the next download.
        ours(&store, &digest).finish(&store, 7, &from(b"content"), &|_| ()).unwrap();
    }

    #[test]
    fn a_damaged_blob_is_never_read() {
        let (_folder, store) = store();
        let digest = Digest::of(b"content");
        store.add_blob(&digest, b"content").unwrap();
        std::fs::write(store.blob_path(&digest), "c0ntent").unwrap();
        assert!(store.read_blob(&digest).unwrap_err().to_string().contains("damaged"));
        assert!(!has_digest(&store.blob_path(&digest), &digest).unwrap());
    }

    #[test]
    fn a_large_blob_is_named_by_what_it_holds() {
        let (_folder, store) = store();
        let (_held, digest, length) = store.add_large_blob(&b"content"[..]).unwrap();
        assert_eq!((digest, length), (Digest::of(b"content"), 7));
        assert_eq!(std::fs::read_dir(store.tmp()).unwrap().count(), 0);
    }
}
