//! The kernel's want of memory: it kills in the container's cgroup, and the monitor hears of it while it sleeps.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::cgroup;

/// The count of the processes that the kernel has killed.
#[derive(Debug, Default)]
pub struct Oom {
    folder: Option<PathBuf>,
    /// Has an event (POLLPRI) when a count changes.
    events: Option<File>,
    seen: u64,
}

impl Oom {
    /// Of the cgroup in this folder. Without a cgroup, or its memory controller, nothing is heard.
    pub fn of(folder: Option<PathBuf>) -> Self {
        let events =
            folder.as_ref().and_then(|folder| File::open(folder.join("memory.events")).ok());
        Self { folder, events, seen: 0 }
    }

    /// To be waited for.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(File::as_fd)
    }

    /// Whether there were more since the last time.
    pub fn is_new(&mut self) -> bool {
        // Reading is what makes the next event one.
        if let Some(events) = &self.events {
            let _ = rustix::io::pread(events, &mut [0; 512][..], 0);
        }
        let before = self.seen;
        self.seen = self.folder.as_deref().map_or(0, cgroup::oom_kills);
        self.seen > before
    }

    /// Whether the kernel has killed any.
    pub fn has_killed(&self) -> bool {
        self.seen > 0
    }

    /// The container has ended: its cgroup goes.
    pub fn end(&mut self) {
        self.events = None;
        if let Some(folder) = self.folder.take() {
            cgroup::remove(&folder);
        }
    }
}
