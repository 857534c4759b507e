//! Content of regular files: data blocks, holes, and tails in fragments.

use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::blocks::{BlockKey, DataBlock};
use super::format::BlockWord;
use super::image::SquashfsImage;
use super::inode::{FileTail, Inode, InodeContent};
use super::layout::FileLayout;
use crate::layer::LayerFile;

/// Blocks that are located at once: the wanted one, and those that may be requested ahead.
const LOCATED: usize = 5;

/// Blocks that are located at once to find data or a hole.
const LOCATED_TO_SEEK: usize = 64;

/// Regular file of an image, open for reading. Costs no descriptor; open as cheap as a look-up.
#[derive(Clone)]
pub struct SquashfsFile {
    image: Arc<SquashfsImage>,
    layout: Arc<FileLayout>,
    tail: Option<FileTail>,
    size: u64,
}

/// Part of a file that lies in one block.
#[derive(Clone, Debug)]
pub enum FileChunk {
    /// Bytes in a range of a block.
    Data(DataBlock, Range<usize>),
    /// Count of zeros.
    Hole(u64),
    /// End of the file.
    End,
}

/// Target of [`SquashfsFile::seek`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTarget {
    /// Bytes that are stored (SEEK_DATA).
    Data,
    /// Zeros that are not stored, or the end of the file (SEEK_HOLE).
    Hole,
}

impl SquashfsFile {
    /// Opens a file. Errors: EISDIR for a folder, EINVAL for another kind; EIO for a size beyond the image's abilities.
    pub fn open(image: &Arc<SquashfsImage>, inode: &Inode) -> Result<Self, Errno> {
        let content = match &inode.content {
            InodeContent::File(content) => content,
            InodeContent::Folder(_) => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        };
        let layout = image.layout(inode.reference, content)?;
        Ok(Self { image: Arc::clone(image), layout, tail: content.tail, size: inode.size })
    }

    /// Size, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns what the file has from `offset` on, to the end of the block there. Errors: EIO for a broken block.
    pub fn chunk_at(&self, offset: u64) -> Result<FileChunk, Errno> {
        if offset >= self.size {
            return Ok(FileChunk::End);
        }
        let block_size = u64::from(self.image.superblock().block_size);
        let (block, within) = (offset / block_size, offset % block_size);
        let length = (self.size - block * block_size).min(block_size);
        if block >= self.layout.count() {
            let tail = self.tail.ok_or(Errno::IO)?;
            let start = u64::from(tail.offset);
            let data = self.fragment_block(tail)?;
            return chunk(data, start.saturating_add(within), start.saturating_add(length));
        }
        let key = self.locate(block)?;
        if key.word.is_hole() {
            return Ok(FileChunk::Hole(length - within));
        }
        let data = self.image.blocks.get(key)?;
        if data.len() as u64 != length {
            return Err(Errno::IO);
        }
        chunk(data, within, length)
    }

    /// Reads from `offset` until `buffer` is full or the file ends, and returns the bytes read. Errors: EIO for any
    /// broken block in that range, since a short answer would mean the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(done as u64) else { break };
            let count = match self.chunk_at(at)? {
                FileChunk::End => break,
                FileChunk::Hole(zeros) => {
                    let count = rest.len().min(usize::try_from(zeros).unwrap_or(usize::MAX));
                    rest.iter_mut().take(count).for_each(|byte| *byte = 0);
                    count
                }
                FileChunk::Data(block, range) => {
                    let data = block.get(range).ok_or(Errno::IO)?;
                    let count = rest.len().min(data.len());
                    let (now, data) = (rest.get_mut(..count), data.get(..count));
                    now.zip(data).ok_or(Errno::IO).map(|(now, data)| now.copy_from_slice(data))?;
                    count
                }
            };
            done += count;
        }
        Ok(done)
    }

    /// Returns the next position of the target, from `offset` on (lseek(2)). Inflates nothing: a stored block of zeros
    /// is data. Errors: ENXIO at or behind the end, and for data where only holes follow.
    pub fn seek(&self, offset: u64, target: SeekTarget) -> Result<u64, Errno> {
        if offset >= self.size {
            return Err(Errno::NXIO);
        }
        let block_size = u64::from(self.image.superblock().block_size);
        let mut keys = [BlockKey { start: 0, word: BlockWord::HOLE }; LOCATED_TO_SEEK];
        let mut block = offset / block_size;
        while block < self.layout.count() {
            let count = self.layout.locate(&self.image.metadata, block, &mut keys)?;
            let is_target = |key: &BlockKey| key.word.is_hole() == (target == SeekTarget::Hole);
            if let Some(at) = keys.iter().take(count).position(is_target) {
                return Ok(offset.max((block + at as u64) * block_size));
            }
            block += count.max(1) as u64;
        }
        // A tail is data.
        let blocks_end = self.layout.count().saturating_mul(block_size);
        match target {
            SeekTarget::Data if blocks_end < self.size => Ok(offset.max(blocks_end)),
            SeekTarget::Data => Err(Errno::NXIO),
            SeekTarget::Hole => Ok(self.size),
        }
    }

    /// Locates a block, and requests those behind it where the file is read in sequence.
    fn locate(&self, block: u64) -> Result<BlockKey, Errno> {
        let ahead = self.layout.readers.note(block);
        let mut keys = [BlockKey { start: 0, word: BlockWord::HOLE }; LOCATED];
        let wanted = keys.get_mut(..=(ahead as usize).min(LOCATED - 1)).ok_or(Errno::IO)?;
        let count = self.layout.locate(&self.image.metadata, block, wanted)?;
        let (key, behind) = wanted.get(..count).and_then(<[_]>::split_first).ok_or(Errno::IO)?;
        behind.iter().for_each(|key| self.image.ahead.request(*key));
        if (count as u64) <= ahead
            && let Some(tail) = self.tail
            && let Ok(key) = self.image.fragment(tail.fragment)
        {
            self.image.ahead.request(key);
        }
        Ok(*key)
    }

    /// Returns the block of a tail. Small files lie there in the order of their names: a reader of all goes on with the
    /// next fragment block.
    fn fragment_block(&self, tail: FileTail) -> Result<DataBlock, Errno> {
        let image = &self.image;
        let key = image.fragment(tail.fragment)?;
        let ahead = image.fragment_readers.note(tail.fragment.into());
        for next in (1..=ahead as u32).filter_map(|step| tail.fragment.checked_add(step)) {
            if let Ok(key) = image.fragment(next) {
                image.ahead.request(key);
            }
        }
        image.blocks.get(key)
    }
}

/// Returns a range of a block. Errors: EIO where the block is shorter.
fn chunk(data: DataBlock, from: u64, to: u64) -> Result<FileChunk, Errno> {
    let range = from as usize..to as usize;
    match data.get(range.clone()).is_some() {
        true => Ok(FileChunk::Data(data, range)),
        false => Err(Errno::IO),
    }
}

impl LayerFile for SquashfsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Self::read_at(self, buffer, offset)
    }
}
