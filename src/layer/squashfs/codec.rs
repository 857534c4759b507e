//! Inflation of blocks. Output is bounded by the caller, so that a bomb is an error.
//!
//! States of the libraries, and buffers for input, are kept for the next block: making those takes as long as a small
//! block.

use flate2::{Decompress, FlushDecompress, Status};
use liblzma::stream as xz;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::format::SquashfsCodec;
use super::source::ImageBytes;

/// Limit of memory for an xz stream, in bytes. Dictionaries are no larger than a block, 1 MiB.
const XZ_MEMORY: u64 = 8 << 20;

/// Limit of states that are kept.
const MOST_IDLE: usize = 16;

/// Bytes to inflate: position in the image, size, and limit of the result, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct StoredBytes {
    /// Position in the image.
    pub at: u64,
    /// Size on disk.
    pub size: usize,
    /// Limit of the inflated size.
    pub limit: usize,
}

/// States for the codec of an image, for any number of threads.
pub struct Inflaters {
    codec: SquashfsCodec,
    idle: Mutex<Vec<InflaterState>>,
}

struct InflaterState {
    input: Vec<u8>,
    engine: InflaterEngine,
}

enum InflaterEngine {
    Gzip(Decompress),
    Lz4,
    Xz,
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Inflaters {
    /// Makes states when needed. Lzma and lzo, which the caller has refused, inflate nothing.
    pub fn new(codec: SquashfsCodec) -> Self {
        Self { codec, idle: Mutex::default() }
    }

    /// Reads and inflates bytes of the image into `output`, whose content goes and whose capacity is the limit or more.
    /// Errors: EIO for a stream that is broken, empty or too long.
    pub fn read(
        &self,
        bytes: &ImageBytes,
        stored: StoredBytes,
        output: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        self.with_state(|state| state.read(bytes, stored, output))
    }

    /// Inflates `input` to at most `limit` bytes. Errors: EIO for a stream that is broken, empty or too long.
    pub fn inflate(&self, input: &[u8], limit: usize) -> Result<Vec<u8>, Errno> {
        let mut output = Vec::with_capacity(limit);
        self.with_state(|state| state.engine.inflate(input, limit, &mut output))?;
        // Last blocks of tables: the cache is to hold no unused memory.
        if output.capacity() - output.len() > output.capacity() / 8 {
            output.shrink_to_fit();
        }
        Ok(output)
    }

    fn with_state<T>(
        &self,
        inflate: impl FnOnce(&mut InflaterState) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let idle = self.idle.lock().pop();
        let mut state = match idle {
            Some(state) => state,
            None => InflaterState { input: Vec::new(), engine: self.engine()? },
        };
        let inflated = inflate(&mut state);
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE {
            idle.push(state);
        }
        inflated
    }

    fn engine(&self) -> Result<InflaterEngine, Errno> {
        Ok(match self.codec {
            SquashfsCodec::Gzip => InflaterEngine::Gzip(Decompress::new(true)),
            SquashfsCodec::Lz4 => InflaterEngine::Lz4,
            SquashfsCodec::Xz => InflaterEngine::Xz,
            SquashfsCodec::Zstd => {
                let state = zstd::bulk::Decompressor::new().map_err(|_| Errno::NOMEM)?;
                InflaterEngine::Zstd(state)
            }
            SquashfsCodec::Lzma | SquashfsCodec::Lzo => return Err(Errno::IO),
        })
    }
}

impl InflaterState {
    fn read(
        &mut self,
        bytes: &ImageBytes,
        stored: StoredBytes,
        output: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        if self.input.len() < stored.size {
            self.input.resize(stored.size, 0);
        }
        let input = self.input.get_mut(..stored.size).ok_or(Errno::IO)?;
        bytes.read_exact(stored.at, input)?;
        self.engine.inflate(input, stored.limit, output)
    }
}

impl InflaterEngine {
    fn inflate(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), Errno> {
        let is_whole = match self {
            Self::Gzip(state) => {
                output.clear();
                state.reset(true);
                let status = state.decompress_vec(input, output, FlushDecompress::Finish);
                matches!(status, Ok(Status::StreamEnd))
            }
            Self::Lz4 => {
                // In a buffer that was in use before, no byte is cleared.
                output.resize(limit, 0);
                let size = lz4_flex::block::decompress_into(input, output);
                output.truncate(size.as_ref().copied().unwrap_or_default());
                size.is_ok()
            }
            Self::Xz => {
                output.clear();
                inflate_xz(input, output).is_some()
            }
            Self::Zstd(state) => {
                output.clear();
                state.decompress_to_buffer(input, output).is_ok()
            }
        };
        match is_whole && (1..=limit).contains(&output.len()) {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }
}

/// Inflates to the capacity of `output` at most; `None` for a stream without end.
fn inflate_xz(input: &[u8], output: &mut Vec<u8>) -> Option<()> {
    let mut state = xz::Stream::new_stream_decoder(XZ_MEMORY, 0).ok()?;
    loop {
        let before = (state.total_in(), state.total_out());
        let rest = input.get(usize::try_from(before.0).ok()?..)?;
        match state.process_vec(rest, output, xz::Action::Finish).ok()? {
            xz::Status::StreamEnd => return Some(()),
            // Without progress the stream wants more input or more room than there is.
            _ if before == (state.total_in(), state.total_out()) => return None,
            _ => {}
        }
    }
}
