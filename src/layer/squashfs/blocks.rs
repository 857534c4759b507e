//! Data blocks and fragment blocks, through one cache that is bounded by bytes.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::cache::{BlockCache, Weighed};
use super::codec::{Inflaters, StoredBytes};
use super::format::BlockWord;
use super::source::ImageBytes;

/// Memory of a cached block beside its content, in bytes.
const OVERHEAD: u64 = 200;

/// Limit of memory in buffers that wait for their next use, in bytes.
const MOST_SPARE: usize = 4 << 20;

/// Limit of such buffers.
const MOST_SPARE_BUFFERS: usize = 8;

/// Share of a buffer, as its divisor, below which a block gets memory of its own size.
const LEAST_SHARE: usize = 8;

/// Inflated block. A clone is another handle of the same memory, which lives as long as any handle.
#[derive(Clone, Debug)]
pub struct DataBlock(Arc<BlockBuffer>);

/// Memory of a block. Goes back to the spare buffers: blocks that come and go for hours would else leave holes in the
/// memory of each thread.
#[derive(Debug)]
struct BlockBuffer {
    content: Vec<u8>,
    spare: Arc<SpareBuffers>,
}

/// Buffers of the size of a block.
#[derive(Debug)]
struct SpareBuffers {
    buffers: Mutex<Vec<Vec<u8>>>,
    block_size: usize,
}

impl Deref for DataBlock {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.content
    }
}

impl Weighed for DataBlock {
    fn weight(&self) -> u64 {
        self.0.content.capacity() as u64 + OVERHEAD
    }
}

impl SpareBuffers {
    fn new(block_size: usize) -> Arc<Self> {
        Arc::new(Self { buffers: Mutex::default(), block_size })
    }

    fn take(&self) -> Vec<u8> {
        let spare = self.buffers.lock().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(self.block_size))
    }

    fn put(&self, buffer: Vec<u8>) {
        let most = (MOST_SPARE / self.block_size).min(MOST_SPARE_BUFFERS);
        let mut buffers = self.buffers.lock();
        if buffer.capacity() == self.block_size && buffers.len() < most {
            buffers.push(buffer);
        }
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.content));
    }
}

/// Location of a stored block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Position in the image.
    pub start: u64,
    /// Size and form.
    pub word: BlockWord,
}

/// Data and fragment blocks of an image.
pub struct DataBlocks {
    bytes: Arc<ImageBytes>,
    inflaters: Arc<Inflaters>,
    cache: BlockCache<BlockKey, DataBlock>,
    block_size: usize,
    spare: Arc<SpareBuffers>,
    loads: AtomicU64,
    loads_ahead: AtomicU64,
}

impl DataBlocks {
    /// Reads blocks of at most `block_size` bytes, and keeps up to `limit` bytes of those.
    pub fn new(
        bytes: Arc<ImageBytes>,
        inflaters: Arc<Inflaters>,
        block_size: u32,
        limit: u64,
    ) -> Self {
        Self {
            bytes,
            inflaters,
            // A single shard: a block of 1 MiB is much of a shard's share, and its load dwarfs the time under the lock.
            cache: BlockCache::new(limit, 1),
            block_size: block_size as usize,
            spare: SpareBuffers::new(block_size as usize),
            loads: AtomicU64::new(0),
            loads_ahead: AtomicU64::new(0),
        }
    }

    /// Returns a block. Errors: EIO for a broken block.
    pub fn get(&self, key: BlockKey) -> Result<DataBlock, Errno> {
        self.cache.get_or_load(key, || self.load(key))
    }

    /// Brings a block into the cache, unless it is there or on its way. An error is left to the reader.
    pub fn fetch(&self, key: BlockKey) {
        if self.cache.load_missing(key, || self.load(key)) {
            self.loads_ahead.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True if the block is in the cache or on its way.
    pub fn contains(&self, key: &BlockKey) -> bool {
        self.cache.contains(key)
    }

    /// Count of blocks that were read from the file.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Count of blocks that [`DataBlocks::fetch`] read.
    pub fn loads_ahead(&self) -> u64 {
        self.loads_ahead.load(Ordering::Relaxed)
    }

    fn load(&self, key: BlockKey) -> Result<DataBlock, Errno> {
        let size = key.word.stored() as usize;
        if !key.word.is_valid() || size == 0 || size > self.block_size {
            return Err(Errno::IO);
        }
        self.loads.fetch_add(1, Ordering::Relaxed);
        let mut content = self.spare.take();
        let read = if key.word.is_compressed() {
            let stored = StoredBytes { at: key.start, size, limit: self.block_size };
            self.inflaters.read(&self.bytes, stored, &mut content)
        } else {
            content.resize(size, 0);
            self.bytes.read_exact(key.start, &mut content)
        };
        // Last blocks of files: most keep their buffer, since buffers of one size leave no holes in memory.
        if read.is_err() || content.len() < self.block_size / LEAST_SHARE {
            let short = content.as_slice().into();
            self.spare.put(std::mem::replace(&mut content, short));
        }
        read?;
        Ok(DataBlock(Arc::new(BlockBuffer { content, spare: Arc::clone(&self.spare) })))
    }
}
