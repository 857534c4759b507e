//! Contents of regular files: written block by block, each content once. Tails of files share fragment blocks.
//!
//! The pieces of all files come in the order of the tree, and the bytes are written in that order: the file does not
//! depend on the number of workers. The digest of a content is known at its end alone. A content that is in the file
//! already is overwritten by the next one.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::Receiver;

use sha2::{Digest as _, Sha256};

use super::area::FileArea;
use super::workers::{BLOCK, BlockForm, BlockUse, Buffers, PackedBlock, PendingBlock, Sum, Tasks};
use crate::error::{Error, Result};
use crate::fail;
use crate::layer::squashfs::format::{BlockWord, FragmentEntry, NO_FRAGMENT};

/// Fragment blocks that are compressed while the files after them are written. Constant: it decides where a fragment
/// block is.
const FRAGMENTS_UNDERWAY: usize = 16;

/// Most blocks of all files: 2 TiB. Files with holes need 4 bytes of memory for each.
const MOST_BLOCKS: usize = 1 << 24;

/// Index of no content.
const NONE: u32 = u32::MAX;

/// Part of a regular file.
pub(super) enum Piece {
    /// Whole block.
    Block(PendingBlock),
    /// Number of blocks in a hole.
    Hole(u64),
    /// Rest that is shorter than a block. Nothing but [`Piece::End`] may follow.
    Tail(Vec<u8>),
    /// End of the file, which has this many bytes.
    End(u64),
}

/// Place of a content in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// Offset of the first block.
    pub(super) start: u64,
    /// Index of the fragment block with the tail.
    pub(super) fragment: u32,
    /// Offset of the tail in the uncompressed fragment block.
    pub(super) offset: u32,
    // Index of the first block's size in the list of all.
    first_size: u32,
    // Next content whose sum begins with the same eight bytes.
    next: u32,
    sum: Sum,
}

/// Contents of all files.
#[derive(Default)]
pub(super) struct Contents {
    /// Index of the content of each file, in the order of the tree.
    pub(super) files: Vec<u32>,
    /// Fragment blocks.
    pub(super) fragments: Vec<FragmentEntry>,
    all: Vec<Content>,
    sizes: Vec<BlockWord>,
}

impl Contents {
    /// Returns the content of the file with this position among all regular files.
    pub(super) fn of_file(&self, file: u32) -> Option<&Content> {
        self.all.get(index(*self.files.get(index(file))?))
    }

