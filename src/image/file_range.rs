//! A part of an open file as a stream: a blob of a layout (the whole file) or a member of an archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::error::{Context, Result};
use crate::fail;

/// Bytes of a file from one offset to another. Cheap to clone; clones do not share a position.
#[derive(Clone, Debug)]
pub struct FileRange {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl FileRange {
    /// Selects `size` bytes from offset `at` on.
    pub fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        Self { file, at, end: at.saturating_add(size) }
    }

    /// Selects the whole file.
    pub fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::new(Arc::new(file), 0, size))
    }

    /// Number of bytes left.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Skips the first `count` bytes.
    pub fn skip(mut self, count: u64) -> Self {
        self.at = self.at.saturating_add(count).min(self.end);
        self
    }

    /// Reads the first bytes, at most as many as fit into `room`, without moving on.
    pub fn peek(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.clone();
        let mut have = 0;
        while let Some(rest) = room.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest)? {
                0 => break,
                length => have += length,
            }
        }
        Ok(have)
    }

    /// Returns the whole file at its beginning. Files returned by this function share one position: only one reader at
    /// a time.
    pub fn file(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }

    /// Reads the whole range into memory. Errors: larger than `limit` bytes.
    pub fn read_small(mut self, limit: u64) -> Result<Vec<u8>> {
        if self.size() > limit {
            fail!("{} bytes, more than {limit}", self.size());
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).context(|| "cannot read it")?;
        Ok(bytes)
    }
}

impl Read for FileRange {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size()).unwrap_or(usize::MAX).min(room.len());
        let Some(room) = room.get_mut(..most).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        match self.file.read_at(room, self.at)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file breaks off")),
            length => {
                self.at += length as u64;
                Ok(length)
            }
        }
    }
}
