//! Waiting for changes in a folder (inotify(7)).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::host::filesystem;

/// Longest wait on a network file system: inotify(7) does not report writes of other machines.
const LONGEST: Duration = Duration::from_secs(1);

/// Watch on the changes of one folder.
#[derive(Debug)]
pub struct LogChanges {
    inotify: OwnedFd,
    /// Limit of each wait; `None`: inotify reports every change.
    longest: Option<Duration>,
}

impl LogChanges {
    /// Watches `folder` from now on.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let events =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
        inotify::add_watch(&inotify, folder, events)?;
        let longest = filesystem::kind(folder).network.then_some(LONGEST);
        Ok(Self { inotify, longest })
    }

    /// Waits for a change in the folder, for `other` to be readable, or until `limit` is over.
    pub fn wait(&self, other: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> io::Result<()> {
        let mut fds = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let limit = [limit, self.longest].into_iter().flatten().min().map(|limit| Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: limit.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            answer => {
                answer?;
            }
        }
        let mut room = [0; 4096];
        while rustix::io::read(&self.inotify, &mut room).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}