    /// Returns the sizes of a content's blocks, for a file of `size` bytes.
    pub(super) fn block_sizes(&self, content: &Content, size: u64) -> &[BlockWord] {
        let rest = self.sizes.get(index(content.first_size)..).unwrap_or_default();
        let count = usize::try_from(size / BLOCK as u64).unwrap_or(usize::MAX);
        rest.get(..count).unwrap_or_default()
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn too_many() -> Error {
    Error::new("more files than squashfs can number")
}

/// Writer of the contents.
pub(super) struct ContentWriter<'o, 'b> {
    area: FileArea<'o>,
    tasks: Tasks,
    buffers: &'b Buffers,
    contents: Contents,
    // Contents by the first eight bytes of their sums.
    known: HashMap<u64, u32>,
    fragment: Vec<u8>,
    fragment_count: u32,
    underway: VecDeque<PendingBlock>,
    zeros: Sum,
    file: PartialContent,
}

/// The file that is being written.
struct PartialContent {
    start: u64,
    sizes: Vec<BlockWord>,
    hasher: Sha256,
    tail: Vec<u8>,
}

impl PartialContent {
    fn new(start: u64) -> Self {
        Self { start, sizes: Vec::new(), hasher: Sha256::new(), tail: Vec::new() }
    }
}

impl<'o, 'b> ContentWriter<'o, 'b> {
    /// Makes a writer that starts at the area's position.
    pub(super) fn new(area: FileArea<'o>, tasks: Tasks, buffers: &'b Buffers) -> Self {
        let start = area.position();
        Self {
            area,
            tasks,
            buffers,
            contents: Contents::default(),
            known: HashMap::new(),
            fragment: buffers.take(),
            fragment_count: 0,
            underway: VecDeque::new(),
            zeros: Sha256::digest(vec![0; BLOCK]).into(),
            file: PartialContent::new(start),
        }
    }

    /// Writes all pieces; returns the contents, and the area behind them. Errors: the output, a failed compression, too
    /// many blocks.
    pub(super) fn run(mut self, pieces: &Receiver<Piece>) -> Result<(Contents, FileArea<'o>)> {
        for piece in pieces {
            match piece {
                Piece::Block(pending) => self.block(pending.wait()?)?,
                Piece::Hole(count) => self.hole(count)?,
                Piece::Tail(tail) => self.tail(tail),
                Piece::End(size) => self.end(size)?,
            }
        }
        self.end_fragment()?;
        while let Some(pending) = self.underway.pop_front() {
            self.write_fragment(pending)?;
        }
        Ok((self.contents, self.area))
    }

    fn block(&mut self, block: PackedBlock) -> Result<()> {
        self.file.hasher.update(block.sum);
        self.refuse_too_many(1)?;
        let word = self.write(block)?;
        self.file.sizes.push(word);
        Ok(())
    }

    fn hole(&mut self, count: u64) -> Result<()> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.refuse_too_many(count)?;
        for _ in 0..count {
            self.file.hasher.update(self.zeros);
        }
        self.file.sizes.resize(self.file.sizes.len() + count, BlockWord::HOLE);
        Ok(())
    }

    fn refuse_too_many(&self, more: usize) -> Result<()> {
        let known = self.contents.sizes.len() + self.file.sizes.len();
        match known.checked_add(more).is_some_and(|all| all <= MOST_BLOCKS) {
            true => Ok(()),
            false => fail!("its files have more than {} TiB", (MOST_BLOCKS * BLOCK) >> 40),
        }
    }

    fn tail(&mut self, tail: Vec<u8>) {
        self.file.hasher.update(&tail);
        self.file.tail = tail;
    }

    /// Writes a block; returns its size in the form of the block list.
    fn write(&mut self, block: PackedBlock) -> Result<BlockWord> {
        let length = u32::try_from(block.bytes.len()).map_err(|_| too_many())?;
        self.area.write(&block.bytes)?;
        self.buffers.give(block.bytes);
        Ok(match block.form {
            BlockForm::Zeros => BlockWord::HOLE,
            BlockForm::Compressed => BlockWord::compressed(length),
            BlockForm::Plain => BlockWord::uncompressed(length),
        })
    }

    /// Ends a file: finds its content among the known ones, or records a new one.
    fn end(&mut self, size: u64) -> Result<()> {
        let PartialContent { start, sizes, mut hasher, tail } =
            std::mem::replace(&mut self.file, PartialContent::new(0));
        hasher.update(size.to_le_bytes());
        let sum: Sum = hasher.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = sum;
        let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let first = self.known.get(&key).copied().unwrap_or(NONE);
        if let Some(known) = self.find(first, &sum) {
            self.contents.files.push(known);
            self.area.go_back(start);
        } else {
            let number = u32::try_from(self.contents.all.len()).ok();
            let number = number.filter(|number| *number < NONE).ok_or_else(too_many)?;
            let first_size = u32::try_from(self.contents.sizes.len()).map_err(|_| too_many())?;
            let (fragment, offset) = self.place_tail(&tail)?;
            let start = if sizes.is_empty() { 0 } else { start };
            let content = Content { start, fragment, offset, first_size, next: first, sum };
            self.contents.all.push(content);
            self.contents.sizes.extend_from_slice(&sizes);
            self.contents.files.push(number);
            self.known.insert(key, number);
        }
        self.buffers.give(tail);
        self.file.start = self.area.position();
        Ok(())
    }

    fn find(&self, mut number: u32, sum: &Sum) -> Option<u32> {
        while let Some(content) = self.contents.all.get(index(number)) {
            if content.sum == *sum {
                return Some(number);
            }
            number = content.next;
        }
        None
    }

    /// Puts a tail into the current fragment block, or into the next one. Returns the block's index and the offset in it.
    fn place_tail(&mut self, tail: &[u8]) -> Result<(u32, u32)> {
        if tail.is_empty() {
            return Ok((NO_FRAGMENT, 0));
        }
        if self.fragment.len() + tail.len() > BLOCK {
            self.end_fragment()?;
        }
        let offset = u32::try_from(self.fragment.len()).unwrap_or(0);
        self.fragment.extend_from_slice(tail);
        Ok((self.fragment_count, offset))
    }

    /// Hands the current fragment block to the workers, and writes the oldest one if many are underway.
    fn end_fragment(&mut self) -> Result<()> {
        if self.fragment.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.fragment, self.buffers.take());
        self.underway.push_back(self.tasks.pack(block, BlockUse::Fragment)?);
        self.fragment_count += 1;
        if self.underway.len() > FRAGMENTS_UNDERWAY
            && let Some(oldest) = self.underway.pop_front()
        {
            self.write_fragment(oldest)?;
        }
        Ok(())
    }

    fn write_fragment(&mut self, pending: PendingBlock) -> Result<()> {
        let block = pending.wait()?;
        let start = self.area.position();
        let word = self.write(block)?;
        self.contents.fragments.push(FragmentEntry { start, word: word.0, unused: 0 });
        Ok(())
    }
}
