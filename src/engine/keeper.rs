//! Base process after its work: ends the container when the parent is dead.
//!
//! The process runs usnea's image without exec: it keeps no descriptor but /dev/null and those that it waits for.
//!
//! In a PID namespace of another container, processes that the command left running would become children of that
//! container's process 1. They are known by their mount namespace, which is the container's own, and end here.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::engine::step_error::{OnObject, StepResult};
use crate::sys::process::{self, Child};
use crate::sys::{fd, signal, title};

/// Warning for a server of the container's files that has died.
pub const SERVER_DIED: &str =
    "the file server of the container has died: its files answer with errors";

/// Base's life after its work: waits until the container ends, or ends it when the parent is dead. Then waits until the
/// servers of its file systems have written all and ended. `rest`: processes to end after the container, which the kernel
/// does not end. Never returns.
pub fn keep(
    container: &OwnedFd,
    watched: &OwnedFd,
    servers: &[Child],
    rest: Option<ProcessesOfMounts>,
) -> ! {
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
    rest.iter().for_each(ProcessesOfMounts::end);
    leave_standard_streams(2);
    servers.iter().for_each(end_in_time);
    process::exit_now(0)
}

/// Base's life after its work for a container with a life of its own: until the parent needs base no more. Holds none of
/// the launch's descriptors: the end of the parent's channel is the command's exec. Never returns.
pub fn stay_until_released(watched: &OwnedFd) -> ! {
    fd::close_all_but(&[watched.as_fd()]);
    let _ = rustix::io::retry_on_intr(|| rustix::io::read(watched, &mut [0]));
    process::exit_now(0)
}

/// Processes of one mount namespace.
#[derive(Debug)]
pub struct ProcessesOfMounts {
    device: u64,
    inode: u64,
}

impl ProcessesOfMounts {
    fn of(process: &str) -> rustix::io::Result<Self> {
        // A hidden process may look at itself, and at no other of its kind.
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/mnt"))?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Sends the mount namespace of this process.
    pub fn send_ours(telling: &OwnedFd) -> StepResult {
        let ours = Self::of("self").on(|| "/proc/self/ns/mnt")?;
        let bytes = [ours.device.to_ne_bytes(), ours.inode.to_ne_bytes()].concat();
        rustix::io::write(telling, &bytes)?;
        Ok(())
    }

    /// Receives what [`Self::send_ours`] sent. Errors: the sender has ended before (EPIPE).
    pub fn receive(told: &OwnedFd) -> StepResult<Self> {
        let mut bytes = [0; 16];
        match rustix::io::retry_on_intr(|| rustix::io::read(told, &mut bytes))? {
            16 => {
                let number = |at: usize| {
                    let mut part = [0; 8];
                    part.copy_from_slice(&bytes[at..at + 8]);
                    u64::from_ne_bytes(part)
                };
                Ok(Self { device: number(0), inode: number(8) })
            }
            _ => Err(Errno::PIPE.into()),
        }
    }

    fn contains(&self, process: &str) -> bool {
        Self::of(process).is_ok_and(|of| (of.device, of.inode) == (self.device, self.inode))
    }

    /// Ends all processes. They may fork until they are ended: repeats until none is left.
    fn end(&self) {
        const ROUNDS: usize = 1000;
        for _ in 0..ROUNDS {
            let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let names = all.filter_map(|entry| entry.file_name().into_string().ok());
            let pids = names.filter_map(|name| Some((name.parse::<i32>().ok()?, name)));
            let mut ended = 0;
            for (pid, name) in pids {
                if !self.contains(&name) {
                    continue;
                }
                // Looked at again: the descriptor refers to the process that had the PID at that moment.
                let Ok(pidfd) = process::open_pidfd(pid) else { continue };
                if self.contains(&name) {
                    let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
                    ended += 1;
                }
            }
            if ended == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
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
