//! Terminals: a pair inside a container's own devpts, raw mode of ours, window sizes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{
    OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// <linux/magic.h>
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Opens a new terminal in the devpts whose root folder is `devpts`; returns master and slave side. The slave is opened
/// through the master, never by a path (TIOCGPTPEER, kernel 4.13).
pub fn open_pair(devpts: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    // A container may have mounted anything there.
    if rustix::fs::fstatfs(devpts)?.f_type as i64 != DEVPTS_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let terminal = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    Ok((master, terminal))
}

/// Makes `terminal` the controlling terminal of this process, which must lead a session that has none.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a plain number.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets the size of a terminal, in characters.
pub fn set_window_size(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size =
        rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Sets the window size of `to` to that of `from`.
pub fn copy_window_size(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let size: Winsize = tcgetwinsize(from)?;
    Ok(tcsetwinsize(to, size)?)
}

/// A terminal of ours in raw mode; restored on drop.
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Sets `terminal` to raw mode.
    pub fn set(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal: terminal.try_clone_to_owned()?, before })
    }

    /// Sets raw mode again, after another process has changed the mode.
    pub fn renew(&self) {
        let mut raw = self.before.clone();
        raw.make_raw();
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &raw);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Now, not drained: a terminal whose reader is gone must not block us.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
