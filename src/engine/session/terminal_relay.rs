//! Carries bytes between the caller's terminal and the master of the command's.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::detach_keys::{DetachKeys, DetachWatch};
use crate::engine::streams::{CallerStreams, Stdin};
use crate::sys::pty;

/// Events of a terminal that can be handled without waiting.
#[derive(Default)]
pub struct TerminalReady {
    output: bool,
    input: bool,
    room: bool,
}

/// Relay between the caller's standard streams and the master of the command's terminal.
pub struct TerminalRelay<'a> {
    master: OwnedFd,
    caller: CallerStreams<'a>,
    /// Raw mode of the caller's terminal, until dropped.
    raw: Option<pty::Raw>,
    /// True if no process inside has the terminal open, which poll(2) would report for ever.
    deserted: bool,
    input: TerminalInput,
    watch: DetachWatch,
    /// Bytes from usnea's input that the terminal has not taken yet. The terminal's buffer is small: waiting for room
    /// while the command waits for usnea to read would never end.
    pending: Vec<u8>,
}

#[derive(PartialEq, Eq)]
enum TerminalInput {
    Open,
    Closed,
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
        let raw = match stdin {
            Stdin::Ours if rustix::termios::isatty(caller.input) => {
                Some(pty::Raw::set(caller.input)?)
            }
            _ => None,
        };
        let input = if stdin == Stdin::Ours { TerminalInput::Open } else { TerminalInput::Closed };
        let watch = DetachWatch::new(keys);
        let relay =
            Self { master, caller, raw, deserted: false, input, watch, pending: Vec::new() };
        relay.follow_window_size();
        Ok(relay)
    }

    /// Copies the window size of the caller's terminal.
    pub fn follow_window_size(&self) {
        self.caller.copy_window_size(&self.master);
    }

    /// Sets raw mode and window size again, after usnea was stopped.
    pub fn resume(&self) {
        if let Some(raw) = &self.raw {
            raw.renew();
        }
        self.follow_window_size();
    }

    /// Master of the terminal, which the session leaves.
    pub fn into_master(self) -> OwnedFd {
        self.master
    }

    /// True if no process inside has the terminal open: it is polled at an interval.
    pub fn is_deserted(&self) -> bool {
        self.deserted
    }

    /// Events to poll for: of the master, then of the caller's input.
    pub fn wishes(&self) -> impl Iterator<Item = PollFd<'_>> {
        let writes = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let master = PollFd::new(&self.master, PollFlags::IN | writes);
        let input = PollFd::from_borrowed_fd(self.caller.input, PollFlags::IN);
        let wishes = [Some(master), self.reads_input().then_some(input)];
        wishes.into_iter().flatten().filter(|_| !self.deserted)
    }

    /// Reads the poll results of [`TerminalRelay::wishes`]. A deserted terminal has none, and is read at an interval.
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
        self.input == TerminalInput::Open && self.pending.is_empty()
    }

    /// Carries bytes without waiting. True if the detach keys were typed.
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

    /// Copies at most one buffer of output a turn, to handle signals soon. True if more output may follow.
    fn carry_output(&mut self) -> bool {
        let mut room = [0; 16384];
        match rustix::io::read(&self.master, &mut room) {
            Ok(length) if length > 0 => {
                self.deserted = false;
                write_all(self.caller.output, &room[..length]).is_ok()
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
        let mut leaves = false;
        match rustix::io::read(self.caller.input, &mut room) {
            Ok(length) if length > 0 && self.raw.is_some() => {
                let (typed, were_keys) = self.watch.typed(&room[..length]);
                self.pending.extend(typed);
                leaves = were_keys;
            }
            Ok(length) if length > 0 => self.pending.extend(&room[..length]),
            Err(Errno::AGAIN | Errno::INTR) => return false,
            _ => {
                self.input = TerminalInput::Closed;
                self.pending.push(END_OF_TRANSMISSION);
            }
        }
        self.write_pending();
        leaves
    }

    fn write_pending(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }

    /// Writes the command's last output.
    pub fn finish(&mut self) {
        while self.carry_output() {}
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
