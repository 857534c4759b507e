//! Knowledge about the image that all ranks share: rank 0 writes it, control connections carry it, the others read it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{BlockDigest, MOST_DIGESTS, SpreadFrame};
use super::{block_count, block_length};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::fail;
use crate::image::source::FetchedManifest;

/// Largest number of manifests of an image: an index in an index, and so on.
const MOST_MANIFESTS: usize = 8;
/// Largest number of blobs of an image.
const MOST_BLOBS: usize = 4096;
/// Largest number of blocks of all blobs: 16 TiB.
const MOST_BLOCKS: usize = 1 << 24;

/// Name of the image and digest of its manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadImage {
    /// Whole name.
    pub reference: String,
    /// Digest of the manifest, or of the index that led to it.
    pub top: Digest,
}

/// End of the spread, as a rank hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpreadEnd {
    /// All ranks are done or gone.
    Finished,
    /// Rank 0 has failed, with this message.
    Failed(String),
    /// The connection to rank 0 is lost, for this reason.
    Lost(String),
}

#[derive(Debug)]
struct BlobBlocks {
    digest: Digest,
    size: u64,
    blocks: Vec<BlockDigest>,
}

#[derive(Debug, Default)]
struct LedgerState {
    manifests: Vec<(Digest, FetchedManifest)>,
    image: Option<SpreadImage>,
    blobs: Vec<BlobBlocks>,
    numbers: HashMap<Digest, usize>,
    block_count: usize,
    peers: BTreeMap<u32, SocketAddr>,
    end: Option<SpreadEnd>,
}

/// The ledger.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<LedgerState>,
    changed: Condvar,
}

