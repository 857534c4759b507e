//! Open files: reading, writing, and their other operations. A file that was opened in a lower layer is reopened after
//! its copy-up, to show the new content. Only files of the upper layer are written: these are on disk.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use super::access::FileReach;
use super::copyup::CopyContent;
use super::data::{self, StoredRange};
use super::layers::{FsCaller, FsResult};
use super::node::{LayerIndex, Node, UPPER};
use super::overlay::OverlayTree;
use crate::layer::squashfs::{DataBlock, FileChunk, SeekTarget, SquashfsFile};
use crate::layer::{LayerFile, LowerFile, has_metacopy};

/// Open file.
pub struct OpenFile {
    pub(super) node: Arc<Node>,
    content: RwLock<(LayerIndex, LowerFile)>,
    access: OpenAccess,
}

/// Access mode of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAccess {
    /// Reading alone.
    Reading,
    /// Reading and writing.
    Writing,
}

impl OpenFile {
    /// Makes an open file of `node`, with its content in `layer`.
    pub(super) fn new(
        node: Arc<Node>,
        layer: LayerIndex,
        content: LowerFile,
        access: OpenAccess,
    ) -> Self {
        if access == OpenAccess::Writing {
            node.add_writer();
        }
        Self { node, content: RwLock::new((layer, content)), access }
    }

    /// True if the kernel may hold pages that are newer than the disk, through this or another open file.
    pub fn may_be_stale(&self) -> bool {
        self.node.has_writers()
    }

    /// True if this open file allows writing.
    pub fn may_be_written(&self) -> bool {
        self.access == OpenAccess::Writing
    }

    /// True if the file has no blocks on disk: it is empty or a hole.
    pub fn has_no_blocks(&self) -> bool {
        match &self.content.read().1 {
            LowerFile::Disk(fd) => rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_blocks == 0),
            LowerFile::Squashfs(_) => false,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.access == OpenAccess::Writing {
            self.node.remove_writer();
        }
    }
}

impl OverlayTree {
    /// Opens a file for reading. Errors: EIO when a kernel overlay left its data in another layer (`metacopy`).
    pub(super) fn open_for_reading(&self, node: &Arc<Node>) -> FsResult<(LayerIndex, LowerFile)> {
        let place = node.place.read();
        let layer = node.layer();
        let reach = self.reach(node, &place)?;
        let content = self.retry_with_fewer_open(|| reach.open_content())?;
        if usize::from(layer) + 1 < self.layers.len() && is_metacopy(&content, &reach)? {
            log::warn!("a file has its content in another layer (metacopy): it cannot be read");
            return Err(Errno::IO);
        }
        Ok((layer, content))
    }

    /// Returns the content of an open file, in the layer where the file is now.
    pub(super) fn content_of(&self, file: &OpenFile) -> FsResult<LowerFile> {
        {
            let (layer, content) = &*file.content.read();
            if *layer == file.node.layer() {
                return Ok(content.clone());
            }
        }
        let _moves = self.moves.read();
        self.content_of_locked(file)
    }

    /// Returns the content as [`OverlayTree::content_of`] does, for a caller that holds `moves`.
    pub(super) fn content_of_locked(&self, file: &OpenFile) -> FsResult<LowerFile> {
        let mut own = file.content.write();
        if own.0 != file.node.layer() {
            *own = self.open_for_reading(&file.node)?;
        }
        Ok(own.1.clone())
    }

    /// Reads `size` bytes, less only at the end of the file. `room` takes bytes that do not lie in one block of an image.
    pub fn read<'a>(
        &self,
        file: &OpenFile,
        offset: u64,
        size: usize,
        room: &'a mut Vec<u8>,
    ) -> FsResult<FileBytes<'a>> {
        match &self.content_of(file)? {
            LowerFile::Disk(fd) => {
                let room = room_of(room, size)?;
                let count = fd.read_at(room, offset)?;
                Ok(FileBytes::Copied(&room[..count]))
            }
            LowerFile::Squashfs(stored) => FileBytes::of_stored(stored, offset, size, room),
        }
    }
}

/// Content of a file, for the kernel.
pub enum FileBytes<'a> {
    /// Part of one block in the cache of an image.
    OfBlock(DataBlock, Range<usize>),
    /// Bytes in a buffer.
    Copied(&'a [u8]),
}

