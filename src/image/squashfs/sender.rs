//! Reader of regular files: cuts them into pieces for the workers and the writer. Holes are found, not read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::SyncSender;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::content::Piece;
use super::workers::{BLOCK, BlockUse, Buffers, Tasks, stopped};
use crate::error::{Error, Result};

/// Reader of the files' contents.
pub(super) struct ContentSender<'a> {
    /// Queue of the workers.
    pub(super) tasks: Tasks,
    /// Queue of the writer.
    pub(super) pieces: SyncSender<Piece>,
    /// Free buffers.
    pub(super) buffers: &'a Buffers,
    /// Receiver of the number of bytes that were read so far.
    pub(super) progress: &'a dyn Fn(u64),
    /// Bytes that were read so far, holes included.
    pub(super) done: u64,
}

/// Region of data at or behind an offset.
struct DataRegion {
    start: u64,
    end: u64,
}

impl DataRegion {
    /// Region without holes: the whole file.
    const WHOLE: Self = Self { start: 0, end: u64::MAX };

    /// Finds the next region. A file system that knows no holes has data alone.
    fn find(file: &File, offset: u64) -> Self {
        match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => match rustix::fs::seek(file, SeekFrom::Hole(start)) {
                Ok(end) if end > start => Self { start, end },
                _ => Self::WHOLE,
            },
            // No data behind the offset.
            Err(Errno::NXIO) => Self { start: u64::MAX, end: u64::MAX },
            Err(_) => Self::WHOLE,
        }
    }
}

impl ContentSender<'_> {
    /// Sends the content of a file of `size` bytes, `on_disk` of them allocated. Errors: a file that changes meanwhile.
    pub(super) fn send(&mut self, file: &File, size: u64, on_disk: u64) -> Result<()> {
        let before = state(file)?;
        let mut region = match on_disk < size {
            true => DataRegion::find(file, 0),
            false => DataRegion::WHOLE,
        };
        let (mut offset, mut hole) = (0, 0);
        while offset < size {
            let length = (size - offset).min(BLOCK as u64);
            if offset >= region.end {
                region = DataRegion::find(file, offset);
            }
            if length == BLOCK as u64 && offset.saturating_add(length) <= region.start {
                hole += 1;
            } else {
                self.end_hole(&mut hole)?;
                self.part(file, offset, length)?;
            }
            offset += length;
            self.done += length;
            (self.progress)(self.done);
        }
        self.end_hole(&mut hole)?;
        if state(file)? != before {
            return Err(Error::new("it changed while it was read"));
        }
        self.piece(Piece::End(size))
    }

    fn part(&self, file: &File, offset: u64, length: u64) -> Result<()> {
        let mut block = self.buffers.take();
        block.resize(usize::try_from(length).unwrap_or(0), 0);
        file.read_exact_at(&mut block, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::new("it is shorter than it was"),
            _ => Error::new(error),
        })?;
        match block.len() == BLOCK {
            true => self.piece(Piece::Block(self.tasks.pack(block, BlockUse::Content)?)),
            false => self.piece(Piece::Tail(block)),
        }
    }

    fn end_hole(&self, hole: &mut u64) -> Result<()> {
        match std::mem::take(hole) {
            0 => Ok(()),
            count => self.piece(Piece::Hole(count)),
        }
    }

    fn piece(&self, piece: Piece) -> Result<()> {
        self.pieces.send(piece).map_err(|_| stopped())
    }
}

/// Facts that differ once a file was written to: length, and time of last modification.
fn state(file: &File) -> Result<(i64, i64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}
