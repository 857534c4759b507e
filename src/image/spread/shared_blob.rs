//! Blobs that this rank serves: verified blocks of downloads under way, and blobs of the store.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frame::BlockDigest;
use super::{BLOCK, block_count, block_length};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::image::store::Store;

/// Blob that is served, whole or not.
#[derive(Debug)]
pub struct SharedBlob {
    file: File,
    size: u64,
    /// Blocks below this number were written before this command: compared with their digest when they are sent.
    unchecked: u64,
    /// Number of blocks that the file has.
    ready: Mutex<u64>,
    changed: Condvar,
}

impl SharedBlob {
    /// Sets the number of blocks that the file has.
    pub fn set_ready(&self, count: u64) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = count;
        self.changed.notify_all();
    }

    /// Waits for a block, at most `wait`; returns whether the file has the block.
    pub fn wait_ready(&self, block: u64, wait: Duration) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(ready, wait, |ready| *ready <= block);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > block
    }

    /// True if the block was written before this command.
    pub fn is_unchecked(&self, block: u64) -> bool {
        block < self.unchecked
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads a block.
    pub fn read(&self, block: u64) -> Result<Vec<u8>> {
        self.read_part(block, self.size)
    }

    /// Reads a block of a file that has `length` bytes so far.
    pub fn read_part(&self, block: u64, length: u64) -> Result<Vec<u8>> {
        read_block(&self.file, block.saturating_mul(BLOCK), block_length(length, block))
            .context(|| "cannot read a block")
    }
}

/// Reads `length` bytes of a file, at most a block.
pub fn read_block(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length.min(BLOCK)).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// SHA-256 of a block.
pub fn block_digest(bytes: &[u8]) -> BlockDigest {
    let mut digest = [0; 32];
    let made = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.iter_mut().zip(made.as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// All blobs that this rank serves.
#[derive(Debug)]
pub struct SharedBlobs {
    store: Store,
    blobs: Mutex<HashMap<Digest, Arc<SharedBlob>>>,
    changed: Condvar,
}

impl SharedBlobs {
    /// Serves blobs of this store.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), blobs: Mutex::default(), changed: Condvar::new() }
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Arc<SharedBlob>>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a download that has `written` bytes from before this command.
    pub fn add_download(
        &self,
        digest: &Digest,
        size: u64,
        written: u64,
    ) -> Result<Arc<SharedBlob>> {
        let file = self.store.open_download(digest)?;
        // The last of these blocks may be incomplete: its end comes now, its beginning came before.
        Ok(self.add(digest, file, [size, block_count(written), written / BLOCK]))
    }

    /// Adds a file of the caller. Each block is compared with its digest when it is sent: the file may change.
    pub fn add_file(&self, digest: &Digest, file: File, size: u64) {
        let count = block_count(size);
        self.add(digest, file, [size, count, count]);
    }

    /// `numbers`: size, unchecked blocks, blocks that the file has.
    fn add(&self, digest: &Digest, file: File, numbers: [u64; 3]) -> Arc<SharedBlob> {
        let [size, unchecked, ready] = numbers;
        let (ready, changed) = (Mutex::new(ready), Condvar::new());
        let shared = Arc::new(SharedBlob { file, size, unchecked, ready, changed });
        self.blobs().insert(digest.clone(), shared.clone());
        self.changed.notify_all();
        shared
    }

    /// Finds a blob: one that is added, or one of the store.
    pub fn find(&self, digest: &Digest, size: u64) -> Result<Option<Arc<SharedBlob>>> {
        if let Some(shared) = self.blobs().get(digest) {
            return Ok(Some(shared.clone()));
        }
        let Some(held) = self.store.blob(digest)? else { return Ok(None) };
        let count = block_count(size);
        Ok(Some(self.add(digest, held.file, [size, count, count])))
    }

    /// Waits for a blob, at most `wait`.
    pub fn wait(
        &self,
        digest: &Digest,
        size: u64,
        wait: Duration,
    ) -> Result<Option<Arc<SharedBlob>>> {
        if let Some(shared) = self.find(digest, size)? {
            return Ok(Some(shared));
        }
        let blobs = self.blobs();
        if !blobs.contains_key(digest) {
            drop(self.changed.wait_timeout(blobs, wait));
        }
        self.find(digest, size)
    }

    /// The store of the blobs.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
