//! Caller's end of a session: typed input, detach keys, raw mode, window size. The other end is the master of the
//! command's terminal ([`super::terminal_relay`]), or, for an attached client, the monitor of a container.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, isatty, tcgetwinsize};

use super::detach_keys::{DetachKeys, DetachWatch};
use crate::engine::streams::{CallerStreams, Stdin};
use crate::sys::pty::Raw;

/// Mode of the caller's terminal in a session that reads from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputMode {
    /// Raw mode, for a command with a terminal of its own, which echoes and edits. Detach keys are recognized.
    Raw,
    /// Mode unchanged, for a command without a terminal.
    Unchanged,
}

/// Bytes that were read from the caller.
pub struct TypedInput {
    /// Bytes for the command.
    pub bytes: Vec<u8>,
    /// State of the input after these bytes.
    pub outcome: InputOutcome,
}

/// State of the caller's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputOutcome {
    /// More input may follow.
    Open,
    /// The input has ended.
    Ended,
    /// The detach keys were typed.
    Left,
}

/// Caller's end of a session.
pub struct CallerEnd<'a> {
    streams: CallerStreams<'a>,
    /// Raw mode of the caller's terminal, until dropped.
    raw: Option<Raw>,
    /// Source of the command's input; [`Stdin::Null`] after the end of the caller's input.
    input: Stdin,
    watch: DetachWatch,
}

impl<'a> CallerEnd<'a> {
    /// Starts the session. Sets the caller's terminal to `mode` if it is the command's input.
    pub fn start(
        streams: CallerStreams<'a>,
        input: Stdin,
        mode: InputMode,
        keys: DetachKeys,
    ) -> io::Result<Self> {
        let is_raw = input == Stdin::Ours && mode == InputMode::Raw && isatty(streams.input);
        let raw = is_raw.then(|| Raw::set(streams.input)).transpose()?;
        Ok(Self { streams, raw, input, watch: DetachWatch::new(keys) })
    }

    /// Streams of the caller.
    pub fn streams(&self) -> CallerStreams<'a> {
        self.streams
    }

    /// True if the caller's input is the command's, and has not ended.
    pub fn reads_input(&self) -> bool {
        self.input == Stdin::Ours
    }

    /// Reads input into `room`, after poll(2) reported some.
    pub fn read(&mut self, room: &mut [u8]) -> TypedInput {
        match rustix::io::read(self.streams.input, &mut *room) {
            Ok(length) if length > 0 => {
                let typed = room.get(..length).unwrap_or_default();
                let (bytes, are_keys) = match self.raw {
                    Some(_) => self.watch.typed(typed),
                    None => (typed.to_vec(), false),
                };
                let outcome = if are_keys { InputOutcome::Left } else { InputOutcome::Open };
                TypedInput { bytes, outcome }
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                TypedInput { bytes: Vec::new(), outcome: InputOutcome::Open }
            }
            _ => {
                self.input = Stdin::Null;
                TypedInput { bytes: Vec::new(), outcome: InputOutcome::Ended }
            }
        }
    }

    /// Sets raw mode again, after SIGCONT.
    pub fn resume(&self) {
        if let Some(raw) = &self.raw {
            raw.renew();
        }
    }

    /// Returns the window size of the caller's terminal; `None`: neither input nor output is a terminal.
    pub fn window_size(&self) -> Option<Winsize> {
        tcgetwinsize(self.streams.input).or_else(|_| tcgetwinsize(self.streams.output)).ok()
    }
}

/// Writes all bytes to a stream of the caller. Waits while the stream is full.
pub fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
