//! Blobs: fetched once whoever wants them, verified before they have their name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::Store;
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Result};
use crate::fail;
use crate::files::{self, Lock};
use crate::image::manifest::LARGEST;

/// A verified blob that stays while this value lives.
#[derive(Debug)]
pub struct HeldBlob {
    /// The file, open for reading, with a shared lock.
    pub file: File,
}

/// What somebody who wants a blob finds.
pub enum Download {
    /// It is there.
    There(HeldBlob),
    /// It is ours to fetch: others wait.
    Ours(Partial),
}

/// A blob on its way, locked. A killed one stays in downloads/ and goes on there.
pub struct Partial {
    file: File,
    path: PathBuf,
    digest: Digest,
    /// What is known to be written; readers follow it.
    progress: Mutex<Progress>,
    news: Condvar,
    written: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Going,
    Complete,
    Failed,
}

impl Store {
    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The blob, if it is there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<HeldBlob>> {
        let path = self.blob_path(digest);
        let held = files::hold(&path, Lock::Shared).context(|| format!("cannot open {}", path.display()))?;
        Ok(held.map(|file| HeldBlob { file }))
    }

    /// A small blob's bytes (manifest, index, config). Errors: it is not there, or larger than [`LARGEST`].
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read()
            .context(|| format!("cannot read {}", path.display()))
            .hint(|| "a file of the store is missing or damaged: pull the image again")?;
        if bytes.len() as u64 > LARGEST || Digest::of(&bytes) != *digest && digest.algorithm().name() == "sha256" {
            fail!("{} is damaged: its content is not what its name says", path.display());
        }
        Ok(bytes)
    }

    /// Puts a small blob there.
    pub fn add_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<HeldBlob> {
        loop {
            if let Some(held) = self.blob(digest)? {
                return Ok(held);
            }
            files::replace(&self.tmp(), &self.blob_path(digest), bytes)?;
        }
    }

    /// The blob, or the right to fetch it; waits while another process fetches it.
    pub fn download(&self, digest: &Digest) -> Result<Download> {
        let path = self.root.join("downloads").join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        loop {
            if let Some(held) = self.blob(digest)? {
                return Ok(Download::There(held));
            }
            let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = open.map_err(|error| files::cannot_write(error, &path))?;
            drop(file);
            let Some(_) = files::hold(&path, Lock::Shared).context(|| format!("cannot lock {}", path.display()))? else {
                continue;
            };
            let file = files::lock_file(&path, Lock::Exclusive)?;
            // While we waited it may have been finished (renamed) or pruned.
            if !files::leads_to(&path, &file) {
                continue;
            }
            let have = file.metadata().context(|| format!("cannot look at {}", path.display()))?.len();
            return Ok(Download::Ours(Partial {
                file,
                path,
                digest: digest.clone(),
                progress: Mutex::new(Progress::Going),
                news: Condvar::new(),
                written: AtomicU64::new(have),
            }));
        }
    }
}

impl Partial {
    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Fetches the rest from `from` (which begins at [`Partial::length`]) up to `size` bytes and gives the blob its name.
    /// Errors: too few bytes, or not those of the digest; in the latter case what was fetched is thrown away.
    pub fn finish(
        &self,
        store: &Store,
        size: u64,
        open: impl FnOnce(u64) -> Result<crate::image::source::Blob>,
        told: &dyn Fn(u64),
    ) -> Result<HeldBlob> {
        let outcome = self.fetch(store, size, open, told);
        let end = if outcome.is_ok() { Progress::Complete } else { Progress::Failed };
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = end;
        self.news.notify_all();
        outcome
    }

    fn fetch(
        &self,
        store: &Store,
        size: u64,
        open: impl FnOnce(u64) -> Result<crate::image::source::Blob>,
        told: &dyn Fn(u64),
    ) -> Result<HeldBlob> {
        let unwritable = |error| files::cannot_write(error, &self.path);
        if self.length() > size {
            self.start_again()?;
        }
        let mut hasher = Hasher::new(self.digest.algorithm());
        let mut room = vec![0; 256 * 1024];
        let mut at = 0;
        while at < self.length() {
            let length = self.file.read_at(&mut room, at).context(|| format!("cannot read {}", self.path.display()))?;
            if length == 0 {
                break;
            }
            hasher.update(&room[..length]);
            at += length as u64;
        }
        told(at);
        if at < size {
            let mut source = open(at)?;
            (&self.file).seek(SeekFrom::Start(at)).map_err(unwritable)?;
            while at < size {
                let wanted = room.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
                let length = match source.read(&mut room[..wanted]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error).context(|| format!("blob {}", self.digest)),
                    Ok(0) => fail!("blob {}: {at} bytes came, not {size}", self.digest),
                    Ok(length) => length,
                };
                (&self.file).write_all(&room[..length]).map_err(unwritable)?;
                hasher.update(&room[..length]);
                at += length as u64;
                self.written.store(at, Ordering::Release);
                drop(self.progress.lock().unwrap_or_else(PoisonError::into_inner));
                self.news.notify_all();
                told(length as u64);
            }
        }
        let came = hasher.finish();
        if came != self.digest {
            self.start_again()?;
            fail!("blob {}: what came is {came}", self.digest);
        }
        self.file.sync_all().map_err(unwritable)?;
        let place = store.blob_path(&self.digest);
        std::fs::rename(&self.path, &place).map_err(|error| files::cannot_write(error, &place))?;
        files::sync_folder(place.parent().unwrap_or(&place))?;
        match store.blob(&self.digest)? {
            Some(held) => Ok(held),
            None => fail!("blob {} was removed at once by another command: try again", self.digest),
        }
    }

    fn start_again(&self) -> Result<()> {
        self.file.set_len(0).map_err(|error| files::cannot_write(error, &self.path))?;
        self.written.store(0, Ordering::Release);
        Ok(())
    }

    /// Reads what comes in, from the beginning, while it comes in.
    pub fn follow(&self) -> Follow<'_> {
        Follow { partial: self, at: 0 }
    }
}

/// A reader of a blob on its way. Ends when the blob is complete and verified; fails when it fails.
pub struct Follow<'a> {
    partial: &'a Partial,
    at: u64,
}

impl Read for Follow<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let partial = self.partial;
        loop {
            if self.at < partial.length() {
                let length = partial.file.read_at(room, self.at)?;
                self.at += length as u64;
                return Ok(length);
            }
            let progress = partial.progress.lock().unwrap_or_else(PoisonError::into_inner);
            match *progress {
                _ if self.at < partial.length() => continue,
                Progress::Complete => return Ok(0),
                Progress::Failed => return Err(std::io::Error::other("the download failed")),
                Progress::Going => drop(partial.news.wait(progress).unwrap_or_else(PoisonError::into_inner)),
            }
        }
    }
}
