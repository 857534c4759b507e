//! Output file, written from its beginning on by positions.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

/// Output file.
#[derive(Clone, Copy)]
pub struct OutputFile<'a> {
    /// File, open for writing. Its content is replaced.
    pub file: &'a File,
    /// Maker of the error of a failed write.
    pub unwritable: &'a (dyn Fn(io::Error) -> Error + Sync),
}

/// Output file with a position.
pub(super) struct FileArea<'a> {
    output: OutputFile<'a>,
    position: u64,
}

impl<'a> FileArea<'a> {
    /// Starts at `position`.
    pub(super) fn new(output: OutputFile<'a>, position: u64) -> Self {
        Self { output, position }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Writes bytes at the position.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes bytes elsewhere; the position stays.
    pub(super) fn write_at(&self, bytes: &[u8], position: u64) -> Result<()> {
        self.output.file.write_all_at(bytes, position).map_err(self.output.unwritable)
    }

    /// Moves back: the bytes from `position` on are overwritten.
    pub(super) fn go_back(&mut self, position: u64) {
        self.position = position;
    }

    /// Writes zeros up to the next multiple of `alignment`: stale bytes of an overwritten content may be there.
    pub(super) fn align(&mut self, alignment: u64) -> Result<()> {
        let gap = self.position.next_multiple_of(alignment) - self.position;
        self.write(&vec![0; usize::try_from(gap).unwrap_or(0)])
    }

    /// Ends the file at the position; returns its length.
    pub(super) fn end(self) -> Result<u64> {
        self.output.file.set_len(self.position).map_err(self.output.unwritable)?;
        Ok(self.position)
    }
}
