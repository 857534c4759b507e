//! Open files: reading, writing, and their other operations. A file that was opened in a lower layer is reopened after
//! its copy-up, to show the new content.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use super::copyup::CopyContent;
use super::data;
use super::layers::{FsCaller, FsResult};
use super::node::{LayerIndex, Node, UPPER};
use super::overlay::OverlayTree;
use crate::layer::has_metacopy;

/// Open file.
pub struct OpenFile {
    pub(super) node: Arc<Node>,
    pub(super) fd: RwLock<(LayerIndex, Arc<OwnedFd>)>,
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
    /// Makes an open file of `node`, with a descriptor of `layer`.
    pub(super) fn new(
        node: Arc<Node>,
        layer: LayerIndex,
        fd: Arc<OwnedFd>,
        access: OpenAccess,
    ) -> Self {
        if access == OpenAccess::Writing {
            node.add_writer();
        }
        Self { node, fd: RwLock::new((layer, fd)), access }
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
        rustix::fs::fstat(&*self.fd.read().1).is_ok_and(|stat| stat.st_blocks == 0)
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
    pub(super) fn open_for_reading(
        &self,
        node: &Arc<Node>,
    ) -> FsResult<(LayerIndex, Arc<OwnedFd>)> {
        let place = node.place.read();
        let layer = node.layer();
        let reach = self.reach(node, &place)?;
        let fd = self.retry_with_fewer_open(|| reach.open(OFlags::RDONLY | OFlags::NONBLOCK))?;
        if usize::from(layer) + 1 < self.layers.len() && self.is_metacopy(&fd)? {
            log::warn!("a file has its content in another layer (metacopy): it cannot be read");
            return Err(Errno::IO);
        }
        Ok((layer, Arc::new(fd)))
    }

    fn is_metacopy(&self, fd: &OwnedFd) -> FsResult<bool> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(has_metacopy(&stat, |attribute| rustix::fs::fgetxattr(fd, attribute, &mut [0; 0])))
    }

    /// Returns the descriptor of an open file, in the layer where the file is now.
    pub(super) fn fd_of(&self, file: &OpenFile) -> FsResult<Arc<OwnedFd>> {
        {
            let (layer, fd) = &*file.fd.read();
            if *layer == file.node.layer() {
                return Ok(fd.clone());
            }
        }
        let _moves = self.moves.read();
        self.fd_of_locked(file)
    }

    /// Returns the descriptor as [`OverlayTree::fd_of`] does, for a caller that holds `moves`.
    pub(super) fn fd_of_locked(&self, file: &OpenFile) -> FsResult<Arc<OwnedFd>> {
        let mut own = file.fd.write();
        if own.0 != file.node.layer() {
            *own = self.open_for_reading(&file.node)?;
        }
        Ok(own.1.clone())
    }

    /// Reads up to the length of `room`, less only at the end of the file. Returns the number of bytes.
    pub fn read(&self, file: &OpenFile, offset: u64, room: &mut [u8]) -> FsResult<usize> {
        let fd = self.fd_of(file)?;
        let mut done = 0;
        while done < room.len() {
            match rustix::io::pread(&*fd, &mut room[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl OverlayTree {
    /// Opens a file. Errors: EROFS for writing without an upper layer.
    pub fn open(&self, id: u64, flags: i32, caller: FsCaller) -> FsResult<OpenFile> {
        let node = self.node(id)?;
        if flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_TRUNC == 0 {
            let _moves = self.moves.read();
            let (layer, fd) = self.open_for_reading(&node)?;
            return Ok(OpenFile::new(node, layer, fd, OpenAccess::Reading));
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
        Ok(OpenFile::new(node, UPPER, Arc::new(fd), OpenAccess::Writing))
    }

    fn refuse_metacopy(&self, fd: &OwnedFd) -> FsResult<()> {
        match self.layers.len() > 1 && self.is_metacopy(fd)? {
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
        let fd = self.fd_of(file)?;
        if let WritePrivileges::DroppedBy(caller) = privileges {
            self.settle(file, caller)?;
        }
        data::write_all(&*fd, bytes, offset)?;
        Ok(bytes.len())
    }

    /// Removes the privileges of a file before its content changes.
    fn settle(&self, file: &OpenFile, caller: FsCaller) -> FsResult<()> {
        let _moves = self.moves.read();
        self.with(&file.node, |reach| self.drop_privileges(&file.node, reach, caller))
    }

    /// Runs fsync(2), or fdatasync(2).
    pub fn sync(&self, file: &OpenFile, what: Synced) -> FsResult<()> {
        let fd = self.fd_of(file)?;
        match what {
            Synced::Data => rustix::fs::fdatasync(&*fd),
            Synced::All => rustix::fs::fsync(&*fd),
        }
    }

    /// Runs fsync(2) on a folder.
    pub fn sync_folder(&self, id: u64) -> FsResult<()> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        match node.layer() {
            UPPER => rustix::fs::fsync(self.layer_folder(&node, UPPER)?),
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
        rustix::fs::fallocate(&*self.fd_of(file)?, mode, offset, length)
    }

    /// Runs lseek(2) to data (SEEK_DATA) or a hole (SEEK_HOLE). Data that the kernel has not written back yet is a hole
    /// here: see [`OpenFile::may_be_stale`].
    pub fn seek(&self, file: &OpenFile, offset: u64, whence: i32) -> FsResult<u64> {
        let to = match whence {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        rustix::fs::seek(&*self.fd_of(file)?, to)
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
        let (from, to) = (self.fd_of(from.file)?, self.fd_of(to.file)?);
        // The kernel's reply has 32 bits for the length.
        let length = length.min(1 << 30) as usize;
        rustix::fs::copy_file_range(&*from, Some(&mut read), &*to, Some(&mut written), length)
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
