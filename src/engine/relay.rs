//! Carries bytes between our standard streams and the pipes that a command has in their place (see [`super::streams`]).
//!
//! Each flow holds at most one buffer: nothing is read before what was read is written, so a command that writes faster
//! than its reader reads waits, as it would at the reader's own pipe. A flow ends by closing both its ends: the reader of a
//! pipe sees the end of it, the writer SIGPIPE or EPIPE.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::signal::Signals;

/// As much as a pipe holds.
const ROOM: usize = 64 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the command.
    In,
    /// From the command.
    Out,
}

/// Outcome of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    Waits,
    Ends,
}

/// Bytes on their way from one descriptor to another.
#[derive(Debug)]
pub struct Flow {
    from: OwnedFd,
    to: OwnedFd,
    direction: Direction,
    /// Writing never waits: room need not be awaited first.
    writes_at_once: bool,
    buffer: Vec<u8>,
    /// Bytes that were read and not yet written.
    pending: std::ops::Range<usize>,
}

impl Flow {
    /// From `from` to `to`. The end that is a pipe of ours no longer waits.
    pub fn new(from: OwnedFd, to: OwnedFd, direction: Direction) -> io::Result<Self> {
        let ours = if direction == Direction::In { &to } else { &from };
        rustix::io::ioctl_fionbio(ours, true)?;
        let is_file = FileType::from_raw_mode(rustix::fs::fstat(&to)?.st_mode).is_file();
        let writes_at_once = is_file || rustix::fs::fcntl_getfl(&to)?.contains(OFlags::NONBLOCK);
        let buffer = vec![0; ROOM];
        Ok(Self { from, to, direction, writes_at_once, buffer, pending: 0..0 })
    }

    /// What it waits for. The pipe to the command is watched all the time: its reader may go.
    fn wishes(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let reads = self.pending.is_empty().then_some((self.from.as_fd(), PollFlags::IN));
        let writes = match self.pending.is_empty() {
            false => Some((self.to.as_fd(), PollFlags::OUT)),
            true => {
                (self.direction == Direction::In).then_some((self.to.as_fd(), PollFlags::empty()))
            }
        };
        reads.into_iter().chain(writes)
    }

    /// Reads once or writes once, or both where that does not wait. Errors: it cannot be written on.
    fn turn(&mut self) -> io::Result<Then> {
        if self.pending.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.from, &mut self.buffer[..])) {
                Ok(0) => return Ok(Then::Ends),
                Ok(length) => self.pending = 0..length,
                Err(Errno::AGAIN) => return Ok(Then::Waits),
                // A terminal that has hung up, or that is not ours to read (a job in the background).
                Err(Errno::IO) => return Ok(Then::Ends),
                Err(error) => {
                    log::warn!("cannot read standard input: {}", Error::from(error));
                    return Ok(Then::Ends);
                }
            }
            if !self.writes_at_once {
                return Ok(Then::GoesOn);
            }
        }
        match rustix::io::write(&self.to, &self.buffer[self.pending.clone()]) {
            Ok(written) => self.pending.start += written,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads any more: no fault of ours to tell of.
            Err(Errno::PIPE | Errno::IO) => return Ok(Then::Ends),
            Err(error) => return Err(error.into()),
        }
        Ok(Then::GoesOn)
    }
}

/// All flows of a command.
#[derive(Debug, Default)]
pub struct StreamRelay {
    flows: Vec<Flow>,
    /// Why some of the output is lost.
    lost: Option<io::Error>,
}

impl StreamRelay {
    /// Of these flows.
    pub fn new(flows: Vec<Flow>) -> Self {
        Self { flows, lost: None }
    }

    /// What is to be waited for, in the order in which [`StreamRelay::turn`] is told of it.
    pub fn wishes(&self) -> impl Iterator<Item = PollFd<'_>> {
        let all = self.flows.iter().flat_map(Flow::wishes);
        all.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
    }

    /// Carries what can be carried without waiting, at most one buffer each.
    pub fn turn(&mut self, mut came: impl Iterator<Item = PollFlags>) {
        let lost = &mut self.lost;
        self.flows.retain_mut(|flow| {
            let wishes: Vec<_> = flow.wishes().map(|(_, flags)| flags).collect();
            let mut is_ready = false;
            let mut is_deserted = false;
            for wish in wishes {
                let came = came.next().unwrap_or(PollFlags::empty());
                is_ready |= !came.is_empty() && !wish.is_empty();
                is_deserted |= wish.is_empty() && came.contains(PollFlags::ERR);
            }
            !is_deserted && (!is_ready || go_on(flow, lost) != Then::Ends)
        });
    }

    /// The command has ended: carries what it wrote last, as long as it takes, or until we are asked to end. What somebody
    /// else may still write is not awaited. Errors: some of the output could not be written.
    pub fn finish(mut self, signals: &Signals) -> Result<()> {
        self.flows.retain(|flow| flow.direction == Direction::Out);
        while !self.flows.is_empty() {
            let lost = &mut self.lost;
            self.flows.retain_mut(|flow| {
                let next = go_on(flow, lost);
                next == Then::GoesOn
            });
            if self.waits_for_room(signals)? {
                break;
            }
        }
        match self.lost {
            Some(error) => Err(error).context(|| "cannot write the output of the command"),
            None => Ok(()),
        }
    }

    /// Waits until one of those that wait for room has it; whether we are asked to end meanwhile.
    fn waits_for_room(&self, signals: &Signals) -> Result<bool> {
        const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
        if self.flows.iter().any(|flow| flow.pending.is_empty()) {
            return Ok(false);
        }
        let mut fds: Vec<_> = self.wishes().collect();
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

fn go_on(flow: &mut Flow, lost: &mut Option<io::Error>) -> Then {
    flow.turn().unwrap_or_else(|error| {
        lost.get_or_insert(error);
        Then::Ends
    })
}
