//! Base process after its work: ends the container when the parent is dead.
//!
//! The process runs usnea's image without exec: it keeps no descriptor but /dev/null and those that it waits for.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::process::{self, Child};
use crate::sys::{fd, signal, title};

/// Warning for a server of the container's files that has died.
pub const SERVER_DIED: &str =
    "the file server of the container has died: its files answer with errors";

/// Base's life after its work: waits until the container ends, or ends it when the parent is dead. Then waits until the
/// servers of its file systems have written all and ended. Never returns.
pub fn keep(container: &OwnedFd, watched: &OwnedFd, servers: &[Child]) -> ! {
    signal::block_all();
    title::set("keeper");
    // From here on the parent's death is noticed by `watched`, and does not kill this process.
    let _ = process::set_parent_death_signal(0);
    let needed = [container.as_fd(), watched.as_fd()].into_iter();
    let needed: Vec<_> = needed.chain(servers.iter().map(|server| server.pidfd.as_fd())).collect();
    fd::close_all_but(&needed);
    leave_standard_streams(if servers.is_empty() { 2 } else { 1 });
    let mut fds: Vec<_> =
        needed.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let mut alive: Vec<_> = servers.iter().collect();
    let ended = |fd: &PollFd<'_>| !fd.revents().is_empty();
    loop {
        // Before the container's own end, which a server's death may have caused.
        while let Some(place) = fds[2..].iter().position(ended) {
            fds.remove(place + 2);
            // A server with status 0 ended because the container ended, just before this process saw it.
            if alive.remove(place).wait().map_or(true, |how| how.status() != 0) {
                log::error!("{SERVER_DIED}");
                let _ = rustix::net::send(watched, b"s", rustix::net::SendFlags::NOSIGNAL);
            }
        }
        if fds[..2].iter().any(ended) {
            break;
        }
        if let Err(Errno::INVAL | Errno::NOMEM) = poll(&mut fds, None) {
            break;
        }
    }
    // After a container's own end this signal reaches no process.
    let _ = process::pidfd_signal(container.as_fd(), libc::SIGKILL);
    leave_standard_streams(2);
    servers.iter().for_each(end_in_time);
    process::exit_now(0)
}

/// Waits for a server, which ends when its last user is gone; kills one that hangs.
fn end_in_time(server: &Child) {
    const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut fds = [PollFd::new(&server.pidfd, PollFlags::IN)];
    while let Err(Errno::INTR) = poll(&mut fds, Some(&PATIENCE)) {}
    let _ = server.signal(libc::SIGKILL);
    let _ = server.wait();
}

/// Replaces standard streams 0 to `last` by /dev/null: a reader of the command's output must see the command's end, not
/// wait for this process.
pub fn leave_standard_streams(last: i32) {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        for number in 0..=last {
            let _ = fd::install(null.as_fd(), number);
        }
    }
}
