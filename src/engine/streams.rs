//! Standard streams of a command without a terminal of its own.
//!
//! A command can reopen its open files through `/proc/self/fd/N`, with the permissions of its user and in any mode. It
//! could write to a file that was opened for reading. It could read and truncate a log that was opened for appending,
//! and `readlink` shows its path on the host. A terminal can be read in any case: a container in the background would
//! read the input that is meant for the shell. Therefore the command gets a pipe instead of each of those, and
//! [`crate::engine::session::stream_relay`] copies the bytes, as docker and podman do. Anonymous pipes, sockets and
//! `/dev/null` have none of these dangers. The command inherits them, without a loss of speed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::engine::session::stream_relay::{Direction, Flow, StreamRelay};
use crate::sys::pty;

/// <linux/magic.h>
const PIPEFS_MAGIC: i64 = 0x5049_5045;

/// Source of the command's standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// The standard input of this process (`--interactive`).
    Ours,
}

/// Standard streams of the caller: those of this process, or of a client.
#[derive(Clone, Copy, Debug)]
pub struct CallerStreams<'a> {
    /// Standard input. If it is a terminal, the command's terminal gets its size, and it is in raw mode during the
    /// session.
    pub input: BorrowedFd<'a>,
    /// Standard output.
    pub output: BorrowedFd<'a>,
    /// Standard error.
    pub error: BorrowedFd<'a>,
}

impl CallerStreams<'_> {
    /// Sets the window size of `terminal` to that of the caller's terminal. Without a terminal on input or output, the
    /// size stays unchanged.
    pub fn copy_window_size(&self, terminal: impl AsFd) {
        let _ = pty::copy_window_size(self.input, &terminal)
            .or_else(|_| pty::copy_window_size(self.output, &terminal));
    }

    /// Gives all users of a container access to those streams that are pipes, which the command inherits.
    pub fn open_to_all(&self) {
        for fd in [self.input, self.output, self.error] {
            if is_pipe(fd) {
                open_to_all(fd);
            }
        }
    }
}

/// Streams of a launch.
#[derive(Debug)]
pub struct LaunchStreams<'a> {
    /// Streams of the command. `None`: the command has a terminal, or inherits the streams of this process.
    pub command: Option<CommandStreams>,
    /// Streams of the caller. `None`: no caller waits.
    pub caller: Option<CallerStreams<'a>>,
}

/// Standard streams of a command without a terminal, where they differ from those of this process.
#[derive(Debug)]
pub struct CommandStreams {
    /// Standard input; `None`: as [`super::LaunchOptions::stdin`] says.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
    /// Standard error of usnea's processes beside the command.
    pub reports: ReportTarget,
}

/// Standard error of usnea's processes beside the command, on which they report errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportTarget {
    /// The command's standard error.
    CommandStderr,
    /// The standard error of this process.
    OwnStderr,
}

/// Returns the streams for a command that uses those of the caller, and the relay for the streams that the command does
/// not inherit.
pub fn of_caller(
    caller: CallerStreams<'_>,
    input: Stdin,
) -> io::Result<(CommandStreams, StreamRelay)> {
    let mut flows = Vec::new();
    let input = match input {
        Stdin::Null => None,
        Stdin::Ours if is_handed_on(caller.input)? => Some(caller.input.try_clone_to_owned()?),
        Stdin::Ours => {
            let (far, near) = pipe_for_container()?;
            flows.push(Flow::new(ours(caller.input, OFlags::RDONLY)?, near, Direction::In)?);
            Some(far)
        }
    };
    let output = outgoing(caller.output, &mut flows)?;
    // A single pipe for both streams keeps the order of writes.
    let error = match !flows.is_empty() && is_relayed_together(caller)? {
        true => output.try_clone()?,
        false => outgoing(caller.error, &mut flows)?,
    };
    let streams = CommandStreams { input, output, error, reports: ReportTarget::OwnStderr };
    Ok((streams, StreamRelay::new(flows)))
}

/// Makes a pipe whose far end is for a container. All users in the container may open that end by name, as
/// `/dev/stdout` (images link their logs there). On the host, opening it needs access to a process that has the pipe
/// open (proc(5), `/proc/PID/fd`).
pub fn pipe_for_container() -> io::Result<(OwnedFd, OwnedFd)> {
    let (far, near) = pipe_with(PipeFlags::CLOEXEC)?;
    open_to_all(far.as_fd());
    Ok((far, near))
}

/// Gives all users access to a pipe. Changes the mode, not the owner: other users of the pipe can still open it by
/// name. A pipe of another user stays unchanged.
fn open_to_all(pipe: BorrowedFd<'_>) {
    let _ = rustix::fs::fchmod(pipe, Mode::from_raw_mode(0o666));
}

fn outgoing(fd: BorrowedFd<'_>, flows: &mut Vec<Flow>) -> io::Result<OwnedFd> {
    if is_handed_on(fd)? {
        return fd.try_clone_to_owned();
    }
    let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
    open_to_all(far.as_fd());
    flows.push(Flow::new(near, ours(fd, OFlags::WRONLY)?, Direction::Out)?);
    Ok(far)
}

/// True if the command inherits this descriptor. Gives all users of the container access to a pipe.
fn is_handed_on(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = fstat(fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => true,
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        FileType::Fifo if is_pipe(fd) => {
            open_to_all(fd);
            true
        }
        _ => false,
    })
}

/// True for an anonymous pipe.
fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type == PIPEFS_MAGIC)
}

/// True if standard error and standard output have the same destination.
fn is_relayed_together(caller: CallerStreams<'_>) -> io::Result<bool> {
    let same = |one: &Stat, other: &Stat| {
        (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
    };
    let (output, error) = (fstat(caller.output)?, fstat(caller.error)?);
    if !same(&output, &error) || is_handed_on(caller.output)? {
        return Ok(false);
    }
    // A file that was opened twice has two file offsets.
    let place = |fd| -> io::Result<_> {
        let appends = rustix::fs::fcntl_getfl(fd)?.contains(OFlags::APPEND);
        Ok((appends, rustix::fs::seek(fd, rustix::fs::SeekFrom::Current(0)).ok()))
    };
    let is_file = FileType::from_raw_mode(output.st_mode).is_file();
    Ok(!is_file || place(caller.output)? == place(caller.error)?)
}

/// Returns usnea's end of a flow. Reopens a terminal with O_NONBLOCK, so that a slow terminal does not delay the
/// forwarding of signals. That flag belongs to the open file description, which other processes share. Duplicates a
/// terminal that this user may not open (su(1)).
fn ours(fd: BorrowedFd<'_>, access: OFlags) -> io::Result<OwnedFd> {
    if rustix::termios::isatty(fd) {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(terminal) = rustix::fs::open(path, flags, Mode::empty()) {
            return Ok(terminal);
        }
    }
    fd.try_clone_to_owned()
}
