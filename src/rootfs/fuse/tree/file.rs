//! Open files: reading, writing, and what else is done with them. A file that was opened in a lower layer is opened
//! anew once it was copied up, so that it never shows what it was.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::node::{Layer, Node};
use super::whiteout::may_be_metacopy;
use super::{Answer, Tree, xattr};

/// A file that is open.
pub struct OpenFile {
    pub(super) node: Arc<Node>,
    pub(super) fd: RwLock<(Layer, Arc<OwnedFd>)>,
}

impl Tree {
    /// Opens a file for reading. Errors: EIO when a kernel overlay left its data in another layer (`metacopy`).
    pub(super) fn open_for_reading(&self, node: &Arc<Node>) -> Answer<(Layer, Arc<OwnedFd>)> {
        let place = node.place.read();
        let layer = node.layer();
        let reach = self.reach(node, &place)?;
        let fd = self.retrying(|| reach.open(OFlags::RDONLY | OFlags::NONBLOCK))?;
        if usize::from(layer) + 1 < self.layers.len() && self.is_metacopy(&fd)? {
            log::warn!("a file has its content in another layer (metacopy): it cannot be read");
            return Err(Errno::IO);
        }
        Ok((layer, Arc::new(fd)))
    }

    fn is_metacopy(&self, fd: &OwnedFd) -> Answer<bool> {
        use std::os::fd::AsFd;
        let stat = rustix::fs::fstat(fd)?;
        Ok(may_be_metacopy(&stat) && xattr::overlay(fd.as_fd(), "metacopy").is_some())
    }

    /// The descriptor of an open file, in the layer where it is now.
    pub(super) fn fd_of(&self, file: &OpenFile) -> Answer<Arc<OwnedFd>> {
        {
            let (layer, fd) = &*file.fd.read();
            if *layer == file.node.layer() {
                return Ok(fd.clone());
            }
        }
        let _still = self.moves.read();
        let opened = self.open_for_reading(&file.node)?;
        let fd = opened.1.clone();
        *file.fd.write() = opened;
        Ok(fd)
    }

    /// Reads up to the length of `room`, less only at the end of the file: how much.
    pub fn read(&self, file: &OpenFile, offset: u64, room: &mut [u8]) -> Answer<usize> {
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

impl Tree {
    /// Opens a file. Errors: EROFS for writing where there is no upper layer.
    pub fn open(&self, id: u64, flags: i32) -> Answer<OpenFile> {
        let _still = self.moves.read();
        let node = self.node(id)?;
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(Errno::ROFS);
        }
        let opened = self.open_for_reading(&node)?;
        Ok(OpenFile { node, fd: RwLock::new(opened) })
    }
}
