//! The command's standard streams, seen from our side: pipes, or the master of its terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::log::Source;

/// What is written to a terminal to say that no more comes (EOT).
const END: u8 = 4;

/// The streams.
#[derive(Debug, Default)]
pub struct Streams {
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    input: Option<OwnedFd>,
    is_terminal: bool,
    /// The terminal's other side: while somebody has it open, the master does not hang up, which poll(2) would tell for
    /// ever.
    _open: Option<OwnedFd>,
    /// Not yet taken by the command.
    pending: Vec<u8>,
    closes: bool,
}

impl Streams {
    /// Of a command with a terminal.
    pub fn terminal(master: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = rustix::pty::ioctl_tiocgptpeer(&master, flags).ok();
        let input = Some(master.try_clone()?);
        Ok(Self { output: Some(master), input, is_terminal: true, _open: open, ..Self::default() })
    }

    /// Of one without.
    pub fn pipes(input: Option<OwnedFd>, output: OwnedFd, error: OwnedFd) -> std::io::Result<Self> {
        for fd in [Some(&output), Some(&error), input.as_ref()].into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self { output: Some(output), error: Some(error), input, ..Self::default() })
    }

    /// What is read from.
    pub fn source(&self, source: Source) -> Option<BorrowedFd<'_>> {
        match source {
            Source::Error => self.error.as_ref(),
            _ => self.output.as_ref(),
        }
        .map(AsFd::as_fd)
    }

    /// Reads once: how many bytes came. `None`: nothing is there now, or ever again.
    pub fn read(&mut self, source: Source, room: &mut [u8]) -> Option<usize> {
        let fd = match source {
            Source::Error => &mut self.error,
            _ => &mut self.output,
        };
        match rustix::io::read(fd.as_ref()?, room) {
            Ok(length) if length > 0 => Some(length),
            Err(Errno::AGAIN | Errno::INTR) => None,
            _ => {
                *fd = None;
                None
            }
        }
    }

    /// What is written to, where something waits to be.
    pub fn wants_room(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Gives the command something to read.
    pub fn input(&mut self, bytes: &[u8]) {
        if self.input.is_some() {
            self.pending.extend(bytes);
            self.flush();
        }
    }

    /// Gives it nothing more.
    pub fn close_input(&mut self) {
        match self.is_terminal {
            true => self.input(&[END]),
            false => {
                self.closes = true;
                self.flush();
            }
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        let Some(input) = &self.input else { return };
        while !self.pending.is_empty() {
            match rustix::io::write(input, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.pending = Vec::new();
                    self.input = None;
                    return;
                }
            }
        }
        if self.closes {
            self.input = None;
        }
    }

    /// Gives the terminal a size.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let (true, Some(master)) = (self.is_terminal, &self.output) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }
}
