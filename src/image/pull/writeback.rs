//! Writes to the disk while layers arrive. Before an image is recorded, the pull waits for a sync of the filesystem.
//! Data written by then shortens the wait.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::files;

/// Bytes fetched between two syncs.
const STRIDE: u64 = 16 << 20;

/// Counts fetched bytes that the disk has not been asked to write.
#[derive(Debug, Default)]
pub struct Writeback {
    state: Mutex<WritebackState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct WritebackState {
    waiting: u64,
    ended: bool,
}

impl Writeback {
    fn state(&self) -> MutexGuard<'_, WritebackState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `bytes` fetched.
    pub fn received(&self, bytes: u64) {
        let mut state = self.state();
        state.waiting += bytes;
        if state.waiting >= STRIDE {
            self.changed.notify_one();
        }
    }

    /// Ends [`Writeback::run`]: no more bytes will arrive.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }

    /// Syncs the filesystem of `folder` after each stride of fetched bytes, until the end. A failure ends the syncs;
    /// the final sync of the pull reports it.
    pub fn run(&self, folder: &Path) {
        loop {
            let idle = |state: &mut WritebackState| !state.ended && state.waiting < STRIDE;
            let mut state =
                self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
            if state.ended {
                return;
            }
            state.waiting = 0;
            drop(state);
            if let Err(error) = files::sync_filesystem(folder) {
                log::debug!("{error}");
                return;
            }
        }
    }
}
