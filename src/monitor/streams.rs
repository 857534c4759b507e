//! The command's standard streams, seen from the monitor: pipes, or the master of its terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::log::Source;

/// End of input on a terminal (EOT).
const END: u8 = 4;

/// Our ends of the command's streams.
#[derive(Debug, Default)]
pub struct Streams {
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    input: Option<OwnedFd>,
    is_terminal: bool,
    /// Slave side of the terminal. While it is open, the master does not hang up, which poll(2) would report forever.
    _open: Option<OwnedFd>,
    /// Input that the command has not taken yet.
    pending: Vec<u8>,
    closes: bool,
}

impl Streams {
    /// Wraps the master of the command's terminal.
    pub fn terminal(master: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = rustix::pty::ioctl_tiocgptpeer(&master, flags).ok();
        let input = Some(master.try_clone()?);
        Ok(Self { output: Some(master), input, is_terminal: true, _open: open, ..Self::default() })
    }

    /// Wraps our ends of the pipes of a command without a terminal.
    pub fn pipes(input: Option<OwnedFd>, output: OwnedFd, error: OwnedFd) -> std::io::Result<Self> {
        for fd in [Some(&output), Some(&error), input.as_ref()].into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self { output: Some(output), error: Some(error), input, ..Self::default() })
    }

    /// Descriptor to read `source` from.
    pub fn source(&self, source: Source) -> Option<BorrowedFd<'_>> {
        match source {
            Source::Error => self.error.as_ref(),
            _ => self.output.as_ref(),
        }
        .map(AsFd::as_fd)
    }

    /// Reads once, and returns the number of bytes. `None`: no bytes now, or end of file.
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

    /// Descriptor to write to, if input is pending.
    pub fn wants_room(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Passes input to the command.
    pub fn input(&mut self, bytes: &[u8]) {
        if self.input.is_some() {
            self.pending.extend(bytes);
            self.flush();
        }
    }

    /// Closes the command's input; a terminal gets EOT.
    pub fn close_input(&mut self) {
        match self.is_terminal {
            true => self.input(&[END]),
            false => {
                self.closes = true;
                self.flush();
            }
        }
    }

    /// Writes pending input.
    pub fn flush(&mut self) {
        let Some(input) = &self.input else { return };
        while !self.pending.is_empty() {
            match rustix::io::write(input, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The command has closed its input.
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

    /// Sets the terminal's size.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let (true, Some(master)) = (self.is_terminal, &self.output) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }
}