impl<'a> FileBytes<'a> {
    /// Reads `size` bytes of a stored file, less only at its end: without a copy where they lie in one block, as they do
    /// unless the blocks are smaller than the kernel's requests. Errors: EIO where any part is broken.
    pub fn of_stored(
        file: &SquashfsFile,
        offset: u64,
        size: usize,
        room: &'a mut Vec<u8>,
    ) -> FsResult<Self> {
        let left = file.size().saturating_sub(offset);
        let wanted = left.min(size as u64) as usize;
        if let FileChunk::Data(block, range) = file.chunk_at(offset)?
            && range.len() >= wanted
        {
            return Ok(Self::OfBlock(block, range.start..range.start + wanted));
        }
        let bytes = room_of(room, wanted)?;
        match file.read_at(bytes, offset)? {
            count if count == wanted => Ok(Self::Copied(bytes)),
            // The kernel takes a short answer for the end of the file. After an error it asks page by page.
            _ => Err(Errno::IO),
        }
    }
}

/// Returns the first `size` bytes of a buffer, which grows where it is smaller.
fn room_of(room: &mut Vec<u8>, size: usize) -> FsResult<&mut [u8]> {
    room.resize(room.len().max(size), 0);
    room.get_mut(..size).ok_or(Errno::IO)
}

/// True if a kernel overlay left the data of a file in another layer. `reach`: the way to the file.
fn is_metacopy(content: &LowerFile, reach: &FileReach) -> FsResult<bool> {
    match content {
        LowerFile::Disk(fd) => is_metacopy_on_disk(fd),
        LowerFile::Squashfs(_) => {
            Ok(has_metacopy(&reach.stat()?, |attribute| reach.attribute(attribute)))
        }
    }
}

fn is_metacopy_on_disk(fd: &OwnedFd) -> FsResult<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(has_metacopy(&stat, |attribute| rustix::fs::fgetxattr(fd, attribute, &mut [0; 0])))
}

/// Returns the descriptor of a file that is written. Errors: EBADF for a file of an image.
pub(super) fn descriptor(content: &LowerFile) -> FsResult<&OwnedFd> {
    match content {
        LowerFile::Disk(fd) => Ok(fd),
        LowerFile::Squashfs(_) => Err(Errno::BADF),
    }
}

impl OverlayTree {
    /// Opens a file. Errors: EROFS for writing without an upper layer.
    pub fn open(&self, id: u64, flags: i32, caller: FsCaller) -> FsResult<OpenFile> {
        let node = self.node(id)?;
        if flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_TRUNC == 0 {
            let _moves = self.moves.read();
            let (layer, content) = self.open_for_reading(&node)?;
            return Ok(OpenFile::new(node, layer, content, OpenAccess::Reading));
        }
        let cut = flags & libc::O_TRUNC != 0;
        self.copy_up(&node, if cut { CopyContent::Nothing } else { CopyContent::Whole })?;
        let _moves = self.moves.read();
        let kept_flags = flags & (libc::O_TRUNC | libc::O_SYNC | libc::O_DSYNC);
        let kept_flags = OFlags::from_bits_retain(kept_flags as u32) | OFlags::NONBLOCK;
        let fd = self.with(&node, |reach| {
            if cut {
                self.drop_privileges(&node, reach, caller)?;
            }
            // The kernel also reads for its write-back, and computes the offset of appended data itself.
            self.retry_with_fewer_open(|| match reach.open(OFlags::RDWR | kept_flags) {
                Err(Errno::ACCESS) => reach.open(OFlags::WRONLY | kept_flags),
                answer => answer,
            })
        })?;
        self.refuse_metacopy(&fd)?;
        Ok(OpenFile::new(node, UPPER, LowerFile::from(fd), OpenAccess::Writing))
    }

    fn refuse_metacopy(&self, fd: &OwnedFd) -> FsResult<()> {
        match self.layers.len() > 1 && is_metacopy_on_disk(fd)? {
            true => Err(Errno::IO),
            false => Ok(()),
        }
    }

    /// Writes all of `bytes`. With `Privileges::DroppedBy`, removes setuid, setgid and capabilities.
    pub fn write(
        &self,
        file: &OpenFile,
        offset: u64,
        bytes: &[u8],
        privileges: WritePrivileges,
    ) -> FsResult<usize> {
        let content = self.content_of(file)?;
        if let WritePrivileges::DroppedBy(caller) = privileges {
            self.settle(file, caller)?;
        }
        data::write_all(descriptor(&content)?, bytes, offset)?;
        Ok(bytes.len())
    }

