//! The uncompressed stream, from the inflating thread to the one that writes files, with a few chunks in between.
//!
//! The inflating thread also hashes: a third thread was no faster on two processors, and a pull mostly waits for the
//! network. The thread ends when the receiver is dropped.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::config::LayerLimits;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::compression;

const CHUNK: usize = 256 << 10;
const UNDER_WAY: usize = 4;

enum StreamMessage {
    Chunk(Vec<u8>),
    End,
}

/// Creates the two ends: the readable stream, and the inflater that fills it.
pub(super) fn pair() -> (InflatedStream, Inflater) {
    let (chunks, receiver) = sync_channel(UNDER_WAY);
    // Capacity for all chunks: returning one never blocks.
    let (spent, back) = sync_channel(UNDER_WAY + 2);
    let stream =
        InflatedStream { chunks: receiver, spent, chunk: Vec::new(), at: 0, is_over: false };
    (stream, Inflater { chunks, spent: back })
}

/// The error for a stream whose other thread stopped without a message.
pub(super) fn stopped() -> Error {
    Error::new("the stream has stopped")
}

/// The reading end of the uncompressed stream.
pub(super) struct InflatedStream {
    chunks: Receiver<StreamMessage>,
    spent: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl InflatedStream {
    fn next_chunk(&mut self) -> io::Result<()> {
        match self.chunks.recv() {
            Ok(StreamMessage::Chunk(chunk)) => {
                let spent = std::mem::replace(&mut self.chunk, chunk);
                self.at = 0;
                // Fails if the inflater has finished: the chunk is then not needed.
                let _ = self.spent.try_send(spent);
                Ok(())
            }
            Ok(StreamMessage::End) => {
                self.is_over = true;
                Ok(())
            }
            // The inflater failed, and returns the cause itself.
            Err(_) => Err(io::Error::other(stopped())),
        }
    }
}

impl BufRead for InflatedStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.chunk.len() && !self.is_over {
            self.next_chunk()?;
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.at = self.at.saturating_add(length).min(self.chunk.len());
    }
}

impl Read for InflatedStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(room)?;
        self.consume(length);
        Ok(length)
    }
}

/// Facts about a stream that was read to its end.
pub(super) struct Inflated {
    pub(super) digest: Digest,
    pub(super) length: u64,
}

/// The writing end of the stream.
pub(super) struct Inflater {
    chunks: SyncSender<StreamMessage>,
    spent: Receiver<Vec<u8>>,
}

impl Inflater {
    /// Inflates `packed` to its end. `None`: the reading end was dropped.
    pub(super) fn run(
        self,
        packed: impl Read,
        size: u64,
        limits: &LayerLimits,
    ) -> Result<Option<Inflated>> {
        let mut plain = compression::open(packed)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut length = 0u64;
        loop {
            let mut chunk = self.spent.try_recv().unwrap_or_default();
            fill(&mut chunk, &mut plain)?;
            if chunk.is_empty() {
                break;
            }
            length = length.saturating_add(chunk.len() as u64);
            check(length, size, limits)?;
            hasher.update(&chunk);
            if self.chunks.send(StreamMessage::Chunk(chunk)).is_err() {
                return Ok(None);
            }
        }
        let heard = self.chunks.send(StreamMessage::End).is_ok();
        Ok(heard.then(|| Inflated { digest: hasher.finish(), length }))
    }
}

/// Reads a whole chunk, less only at the end: each small chunk would cost a wake-up.
fn fill(chunk: &mut Vec<u8>, plain: &mut compression::Plain<'_>) -> Result<()> {
    chunk.resize(CHUNK, 0);
    let mut filled = 0;
    while let Some(room) = chunk.get_mut(filled..).filter(|room| !room.is_empty()) {
        match plain.read(room)? {
            0 => break,
            length => filled += length,
        }
    }
    chunk.truncate(filled);
    Ok(())
}

fn check(length: u64, size: u64, limits: &LayerLimits) -> Result<()> {
    if length > limits.layer_bytes {
        return Err(too_many_bytes(limits));
    }
    if length >= LayerLimits::RATIO_FROM && length > size.saturating_mul(limits.layer_ratio) {
        let ratio = limits.layer_ratio;
        return Err(Error::new(format!("unpacks to more than {ratio} times its size")).hint(
            "if the image is to be trusted, raise layer-ratio under [limits] in usnea.toml",
        ));
    }
    Ok(())
}

/// The error for a layer that exceeds its limit.
pub(super) fn too_many_bytes(limits: &LayerLimits) -> Error {
    Error::new(format!("unpacks to more than {} bytes", limits.layer_bytes))
        .hint("if the image is to be trusted, raise layer-bytes under [limits] in usnea.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_beyond_the_limit_is_refused_from_a_gibibyte_on() {
        let limits = LayerLimits { layer_ratio: 200, ..LayerLimits::default() };
        let from = LayerLimits::RATIO_FROM;
        assert!(check(from - 1, 0, &limits).is_ok());
        assert!(check(from, from / 200 + 1, &limits).is_ok());
        assert!(check(from * 4, u64::MAX, &limits).is_ok());
        let error = check(from, from / 200, &limits).unwrap_err();
        assert_eq!(error.to_string(), "unpacks to more than 200 times its size");
        assert!(error.hint_text().unwrap().contains("layer-ratio"));
    }
}
