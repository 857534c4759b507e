//! Block list of a file: positions of its data blocks, and an index of that list with a bounded count of entries.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::ahead::Readers;
use super::blocks::BlockKey;
use super::cache::Weighed;
use super::format::{BlockWord, METADATA_SIZE};
use super::metadata::{Metadata, MetadataPosition};

/// Limit of checkpoints for one file.
const MOST_CHECKPOINTS: u64 = 1024;

/// Least distance of checkpoints, in blocks: the list between two of those is a quarter of a metadata block.
const LEAST_STRIDE: u64 = 512;

/// Start of a file's data and of the list of its blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockListing {
    /// Position of the first word of the list.
    pub list: MetadataPosition,
    /// End of the table with the list.
    pub list_end: u64,
    /// Position of the first data block.
    pub start: u64,
    /// Count of data blocks.
    pub count: u64,
}

/// Data blocks of a file.
pub struct FileLayout {
    listing: BlockListing,
    stride: u64,
    checkpoints: Mutex<Checkpoints>,
    /// Readers of the file.
    pub readers: Readers,
}

#[derive(Default)]
struct Checkpoints {
    /// Checkpoints of all multiples of `stride`, from block 0 on, as far as the list was read.
    regular: Vec<Checkpoint>,
    /// Block behind those that were located last: where a sequential reader goes on.
    recent: Option<Checkpoint>,
}

#[derive(Clone, Copy)]
struct Checkpoint {
    block: u64,
    list: MetadataPosition,
    start: u64,
}

impl Weighed for Arc<FileLayout> {
    fn weight(&self) -> u64 {
        1
    }
}

impl FileLayout {
    /// Takes a listing. Errors: EIO for more blocks than the table with the list can hold.
    pub fn new(listing: BlockListing) -> Result<Self, Errno> {
        // No metadata block is shorter than 3 bytes on disk, nor longer than 8 KiB inflated.
        let room = listing.list_end.saturating_sub(listing.list.block) / 3 + 1;
        let words = room.saturating_mul((METADATA_SIZE / size_of::<BlockWord>()) as u64);
        if listing.count > words {
            return Err(Errno::IO);
        }
        let stride = listing.count.div_ceil(MOST_CHECKPOINTS).max(LEAST_STRIDE);
        let first = Checkpoint { block: 0, list: listing.list, start: listing.start };
        let checkpoints = Checkpoints { regular: vec![first], recent: None };
        Ok(Self {
            listing,
            stride,
            checkpoints: Mutex::new(checkpoints),
            readers: Readers::default(),
        })
    }

    /// Count of data blocks.
    pub fn count(&self) -> u64 {
        self.listing.count
    }

    /// Locates the blocks from `first` on: as many as `found` has places and the file has blocks. Returns their count.
    pub fn locate(
        &self,
        metadata: &Metadata,
        first: u64,
        found: &mut [BlockKey],
    ) -> Result<usize, Errno> {
        let mut at = self.checkpoint_before(first);
        let mut cursor = metadata.cursor(at.list, self.listing.list_end)?;
        let mut passed = Vec::new();
        let left = self.listing.count.saturating_sub(first);
        let count = found.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let end = first + count as u64;
        let mut places = found.iter_mut();
        while at.block < end {
            let word = BlockWord(u32::from_le_bytes(cursor.take()?));
            let key = BlockKey { start: at.start, word };
            at.start = at.start.checked_add(word.stored().into()).ok_or(Errno::IO)?;
            if !word.is_valid() || at.start > metadata.bytes().size() {
                return Err(Errno::IO);
            }
            if at.block >= first
                && let Some(place) = places.next()
            {
                *place = key;
            }
            at.block += 1;
            at.list = cursor.position();
            if at.block.is_multiple_of(self.stride) {
                passed.push(at);
            }
        }
        self.note(at, passed);
        Ok(count)
    }

    fn checkpoint_before(&self, block: u64) -> Checkpoint {
        let checkpoints = self.checkpoints.lock();
        let known = checkpoints.regular.len().saturating_sub(1);
        let passed = usize::try_from(block / self.stride).unwrap_or(usize::MAX);
        let regular = checkpoints.regular.get(passed.min(known));
        let recent = checkpoints.recent.iter().find(|point| point.block <= block);
        let first = Checkpoint { block: 0, list: self.listing.list, start: self.listing.start };
        regular.into_iter().chain(recent).max_by_key(|point| point.block).copied().unwrap_or(first)
    }

    fn note(&self, recent: Checkpoint, passed: Vec<Checkpoint>) {
        let mut checkpoints = self.checkpoints.lock();
        for point in passed {
            if point.block == checkpoints.regular.len() as u64 * self.stride {
                checkpoints.regular.push(point);
            }
        }
        checkpoints.recent = Some(recent);
    }
}
