//! Worker threads that hash and compress blocks, and the buffers that circulate between the threads.
//!
//! The order of the blocks is kept by the receiver: each block has an answer channel of its own. A worker never waits for
//! a receiver, so a full queue always drains.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use crate::error::{Context, Error, Result};

/// Bytes of a data block of the files that are written: mksquashfs' default.
pub(super) const BLOCK: usize = 128 << 10;

/// Level of zstd: the library's default. Level 15, mksquashfs' default, takes several times as long.
pub(super) const LEVEL: i32 = 3;

/// Most free buffers that are kept.
const MOST_FREE: usize = 256;

/// SHA-256 of some bytes.
pub(super) type Sum = [u8; 32];

/// Free buffers of the size of a block. Fresh memory for each block would cost more page faults than its compression.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Returns an empty buffer with room for any compressed block.
    pub(super) fn take(&self) -> Vec<u8> {
        let free = self.0.lock().pop();
        free.unwrap_or_else(|| Vec::with_capacity(zstd::compress_bound(BLOCK)))
    }

    /// Takes a buffer back, unless it is too small for a compressed block.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut free = self.0.lock();
        if free.len() < MOST_FREE && buffer.capacity() >= zstd::compress_bound(BLOCK) {
            free.push(buffer);
        }
    }
}

/// Use of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockUse {
    /// Whole block of one file: hashed, and left out if all bytes are zero.
    Content,
    /// Block of several files' tails: compressed alone.
    Fragment,
}

/// Form of a block in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockForm {
    /// Zeros alone: no bytes.
    Zeros,
    /// The bytes themselves: compression would not shorten them.
    Plain,
    /// A zstd frame.
    Compressed,
}

/// Block as the file will have it.
pub(super) struct PackedBlock {
    /// SHA-256 of the uncompressed block; zeros for a fragment.
    pub(super) sum: Sum,
    /// Form of `bytes`.
    pub(super) form: BlockForm,
    /// Bytes to write.
    pub(super) bytes: Vec<u8>,
}

/// Block that a worker has or will get.
pub(super) struct PendingBlock(Receiver<io::Result<PackedBlock>>);

impl PendingBlock {
    /// Waits for the worker. Errors: a failed compression.
    pub(super) fn wait(self) -> Result<PackedBlock> {
        let answer = self.0.recv().map_err(|_| stopped())?;
        answer.context(|| "cannot compress a block")
    }
}

/// The error of a thread whose partner has ended early. The partner's own error is the cause that is reported.
pub(super) fn stopped() -> Error {
    Error::new("a thread that writes the file has stopped")
}

struct Task {
    block: Vec<u8>,
    purpose: BlockUse,
    answer: SyncSender<io::Result<PackedBlock>>,
}

/// Sending end of the queue that all workers read.
#[derive(Clone)]
pub(super) struct Tasks(SyncSender<Task>);

impl Tasks {
    /// Adds a block; waits while the queue is full.
    pub(super) fn pack(&self, block: Vec<u8>, purpose: BlockUse) -> Result<PendingBlock> {
        let (answer, pending) = sync_channel(1);
        self.0.send(Task { block, purpose, answer }).map_err(|_| stopped())?;
        Ok(PendingBlock(pending))
    }
}

/// Receiving end of the queue. The workers end when all sending ends are dropped.
pub(super) struct TaskList(Mutex<Receiver<Task>>);

/// Makes a queue for `length` blocks.
pub(super) fn queue(length: usize) -> (Tasks, TaskList) {
    let (tasks, list) = sync_channel(length);
    (Tasks(tasks), TaskList(Mutex::new(list)))
}

impl TaskList {
    /// Compresses blocks until the queue ends.
    pub(super) fn work(&self, buffers: &Buffers) {
        let mut compressor = Compressor::new(LEVEL);
        loop {
            // A statement of its own: the lock ends here.
            let task = self.0.lock().recv();
            let Ok(Task { block, purpose, answer }) = task else { return };
            let packed = match &mut compressor {
                Ok(compressor) => pack(block, purpose, compressor, buffers),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // A receiver that has gone needs no answer.
            let _ = answer.send(packed);
        }
    }
}

fn pack(
    block: Vec<u8>,
    purpose: BlockUse,
    compressor: &mut Compressor<'static>,
    buffers: &Buffers,
) -> io::Result<PackedBlock> {
    let sum = match purpose {
        BlockUse::Content => Sha256::digest(&block).into(),
        BlockUse::Fragment => Sum::default(),
    };
    if purpose == BlockUse::Content && is_zero(&block) {
        buffers.give(block);
        return Ok(PackedBlock { sum, form: BlockForm::Zeros, bytes: Vec::new() });
    }
    let mut packed = buffers.take();
    compressor.compress_to_buffer(&block, &mut packed)?;
    let (form, bytes, free) = match packed.len() < block.len() {
        true => (BlockForm::Compressed, packed, block),
        false => (BlockForm::Plain, block, packed),
    };
    buffers.give(free);
    Ok(PackedBlock { sum, form, bytes })
}

fn is_zero(block: &[u8]) -> bool {
    // By pieces, each one comparison of memory: most blocks differ in the first.
    const ZEROS: [u8; 4096] = [0; 4096];
    block.chunks(ZEROS.len()).all(|piece| ZEROS.starts_with(piece))
}
