//! Metadata blocks: read through a cache, as streams of bytes that run from block to block, and as tables of records.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::cache::{BlockCache, Weighed};
use super::codec::Inflaters;
use super::format::{METADATA_SIZE, MetadataHeader};
use super::source::ImageBytes;

/// Shards of the cache. Every operation passes through it, with locks that last for a look-up.
const SHARDS: usize = 16;

/// Limit of the list of a table's blocks that is kept in memory, in bytes: enough for four million fragments.
const KEPT_LIST: u64 = 64 << 10;

/// Memory of a cached block beside its content, in bytes.
const OVERHEAD: u64 = 160;

/// Metadata blocks of an image.
pub struct Metadata {
    bytes: Arc<ImageBytes>,
    inflaters: Arc<Inflaters>,
    cache: BlockCache<u64, Arc<MetadataBlock>>,
    loads: AtomicU64,
}

/// Inflated metadata block.
pub struct MetadataBlock {
    content: Vec<u8>,
    /// Position of the next block in the image.
    next: u64,
}

/// Position of a byte: start of its metadata block in the image, and offset in the inflated block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataPosition {
    /// Start of the block.
    pub block: u64,
    /// Offset.
    pub offset: usize,
}

impl Weighed for Arc<MetadataBlock> {
    fn weight(&self) -> u64 {
        self.content.len() as u64 + OVERHEAD
    }
}

impl Metadata {
    /// Reads blocks of the image, and keeps up to `limit` bytes of those.
    pub fn new(bytes: Arc<ImageBytes>, inflaters: Arc<Inflaters>, limit: u64) -> Self {
        Self { bytes, inflaters, cache: BlockCache::new(limit, SHARDS), loads: AtomicU64::new(0) }
    }

    /// Bytes of the image.
    pub fn bytes(&self) -> &ImageBytes {
        &self.bytes
    }

    /// Count of blocks that were read from the file.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Reads from a position. Blocks that start at or behind `end` are not of this table: EIO.
    pub fn cursor(&self, from: MetadataPosition, end: u64) -> Result<MetadataCursor<'_>, Errno> {
        if from.block >= end {
            return Err(Errno::IO);
        }
        let block = self.block(from.block)?;
        if from.offset > block.content.len() {
            return Err(Errno::IO);
        }
        Ok(MetadataCursor { metadata: self, block, position: from, end })
    }

    fn block(&self, at: u64) -> Result<Arc<MetadataBlock>, Errno> {
        self.cache.get_or_load(at, || self.load(at).map(Arc::new))
    }

    fn load(&self, at: u64) -> Result<MetadataBlock, Errno> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        // Header and content in one call: a block on disk is rarely much shorter than this.
        let mut stored = [0; MetadataHeader::SIZE + METADATA_SIZE];
        let count = self.bytes.read(at, &mut stored)?;
        let (header, behind) =
            stored.get(..count).and_then(|stored| stored.split_first_chunk()).ok_or(Errno::IO)?;
        let header = MetadataHeader(u16::from_le_bytes(*header));
        let size = header.stored();
        if size == 0 || size > METADATA_SIZE {
            return Err(Errno::IO);
        }
        let behind = behind.get(..size).ok_or(Errno::IO)?;
        let content = match header.is_compressed() {
            true => self.inflaters.inflate(behind, METADATA_SIZE)?,
            false => behind.to_vec(),
        };
        let next = at + (MetadataHeader::SIZE + size) as u64;
        Ok(MetadataBlock { content, next })
    }
}

/// Stream of bytes from a position on, through all blocks behind it.
pub struct MetadataCursor<'a> {
    metadata: &'a Metadata,
    block: Arc<MetadataBlock>,
    position: MetadataPosition,
    end: u64,
}

impl MetadataCursor<'_> {
    /// Position of the next byte.
    pub fn position(&self) -> MetadataPosition {
        self.position
    }

    /// Fills `buffer`. Errors: EIO at the end of the table.
    pub fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Errno> {
        while !buffer.is_empty() {
            let left = self.left()?;
            let count = left.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut_checked(count).ok_or(Errno::IO)?;
            now.copy_from_slice(left.get(..count).ok_or(Errno::IO)?);
            self.position.offset += count;
            buffer = later;
        }
        Ok(())
    }

    /// Reads a record.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let mut record = [0; N];
        self.read(&mut record)?;
        Ok(record)
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, mut count: u64) -> Result<(), Errno> {
        while count > 0 {
            let now = (self.left()?.len() as u64).min(count);
            self.position.offset += now as usize;
            count -= now;
        }
        Ok(())
    }

    /// Returns the rest of the current block, or the next one at its end.
    fn left(&mut self) -> Result<&[u8], Errno> {
        if self.position.offset == self.block.content.len() {
            let next = self.block.next;
            if next >= self.end {
                return Err(Errno::IO);
            }
            self.block = self.metadata.block(next)?;
            self.position = MetadataPosition { block: next, offset: 0 };
        }
        self.block.content.get(self.position.offset..).ok_or(Errno::IO)
    }
}

/// Table of records of one size, a power of two: metadata blocks, and a list of their starts.
pub struct MetadataTable {
    list: u64,
    count: u64,
    record: usize,
    starts: OnceLock<Box<[u64]>>,
}

impl MetadataTable {
    const START: usize = size_of::<u64>();

    /// Describes the table of `count` records of `record` bytes, whose list of starts is at the position `list`.
    pub fn new(list: u64, count: u64, record: usize) -> Self {
        Self { list, count, record, starts: OnceLock::new() }
    }

    /// Position of the first byte behind the list; `None` where that is no position.
    pub fn end(&self) -> Option<u64> {
        self.list.checked_add(self.blocks().checked_mul(Self::START as u64)?)
    }

    fn blocks(&self) -> u64 {
        self.count.div_ceil(self.records_in_block())
    }

    fn records_in_block(&self) -> u64 {
        (METADATA_SIZE / self.record) as u64
    }

    /// Reads the record `number`. Errors: EIO for a number that the table does not have.
    pub fn record<const N: usize>(
        &self,
        metadata: &Metadata,
        number: u64,
    ) -> Result<[u8; N], Errno> {
        if number >= self.count {
            return Err(Errno::IO);
        }
        let start = self.start(metadata, number / self.records_in_block())?;
        let block = metadata.block(start)?;
        let at = (number % self.records_in_block()) as usize * self.record;
        let record = block.content.get(at..).and_then(|rest| rest.first_chunk());
        record.copied().ok_or(Errno::IO)
    }

    fn start(&self, metadata: &Metadata, block: u64) -> Result<u64, Errno> {
        let size = self.blocks() * Self::START as u64;
        if size > KEPT_LIST {
            let mut start = [0; Self::START];
            metadata.bytes.read_exact(self.list + block * Self::START as u64, &mut start)?;
            return Ok(u64::from_le_bytes(start));
        }
        let starts = match self.starts.get() {
            Some(starts) => starts,
            None => {
                let mut list = vec![0; size as usize];
                metadata.bytes.read_exact(self.list, &mut list)?;
                let (starts, _) = list.as_chunks();
                self.starts.get_or_init(|| starts.iter().copied().map(u64::from_le_bytes).collect())
            }
        };
        starts.get(block as usize).copied().ok_or(Errno::IO)
    }
}
