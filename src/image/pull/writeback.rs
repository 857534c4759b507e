//! The disk at work while layers come: before an image is recorded one sync of the filesystem is waited for, and what is
//! on its way to the disk by then need not be waited for.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::files;

/// So many fetched bytes are worth a sync.
const STRIDE: u64 = 16 << 20;

/// What was fetched, and what of it the disk has been asked to write.
#[derive(Debug, Default)]
pub struct Writeback {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: u64,
    ended: bool,
}

impl Writeback {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes more were fetched.
    pub fn came(&self, bytes: u64) {
        let mut state = self.state();
        state.waiting += bytes;
        if state.waiting >= STRIDE {
            self.changed.notify_one();
        }
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }

    /// Syncs the filesystem of `folder` each time that enough has come, until the end. A failure is left to the sync that
    /// is waited for.
    pub fn run(&self, folder: &Path) {
        loop {
            let idle = |state: &mut State| !state.ended && state.waiting < STRIDE;
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
