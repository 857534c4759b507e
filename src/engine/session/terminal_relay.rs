//! Copies bytes between the caller's terminal and the master of the command's terminal.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::caller_end::{CallerEnd, InputMode, InputOutcome, write_all};
use super::detach_keys::DetachKeys;
use crate::engine::streams::{CallerStreams, Stdin};

/// Events of a terminal that can be handled without blocking.
#[derive(Default)]
pub struct TerminalReady {
    output: bool,
    input: bool,
    room: bool,
}

/// Relay between the caller's standard streams and the master of the command's terminal.
pub struct TerminalRelay<'a> {
    master: OwnedFd,
    caller: CallerEnd<'a>,
    /// True if no process has the terminal open. poll(2) would report that without end.
    deserted: bool,
    /// Bytes from usnea's input that the terminal has not accepted yet. The terminal's buffer is small: blocking on it
    /// while the command blocks on its output would be a deadlock.
    pending: Vec<u8>,
}

impl<'a> TerminalRelay<'a> {
    /// Starts the relay. Sets the caller's terminal to raw mode if it is the command's input.
    pub fn start(
        master: OwnedFd,
        caller: CallerStreams<'a>,
        stdin: Stdin,
        keys: DetachKeys,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let caller = CallerEnd::start(caller, stdin, InputMode::Raw, keys)?;
        let relay = Self { master, caller, deserted: false, pending: Vec::new() };
        relay.follow_window_size();
        Ok(relay)
    }

    /// Copies the window size of the caller's terminal.
    pub fn follow_window_size(&self) {
        self.caller.streams().copy_window_size(&self.master);
    }

    /// Sets raw mode and window size again, after SIGCONT.
    pub fn resume(&self) {
        self.caller.resume();
        self.follow_window_size();
    }

    /// Returns the master of the terminal, at the end of the session.
    pub fn into_master(self) -> OwnedFd {
        self.master
    }

    /// True if no process has the terminal open. It is then read at an interval instead of polled.
    pub fn is_deserted(&self) -> bool {
        self.deserted
    }

    /// Returns the descriptors and events to poll for: the master, then the caller's input.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let writes = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let master = PollFd::new(&self.master, PollFlags::IN | writes);
        let input = PollFd::from_borrowed_fd(self.caller.streams().input, PollFlags::IN);
        let poll_fds = [Some(master), self.reads_input().then_some(input)];
        poll_fds.into_iter().flatten().filter(|_| !self.deserted)
    }

    /// Interprets the poll results of [`TerminalRelay::poll_fds`]. A deserted terminal has no results, and counts as
    /// readable.
    pub fn ready(&self, results: &[PollFlags]) -> TerminalReady {
        let came = |index: usize, flags: PollFlags| {
            results.get(index).is_some_and(|result| result.intersects(flags))
        };
        let hangs = PollFlags::HUP | PollFlags::ERR;
        TerminalReady {
            output: self.deserted || came(0, PollFlags::IN | hangs),
            room: came(0, PollFlags::OUT),
            input: came(1, PollFlags::IN | hangs),
        }
    }

    fn reads_input(&self) -> bool {
        self.caller.reads_input() && self.pending.is_empty()
    }

    /// Copies bytes without blocking. True if the detach keys were typed.
    pub fn turn(&mut self, ready: &TerminalReady) -> bool {
        if ready.output {
            self.carry_output();
        }
        let leaves = ready.input && self.reads_input() && self.carry_input();
        if ready.room {
            self.write_pending();
        }
        leaves
    }

    /// Copies at most one buffer of output, so that signals are handled soon. True if more output may follow.
    fn carry_output(&mut self) -> bool {
        let mut room = [0; 16384];
        match rustix::io::read(&self.master, &mut room) {
            Ok(length) if length > 0 => {
                self.deserted = false;
                write_all(self.caller.streams().output, &room[..length]).is_ok()
            }
            answer => {
                self.deserted = matches!(answer, Ok(_) | Err(Errno::IO));
                false
            }
        }
    }

    fn carry_input(&mut self) -> bool {
        const END_OF_TRANSMISSION: u8 = 4;
        let mut room = [0; 1024];
        let typed = self.caller.read(&mut room);
        self.pending.extend(typed.bytes);
        if typed.outcome == InputOutcome::Ended {
            self.pending.push(END_OF_TRANSMISSION);
        }
        self.write_pending();
        typed.outcome == InputOutcome::Left
    }

    fn write_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match rustix::io::write(&self.master, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }

    /// Copies the rest of the command's output.
    pub fn finish(&mut self) {
        while self.carry_output() {}
    }
}
