//! Two processes of usnea that stay beside a command. `keep`: base, which ends the container when the parent is dead.
//! And process 1 of a container with `--init`: reaps orphans, forwards signals, and ends when the command ends.
//!
//! Both run usnea's image without exec: therefore they are hidden from the container (`/proc/1/exe` would be the user's
//! usnea), and keep no descriptor but /dev/null.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::process::{self, Child, Ended, Forked};
use crate::sys::{fd, signal, title};

/// Warning for a server of the container's files that has died.
pub const SERVER_DIED: &str =
    "the file server of the container has died: its files answer with errors";

/// Forks: the caller goes on in the child, which becomes the command. This process calls `at_rest`, stays as init, and
/// never returns.
pub fn stay_as_init_and_go_on_in_child(at_rest: impl FnOnce()) -> io::Result<()> {
    // Before the fork: the command must have no moment in which it could look. Its exec ends the hiding for itself.
    process::hide_from_others()?;
    process::adopt_orphans()?; // for an init that is not process 1 (--pid host)
    // Before the fork: a quick command's end sends a signal, which must be blocked until the wait begins.
    signal::block_all();
    match process::fork()? {
        Forked::Parent(command) => {
            at_rest();
            be_init(&command)
        }
        Forked::Child => {
            // A session of its own: the command, not process 1, has the terminal.
            rustix::process::setsid()?;
            Ok(())
        }
    }
}

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

fn be_init(command: &Child) -> ! {
    let pid = command.pid;
    title::set("init");
    fd::close_from(3);
    leave_standard_streams(2);
    loop {
        match signal::wait() {
            libc::SIGCHLD => {
                while let Ok(Some((ended, how))) = process::reap_any() {
                    if ended == pid {
                        process::exit_now(match how {
                            Ended::Exited(status) => status,
                            Ended::Killed(signal) => 128 + signal,
                        });
                    }
                }
            }
            other => {
                // The command may have just ended: SIGCHLD is on its way.
                let _ = process::signal_child(pid, other);
            }
        }
    }
}
