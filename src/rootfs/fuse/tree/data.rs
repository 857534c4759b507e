//! Copies the content of a file: as a clone where the file system can, else inside the kernel, or from the blocks of an
//! image; holes stay holes.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::layers::FsResult;
use crate::layer::LowerFile;
use crate::layer::squashfs::{FileChunk, SquashfsFile};

/// Largest file, in bytes, that is copied through a buffer: two system calls, where the kernel would make a pipe.
const SMALL: u64 = 128 << 10;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Method by which the content was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Cloned: both files share blocks, which are on disk if the source's are.
    Cloned,
    /// Written to the copy.
    Written,
}

/// Copies the whole content into an empty file. Errors: ENOSPC, or another error of reading or writing; EIO for a broken
/// block of an image.
pub fn copy(from: &LowerFile, to: &OwnedFd, stat: &Stat, no_clones: &AtomicU8) -> FsResult<Copied> {
    match from {
        LowerFile::Disk(from) => copy_on_disk(from, to, stat, no_clones),
        LowerFile::Squashfs(from) => {
            rustix::fs::ftruncate(to, from.size())?;
            let end = from.size();
            copy_stored(from, to, StoredRange { start: 0, end, at: 0 }).map(|()| Copied::Written)
        }
    }
}

/// Range of a stored file, in bytes, and the position of its copy.
#[derive(Clone, Copy, Debug)]
pub struct StoredRange {
    /// First byte.
    pub start: u64,
    /// Byte behind the range, or the end of the file.
    pub end: u64,
    /// Position of the first byte in the copy.
    pub at: u64,
}

/// Copies a range of a stored file to a place that is a hole: holes are left out.
fn copy_stored(from: &SquashfsFile, to: &OwnedFd, range: StoredRange) -> FsResult<()> {
    let mut done = 0;
    while range.start + done < range.end {
        let left = range.end - range.start - done;
        done += match from.chunk_at(range.start + done)? {
            FileChunk::End => return Ok(()),
            FileChunk::Hole(zeros) => zeros.min(left),
            FileChunk::Data(block, bytes) => {
                let data = block.get(bytes).ok_or(Errno::IO)?;
                let count = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                write_all(to, data.get(..count).ok_or(Errno::IO)?, range.at + done)?;
                count as u64
            }
        };
    }
    Ok(())
}

/// Writes a range of a stored file to another file, as copy_file_range(2): at most to the end of the block. Returns the
/// number of bytes; 0: the range begins at the end of the file.
pub fn copy_stored_part(from: &SquashfsFile, to: &OwnedFd, range: StoredRange) -> FsResult<usize> {
    let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let count = match from.chunk_at(range.start)? {
        FileChunk::End => 0,
        FileChunk::Hole(zeros) => {
            let zeros =
                vec![0; usize::try_from(zeros).unwrap_or(usize::MAX).min(left).min(SMALL as usize)];
            write_all(to, &zeros, range.at)?;
            zeros.len()
        }
        FileChunk::Data(block, bytes) => {
            let data = block.get(bytes).ok_or(Errno::IO)?;
            let data = data.get(..data.len().min(left)).ok_or(Errno::IO)?;
            write_all(to, data, range.at)?;
            data.len()
        }
    };
    Ok(count)
}

fn copy_on_disk(
    from: &OwnedFd,
    to: &OwnedFd,
    stat: &Stat,
    no_clones: &AtomicU8,
) -> FsResult<Copied> {
    let size = stat.st_size as u64;
    if size == 0 {
        return Ok(Copied::Cloned);
    }
    if no_clones.load(Ordering::Relaxed) == 0 {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(Copied::Cloned),
            Err(_) => no_clones.store(1, Ordering::Relaxed),
        }
    }
    copy_parts(from, to, stat).map(|()| Copied::Written)
}

fn copy_parts(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> FsResult<()> {
    let size = stat.st_size as u64;
    if stat.st_blocks as u64 * 512 >= size {
        return copy_range(from, to, 0, size);
    }
    rustix::fs::ftruncate(to, size)?;
    let mut offset = 0;
    while offset < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()), // a hole up to the end
            Err(Errno::INVAL) => return copy_range(from, to, offset, size),
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size);
        copy_range(from, to, start, end)?;
        offset = end.max(start + 1);
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> FsResult<()> {
    if end - start <= SMALL {
        return copy_through(from, to, start, end);
    }
    let (mut read, mut written) = (start, start);
    while read < end {
        let most = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), most) {
            Ok(0) => return Ok(()), // the file has become shorter
            Ok(_) | Err(Errno::INTR) => {}
            // Another file system before 5.3, or one without this call.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return copy_through(from, to, read, end);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_through(from: impl AsFd, to: impl AsFd, start: u64, end: u64) -> FsResult<()> {
    ROOM.with_borrow_mut(|room| {
        room.resize(SMALL as usize, 0);
        let mut offset = start;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(room.len());
            match rustix::io::pread(&from, &mut room[..most], offset) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    write_all(&to, &room[..count], offset)?;
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Writes all bytes by pwrite(2).
pub fn write_all(to: impl AsFd, bytes: &[u8], offset: u64) -> FsResult<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(&to, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