/// Part of the ledger that a rank has been sent.
#[derive(Debug, Default)]
pub struct LedgerCursor {
    manifests: usize,
    has_image: bool,
    /// Number of blocks of each blob.
    blocks: Vec<usize>,
    peers: Vec<u32>,
    has_end: bool,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut LedgerState) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_all();
        result
    }

    /// Waits for a change, at most `wait`.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, LedgerState>,
        wait: Duration,
    ) -> MutexGuard<'a, LedgerState> {
        let waited = self.changed.wait_timeout(state, wait);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Adds a manifest or an index. Errors: too many.
    pub fn add_manifest(&self, digest: Digest, manifest: FetchedManifest) -> Result<()> {
        self.change(|state| {
            if state.manifests.iter().any(|(known, _)| *known == digest) {
                return Ok(());
            }
            if state.manifests.len() >= MOST_MANIFESTS {
                fail!("more than {MOST_MANIFESTS} manifests");
            }
            state.manifests.push((digest, manifest));
            Ok(())
        })
    }

    /// The manifest with this digest.
    pub fn manifest(&self, digest: &Digest) -> Option<FetchedManifest> {
        let has_digest = |bytes: &[u8]| {
            let mut hasher = Hasher::new(digest.algorithm());
            hasher.update(bytes);
            hasher.finish() == *digest
        };
        let state = self.state();
        let mut all = state.manifests.iter().map(|(_, manifest)| manifest);
        all.find(|manifest| has_digest(&manifest.bytes)).cloned()
    }

    /// Names the image. Errors: another one is named already.
    pub fn set_image(&self, image: SpreadImage) -> Result<()> {
        self.change(|state| match &state.image {
            Some(known) if *known != image => fail!("the image changed while it was pulled"),
            _ => {
                state.image = Some(image);
                Ok(())
            }
        })
    }

    /// Waits for the image. `None`: not yet. Errors: the end came first.
    pub fn wait_image(&self, wait: Duration) -> Result<Option<SpreadImage>> {
        let mut state = self.state();
        if state.image.is_none() && state.end.is_none() {
            state = self.wait(state, wait);
        }
        match (&state.image, &state.end) {
            (Some(image), _) => Ok(Some(image.clone())),
            (None, None) => Ok(None),
            (None, Some(end)) => Err(error_of(end)),
        }
    }

    /// Adds a blob. Errors: another size; too many blobs.
    pub fn add_blob(&self, digest: &Digest, size: u64) -> Result<()> {
        self.change(|state| {
            if let Some(known) = state.blob(digest) {
                return match known.size == size {
                    true => Ok(()),
                    false => fail!("blob {digest} has two sizes"),
                };
            }
            let count = usize::try_from(block_count(size)).unwrap_or(usize::MAX);
            let total = state.block_count.saturating_add(count);
            if state.blobs.len() >= MOST_BLOBS || total > MOST_BLOCKS {
                fail!("the image is too large to be spread");
            }
            state.block_count = total;
            state.numbers.insert(digest.clone(), state.blobs.len());
            state.blobs.push(BlobBlocks { digest: digest.clone(), size, blocks: Vec::new() });
            Ok(())
        })
    }

    /// Adds digests of a blob's blocks from number `first` on. Errors: unknown blob, a gap, another digest than before.
    pub fn add_blocks(&self, digest: &Digest, first: u64, digests: &[BlockDigest]) -> Result<()> {
        self.change(|state| {
            let number = state.numbers.get(digest).copied();
            let blob = number.and_then(|number| state.blobs.get_mut(number));
            blob.ok_or_else(|| unknown(digest))?.add(first, digests)
        })
    }

    /// Size of a blob of the image in bytes.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.state().blob(digest).map(|blob| blob.size)
    }

    /// Waits for the size of a blob. Errors: the end came first.
    pub fn wait_size(&self, digest: &Digest, limit: Duration) -> Result<u64> {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        loop {
            if let Some(blob) = state.blob(digest) {
                return Ok(blob.size);
            }
            if let Some(end) = &state.end {
                return Err(error_of(end));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(unknown(digest));
            }
            state = self.wait(state, left);
        }
    }

    /// True if the digests of all blocks of the blob are known.
    pub fn is_whole(&self, digest: &Digest) -> bool {
        self.state().blob(digest).is_some_and(BlobBlocks::is_whole)
    }

    /// Waits for the digest of a block. `None`: not yet. Errors: the end came first.
    pub fn wait_block(
        &self,
        digest: &Digest,
        block: u64,
        wait: Duration,
    ) -> Result<Option<BlockDigest>> {
        let deadline = Instant::now() + wait;
        let mut state = self.state();
        loop {
            if let Some(block) = state.block(digest, block) {
                return Ok(Some(block));
            }
            if let Some(end) = &state.end {
                return Err(error_of(end));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.wait(state, left);
        }
    }

    /// Adds the address of a rank.
    pub fn add_peer(&self, rank: u32, address: SocketAddr) {
        self.change(|state| state.peers.insert(rank, address));
    }

    /// Waits for the address of a rank. `None`: not yet.
    pub fn wait_peer(&self, rank: u32, wait: Duration) -> Option<SocketAddr> {
        let deadline = Instant::now() + wait;
        let mut state = self.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = state.peers.get(&rank).copied();
            if found.is_some() || state.end.is_some() || left.is_zero() {
                return found;
            }
            state = self.wait(state, left);
        }
    }

    /// Sets the end, unless there is one.
    pub fn set_end(&self, end: SpreadEnd) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// The end, if it has come.
    pub fn end(&self) -> Option<SpreadEnd> {
        self.state().end.clone()
    }

    /// Waits for the end, at most `wait`.
    pub fn wait_end(&self, wait: Duration) -> Option<SpreadEnd> {
        let state = self.state();
        let state = if state.end.is_none() { self.wait(state, wait) } else { state };
        state.end.clone()
    }

    /// Enters a frame from rank 0. Errors: a frame that rank 0 does not send, or that contradicts earlier ones.
    pub fn enter(&self, frame: SpreadFrame) -> Result<()> {
        match frame {
            SpreadFrame::Manifest { media_type, bytes } => {
                let media_type = Some(media_type).filter(|text| !text.is_empty());
                self.add_manifest(Digest::of(&bytes), FetchedManifest { bytes, media_type })
            }
            SpreadFrame::Image { reference, top } => self.set_image(SpreadImage { reference, top }),
            SpreadFrame::Blob { digest, size } => self.add_blob(&digest, size),
            SpreadFrame::Blocks { blob, first, digests } => self.change(|state| {
                let blob = state.blobs.get_mut(blob as usize);
                let blob = blob.ok_or_else(|| Error::new("blocks of an unknown blob"))?;
                blob.add(u64::from(first), &digests)
            }),
            SpreadFrame::Peer { rank, address } => {
                self.add_peer(rank, address);
                Ok(())
            }
            SpreadFrame::Ping => Ok(()),
            SpreadFrame::Failed(text) => {
                self.set_end(SpreadEnd::Failed(text));
                Ok(())
            }
            SpreadFrame::Finish => {
                self.set_end(SpreadEnd::Finished);
                Ok(())
            }
            other => fail!("rank 0 sent {other:?}"),
        }
    }

    /// Returns frames for the part behind `cursor`, and moves `cursor`. `peers`: ranks whose addresses are of use. Waits
    /// for a change, at most `wait`, if there is nothing new.
    pub fn news(
        &self,
        cursor: &mut LedgerCursor,
        peers: &[u32],
        wait: Duration,
    ) -> Vec<SpreadFrame> {
        let mut state = self.state();
        let frames = state.news(cursor, peers);
        if !frames.is_empty() {
            return frames;
        }
        state = self.wait(state, wait);
        state.news(cursor, peers)
    }
}