    /// Removes the privileges of a file before its content changes.
    fn settle(&self, file: &OpenFile, caller: FsCaller) -> FsResult<()> {
        let _moves = self.moves.read();
        self.with(&file.node, |reach| self.drop_privileges(&file.node, reach, caller))
    }

    /// Runs fsync(2), or fdatasync(2).
    pub fn sync(&self, file: &OpenFile, what: Synced) -> FsResult<()> {
        match (&self.content_of(file)?, what) {
            (LowerFile::Disk(fd), Synced::Data) => rustix::fs::fdatasync(fd),
            (LowerFile::Disk(fd), Synced::All) => rustix::fs::fsync(fd),
            (LowerFile::Squashfs(_), _) => Ok(()), // never written
        }
    }

    /// Runs fsync(2) on a folder.
    pub fn sync_folder(&self, id: u64) -> FsResult<()> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        match node.layer() {
            UPPER => rustix::fs::fsync(self.upper_folder(&node)?),
            _ => Ok(()), // no entry of a lower folder has changed
        }
    }

    /// Runs fallocate(2). The kernel leaves dropping of privileges to the server, and does not report the caller's
    /// rights (`file_modified`).
    pub fn allocate(
        &self,
        file: &OpenFile,
        mode: u32,
        offset: u64,
        length: u64,
        caller: FsCaller,
    ) -> FsResult<()> {
        self.settle(file, caller)?;
        let mode = FallocateFlags::from_bits_retain(mode);
        rustix::fs::fallocate(descriptor(&self.content_of(file)?)?, mode, offset, length)
    }

    /// Runs lseek(2) to data (SEEK_DATA) or a hole (SEEK_HOLE). Data that the kernel has not written back yet is a hole
    /// here: see [`OpenFile::may_be_stale`].
    pub fn seek(&self, file: &OpenFile, offset: u64, whence: i32) -> FsResult<u64> {
        let target = match whence {
            libc::SEEK_DATA => SeekTarget::Data,
            libc::SEEK_HOLE => SeekTarget::Hole,
            _ => return Err(Errno::INVAL),
        };
        match (&self.content_of(file)?, target) {
            (LowerFile::Disk(fd), SeekTarget::Data) => rustix::fs::seek(fd, SeekFrom::Data(offset)),
            (LowerFile::Disk(fd), SeekTarget::Hole) => rustix::fs::seek(fd, SeekFrom::Hole(offset)),
            (LowerFile::Squashfs(stored), target) => stored.seek(offset, target),
        }
    }

    /// Runs copy_file_range(2). As for fallocate(2), the server drops privileges.
    pub fn copy_range(
        &self,
        from: FilePosition<'_>,
        to: FilePosition<'_>,
        length: u64,
        caller: FsCaller,
    ) -> FsResult<usize> {
        self.settle(to.file, caller)?;
        let (mut read, mut written) = (from.offset, to.offset);
        let (from, to) = (self.content_of(from.file)?, self.content_of(to.file)?);
        let to = descriptor(&to)?;
        // The kernel's reply has 32 bits for the length.
        let length = length.min(1 << 30);
        match &from {
            LowerFile::Disk(from) => {
                let (read, written) = (Some(&mut read), Some(&mut written));
                rustix::fs::copy_file_range(from, read, to, written, length as usize)
            }
            LowerFile::Squashfs(from) => {
                let end = read.checked_add(length).ok_or(Errno::OVERFLOW)?;
                data::copy_stored_part(from, to, StoredRange { start: read, end, at: written })
            }
        }
    }
}

/// Position in an open file.
#[derive(Clone, Copy)]
pub struct FilePosition<'a> {
    /// The file.
    pub file: &'a OpenFile,
    /// Offset in bytes.
    pub offset: u64,
}

/// Effect of a write on the file's setuid, setgid and capabilities.
#[derive(Clone, Copy, Debug)]
pub enum WritePrivileges {
    /// All of them stay.
    Kept,
    /// All are removed: this writer could not have set them.
    DroppedBy(FsCaller),
}

/// Data that must be on disk before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The content.
    Data,
    /// Content and attributes.
    All,
}
