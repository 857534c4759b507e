//! Kills by the kernel for want of memory, in the container's cgroup. The monitor learns of each while it sleeps.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::cgroup;

/// Counter of the processes that the kernel has killed for want of memory.
#[derive(Debug, Default)]
pub struct Oom {
    folder: Option<PathBuf>,
    /// `memory.events` of the cgroup; ready (POLLPRI) when a count changes.
    events: Option<File>,
    seen: u64,
}

impl Oom {
    /// Watches the cgroup in `folder`. Without a cgroup or its memory controller, no kill is reported.
    pub fn of(folder: Option<PathBuf>) -> Self {
        let events =
            folder.as_ref().and_then(|folder| File::open(folder.join("memory.events")).ok());
        Self { folder, events, seen: 0 }
    }

    /// Descriptor to poll for POLLPRI.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(File::as_fd)
    }

    /// True if the kernel has killed processes since the last call.
    pub fn is_new(&mut self) -> bool {
        // A read re-arms the event.
        if let Some(events) = &self.events {
            let _ = rustix::io::pread(events, &mut [0; 512][..], 0);
        }
        let before = self.seen;
        self.seen = self.folder.as_deref().map_or(0, cgroup::oom_kills);
        self.seen > before
    }

    /// True if the kernel has killed any process of this run.
    pub fn has_killed(&self) -> bool {
        self.seen > 0
    }

    /// Removes the cgroup, after the end of the container.
    pub fn end(&mut self) {
        self.events = None;
        if let Some(folder) = self.folder.take() {
            cgroup::remove(&folder);
        }
    }
}
