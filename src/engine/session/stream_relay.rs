//! Copies bytes between usnea's standard streams and the pipes that a command has instead of them (see
//! [`crate::engine::streams`]).
//!
//! Each flow has one buffer, and reads again only after that buffer is written. Therefore a command waits that writes
//! faster than its reader reads, as it would at a pipe of the reader. A flow ends by closing both its descriptors: the
//! reader of a pipe gets end of file, the writer SIGPIPE or EPIPE.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::signal::Signals;

/// Size of a flow's buffer: the capacity of a pipe.
const ROOM: usize = 64 * 1024;

/// Direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the command.
    In,
    /// From the command.
    Out,
}

/// Outcome of one call of [`Flow::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowTurn {
    Progress,
    WouldBlock,
    Ended,
}

/// Copy of bytes from one descriptor to another, through a buffer.
#[derive(Debug)]
pub struct Flow {
    from: OwnedFd,
    to: OwnedFd,
    direction: Direction,
    /// True if writing never blocks: the flow writes without polling first.
    writes_at_once: bool,
    buffer: Vec<u8>,
    /// Range of `buffer` that was read and not yet written.
    pending: std::ops::Range<usize>,
}

impl Flow {
    /// Makes a flow from `from` to `to`. Sets usnea's end of the pipe to non-blocking.
    pub fn new(from: OwnedFd, to: OwnedFd, direction: Direction) -> io::Result<Self> {
        let ours = if direction == Direction::In { &to } else { &from };
        rustix::io::ioctl_fionbio(ours, true)?;
        let is_file = FileType::from_raw_mode(rustix::fs::fstat(&to)?.st_mode).is_file();
        let writes_at_once = is_file || rustix::fs::fcntl_getfl(&to)?.contains(OFlags::NONBLOCK);
        let buffer = vec![0; ROOM];
        Ok(Self { from, to, direction, writes_at_once, buffer, pending: 0..0 })
    }

    /// Returns the descriptors and events to poll for. The pipe to the command is always polled, since its reader may
    /// close it.
    fn poll_fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let reads = self.pending.is_empty().then_some((self.from.as_fd(), PollFlags::IN));
        let writes = match self.pending.is_empty() {
            false => Some((self.to.as_fd(), PollFlags::OUT)),
            true => {
                (self.direction == Direction::In).then_some((self.to.as_fd(), PollFlags::empty()))
            }
        };
        reads.into_iter().chain(writes)
    }

    /// Reads once or writes once, or both if neither waits. Errors: the output cannot be written.
    fn turn(&mut self) -> io::Result<FlowTurn> {
        if self.pending.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.from, &mut self.buffer[..])) {
                Ok(0) => return Ok(FlowTurn::Ended),
                Ok(length) => self.pending = 0..length,
                Err(Errno::AGAIN) => return Ok(FlowTurn::WouldBlock),
                // EIO: a terminal after a hangup, or one that this background process may not read.
                Err(Errno::IO) => return Ok(FlowTurn::Ended),
                Err(error) => {
                    log::warn!("cannot read standard input: {}", Error::from(error));
                    return Ok(FlowTurn::Ended);
                }
            }
            if !self.writes_at_once {
                return Ok(FlowTurn::Progress);
            }
        }
        match rustix::io::write(&self.to, &self.buffer[self.pending.clone()]) {
            Ok(written) => self.pending.start += written,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The reader has closed its end: not an error of usnea.
            Err(Errno::PIPE | Errno::IO) => return Ok(FlowTurn::Ended),
            Err(error) => return Err(error.into()),
        }
        Ok(FlowTurn::Progress)
    }
}

/// All flows of a command.
#[derive(Debug, Default)]
pub struct StreamRelay {
    flows: Vec<Flow>,
    /// First write error: some of the output is lost.
    lost: Option<io::Error>,
}

impl StreamRelay {
    /// Makes a relay of `flows`.
    pub fn new(flows: Vec<Flow>) -> Self {
        Self { flows, lost: None }
    }

    /// Returns the events to poll for, in the order in which [`StreamRelay::turn`] expects the results.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let all = self.flows.iter().flat_map(Flow::poll_fds);
        all.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
    }

    /// Copies bytes without blocking, at most one buffer per flow. `came`: results of polling [`StreamRelay::poll_fds`].
    pub fn turn(&mut self, mut came: impl Iterator<Item = PollFlags>) {
        let lost = &mut self.lost;
        self.flows.retain_mut(|flow| {
            let poll_fds: Vec<_> = flow.poll_fds().map(|(_, flags)| flags).collect();
            let mut is_ready = false;
            let mut is_deserted = false;
            for requested in poll_fds {
                let came = came.next().unwrap_or(PollFlags::empty());
                is_ready |= !came.is_empty() && !requested.is_empty();
                is_deserted |= requested.is_empty() && came.contains(PollFlags::ERR);
            }
            !is_deserted && (!is_ready || run_turn(flow, lost) != FlowTurn::Ended)
        });
    }

    /// Copies the rest of the output of a command that has ended, until all is written or a signal ends usnea. Does not
    /// wait for output that other processes may still write. Errors: some of the output could not be written.
    pub fn finish(mut self, signals: &Signals) -> Result<()> {
        self.flows.retain(|flow| flow.direction == Direction::Out);
        while !self.flows.is_empty() {
            let lost = &mut self.lost;
            self.flows.retain_mut(|flow| {
                let next = run_turn(flow, lost);
                next == FlowTurn::Progress
            });
            if self.wait_for_room(signals)? {
                break;
            }
        }
        match self.lost {
            Some(error) => Err(error).context(|| "cannot write the output of the command"),
            None => Ok(()),
        }
    }

    /// Waits until one of the full destinations can be written. True if a signal asked usnea to end.
    fn wait_for_room(&self, signals: &Signals) -> Result<bool> {
        const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
        if self.flows.iter().any(|flow| flow.pending.is_empty()) {
            return Ok(false);
        }
        let mut fds: Vec<_> = self.poll_fds().collect();
        if fds.is_empty() {
            return Ok(false);
        }
        fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(false),
            answer => answer.context(|| "cannot wait for the reader of the output")?,
        };
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if ENDING.contains(&signal) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn run_turn(flow: &mut Flow, lost: &mut Option<io::Error>) -> FlowTurn {
    flow.turn().unwrap_or_else(|error| {
        lost.get_or_insert(error);
        FlowTurn::Ended
    })
}
