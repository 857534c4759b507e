//! Keeper: the base process once the container runs. Ends the container when the parent is dead.
//!
//! The process runs usnea's own program, without an exec. It keeps no descriptor but /dev/null and those that it polls.
//!
//! In the PID namespace of the host or of another container, processes that the command left running would become
//! children of its process 1. The keeper recognizes them by their mount namespace, which is the container's own, and
//! kills them.

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

/// Message on [`FileServers::shared`]: a server has died.
pub const SHARED_SERVER_DIED: u8 = b'D';

/// Servers of a container's files.
#[derive(Clone, Copy, Default)]
pub struct FileServers<'a> {
    /// Children of this process.
    pub own: &'a [Child],
    /// Connection to the holder of shared images, open as long as the container runs.
    pub shared: Option<&'a OwnedFd>,
}

/// Source of news about a server.
#[derive(Clone, Copy)]
enum ServerNews<'a> {
    Child(&'a Child),
    Holder(&'a OwnedFd),
}

impl<'a> ServerNews<'a> {
    fn fd(self) -> &'a OwnedFd {
        match self {
            Self::Child(server) => &server.pidfd,
            Self::Holder(connection) => connection,
        }
    }

    /// Reads the news. Returns whether a server has died, and whether more news may follow.
    fn read(self) -> (bool, bool) {
        match self {
            // A server with status 0 exited because the container has just ended.
            Self::Child(server) => (server.wait().map_or(true, |how| how.status() != 0), false),
            Self::Holder(connection) => {
                let mut byte = [0];
                let count = rustix::io::retry_on_intr(|| rustix::io::read(connection, &mut byte));
                (byte == [SHARED_SERVER_DIED], count.is_ok_and(|count| count > 0))
            }
        }
    }
}

/// Waits until the container ends, or ends it when the parent is dead. Then waits until the servers of its file systems
/// have written all data and exited. `container`: pidfd of its process. `watched`: socket that hangs up when the parent
/// is dead. `rest`: processes to kill after the container, since the kernel does not. Never returns.
pub fn keep(
    container: &OwnedFd,
    watched: &OwnedFd,
    servers: FileServers<'_>,
    rest: Option<ProcessesOfMounts>,
) -> ! {
    signal::block_all();
    title::set("keeper");
    // From here on `watched` reports the parent's death, which must not kill this process.
    let _ = process::set_parent_death_signal(0);
    let FileServers { own, shared } = servers;
    let news = own.iter().map(ServerNews::Child).chain(shared.map(ServerNews::Holder));
    let mut news: Vec<_> = news.collect();
    let all = [container, watched].into_iter().chain(news.iter().map(|news| news.fd()));
    let all: Vec<_> = all.map(AsFd::as_fd).collect();
    fd::close_all_but(&all);
    replace_standard_streams_by_null(if news.is_empty() { 2 } else { 1 });
    let mut fds: Vec<_> =
        all.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let ended = |fd: &PollFd<'_>| !fd.revents().is_empty();
    loop {
        // Checked before the container's end: a server's death may have caused that end.
        while let Some(place) = fds[2..].iter().position(ended) {
            let (has_died, goes_on) = news[place].read();
            if has_died {
                log::error!("{SERVER_DIED}");
                let _ = rustix::net::send(watched, b"s", rustix::net::SendFlags::NOSIGNAL);
            }
            match goes_on {
                true => fds[place + 2].clear_revents(),
                false => {
                    fds.remove(place + 2);
                    news.remove(place);
                }
            }
        }
        if fds[..2].iter().any(ended) {
            break;
        }
        if let Err(Errno::INVAL | Errno::NOMEM) = poll(&mut fds, None) {
            break;
        }
    }
    // If the container has ended by itself, this signal reaches no process.
    let _ = process::pidfd_signal(container.as_fd(), libc::SIGKILL);
    rest.iter().for_each(ProcessesOfMounts::end);
    replace_standard_streams_by_null(2);
    own.iter().for_each(end_in_time);
    process::exit_now(0)
}

/// Waits until the parent no longer needs the base process, for a container without a keeper
/// ([`Lifetime::Independent`](super::Lifetime)). Closes all descriptors of the launch: the parent recognizes the command's exec
/// by the end of its channel. Never returns.
pub fn wait_for_release(watched: &OwnedFd) -> ! {
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
        // A hidden process can inspect itself, but no other hidden process.
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/mnt"))?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Writes the identity of this process's mount namespace to a pipe.
    pub fn send_ours(writer: &OwnedFd) -> StepResult {
        let ours = Self::of("self").on(|| "/proc/self/ns/mnt")?;
        let bytes = [ours.device.to_ne_bytes(), ours.inode.to_ne_bytes()].concat();
        rustix::io::write(writer, &bytes)?;
        Ok(())
    }

    /// Reads the identity that [`Self::send_ours`] wrote. Errors: the sender has exited before (EPIPE).
    pub fn receive(reader: &OwnedFd) -> StepResult<Self> {
        let mut bytes = [0; 16];
        match rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut bytes))? {
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

    /// Returns the processes of an open mount namespace. Errors: fstat(2).
    pub fn of_namespace(namespace: &OwnedFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(namespace)?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }

    fn contains(&self, process: &str) -> bool {
        Self::of(process).is_ok_and(|of| (of.device, of.inode) == (self.device, self.inode))
    }

    /// Kills all processes. They may fork until they are killed: repeats until none is left.
    pub fn end(&self) {
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
                // Checked again: meanwhile the PID may belong to another process, which the descriptor then refers to.
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

/// Waits for a server, which exits when no process uses its mount any more; kills one that hangs.
fn end_in_time(server: &Child) {
    const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut fds = [PollFd::new(&server.pidfd, PollFlags::IN)];
    while let Err(Errno::INTR) = poll(&mut fds, Some(&PATIENCE)) {}
    let _ = server.signal(libc::SIGKILL);
    let _ = server.wait();
}

/// Replaces standard streams 0 to `last` by /dev/null: a reader of the command's output must see the command's end, not
/// wait for this process.
pub fn replace_standard_streams_by_null(last: i32) {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        for number in 0..=last {
            let _ = fd::install(null.as_fd(), number);
        }
    }
}
