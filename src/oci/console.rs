//! Console socket: the caller's socket that gets the master of a terminal.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Context, Result};
use crate::sys::fd;

/// Name that goes with the descriptor, as runc sends it.
const NAME: &[u8] = b"/dev/ptmx";

/// Connects to a console socket. Errors: nobody listens there.
pub fn connect(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).context(|| format!("the console socket {}", path.display()))
}

/// Sends the master of a terminal.
pub fn send(socket: &UnixStream, master: &OwnedFd) -> Result<()> {
    fd::send(socket, NAME, Some(master.as_fd()))
        .context(|| "cannot send the terminal to the console socket")
}

/// Gives a terminal the size in the config, if there is one.
pub fn set_size(master: &OwnedFd, process: &Process) -> Result<()> {
    let Some(size) = process.console_size() else { return Ok(()) };
    let cells = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
    if (size.height(), size.width()) == (0, 0) {
        return Ok(());
    }
    let size = Winsize {
        ws_row: cells(size.height()),
        ws_col: cells(size.width()),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).context(|| "config.json: process.consoleSize")
}