impl LedgerState {
    fn blob(&self, digest: &Digest) -> Option<&BlobBlocks> {
        self.numbers.get(digest).and_then(|number| self.blobs.get(*number))
    }

    fn block(&self, digest: &Digest, block: u64) -> Option<BlockDigest> {
        let block = usize::try_from(block).ok()?;
        self.blob(digest)?.blocks.get(block).copied()
    }

    fn news(&self, cursor: &mut LedgerCursor, peers: &[u32]) -> Vec<SpreadFrame> {
        let mut frames = Vec::new();
        for (_, manifest) in self.manifests.iter().skip(cursor.manifests) {
            let media_type = manifest.media_type.clone().unwrap_or_default();
            frames.push(SpreadFrame::Manifest { media_type, bytes: manifest.bytes.clone() });
        }
        cursor.manifests = self.manifests.len();
        if let Some(SpreadImage { reference, top }) =
            self.image.clone().filter(|_| !cursor.has_image)
        {
            frames.push(SpreadFrame::Image { reference, top });
            cursor.has_image = true;
        }
        for (rank, address) in &self.peers {
            if peers.contains(rank) && !cursor.peers.contains(rank) {
                frames.push(SpreadFrame::Peer { rank: *rank, address: *address });
                cursor.peers.push(*rank);
            }
        }
        for blob in self.blobs.iter().skip(cursor.blocks.len()) {
            frames.push(SpreadFrame::Blob { digest: blob.digest.clone(), size: blob.size });
        }
        cursor.blocks.resize(self.blobs.len(), 0);
        for ((number, blob), sent) in (0u32..).zip(&self.blobs).zip(&mut cursor.blocks) {
            for digests in blob.blocks.get(*sent..).unwrap_or_default().chunks(MOST_DIGESTS) {
                let first = u32::try_from(*sent).unwrap_or(u32::MAX);
                frames.push(SpreadFrame::Blocks { blob: number, first, digests: digests.to_vec() });
                *sent += digests.len();
            }
        }
        match &self.end {
            Some(end) if !cursor.has_end => {
                cursor.has_end = true;
                frames.push(match end {
                    SpreadEnd::Finished => SpreadFrame::Finish,
                    SpreadEnd::Failed(text) | SpreadEnd::Lost(text) => {
                        SpreadFrame::Failed(text.clone())
                    }
                });
            }
            _ => {}
        }
        frames
    }
}

impl BlobBlocks {
    fn is_whole(&self) -> bool {
        self.blocks.len() as u64 == block_count(self.size)
    }

    /// Adds digests from block `first` on.
    fn add(&mut self, first: u64, digests: &[BlockDigest]) -> Result<()> {
        for (number, digest) in (first..).zip(digests) {
            match usize::try_from(number).ok().and_then(|number| self.blocks.get(number)) {
                Some(known) if known == digest => continue,
                Some(_) => fail!("blob {}: block {number} changed", self.digest),
                None => {}
            }
            if number != self.blocks.len() as u64 || block_length(self.size, number) == 0 {
                fail!("blob {}: it has no block {number}", self.digest);
            }
            self.blocks.push(*digest);
        }
        Ok(())
    }
}

fn unknown(digest: &Digest) -> Error {
    Error::new(format!("blob {digest} is not of the image that rank 0 pulls"))
}

/// Error of a rank that cannot do without rank 0.
pub fn error_of(end: &SpreadEnd) -> Error {
    match end {
        SpreadEnd::Finished => Error::new("rank 0 has ended the spread"),
        SpreadEnd::Failed(text) => Error::new(format!("rank 0 failed: {text}")),
        SpreadEnd::Lost(text) => Error::new(format!("rank 0 is gone: {text}")),
    }
}
