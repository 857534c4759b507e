//! Waiting until something in a folder changes (inotify(7)).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Disks of several machines tell nothing of what others write: nobody waits for longer.
const LONGEST: Duration = Duration::from_secs(1);

/// The changes of one folder.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// From now on.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let events =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
        inotify::add_watch(&inotify, folder, events)?;
        Ok(Self(inotify))
    }

    /// Waits until there may be something new, `other` can be read, `limit` is over, or a second.
    pub fn wait(&self, other: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> io::Result<()> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let limit = limit.unwrap_or(LONGEST).min(LONGEST);
        let limit =
            Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        match poll(&mut fds, Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            answer => {
                answer?;
            }
        }
        let mut room = [0; 4096];
        while rustix::io::read(&self.0, &mut room).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}
