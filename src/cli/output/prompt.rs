//! Questions at the terminal. Hides a secret during typing, and restores the terminal however the question ends, a signal's
//! included.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::sys::signal::Signals;

/// Longest answer, in bytes.
const LONGEST: usize = 16 << 10;

/// Echo of the typed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The terminal shows the text.
    On,
    /// The text is a password.
    Off,
}

/// Terminal with its echo off; restores its settings on drop.
struct EchoOff<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> EchoOff<'a> {
    fn set(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        // Text typed before the question is no answer: discarded.
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Asks at the terminal whether to remove `objects`. Errors: no terminal.
pub fn confirm(objects: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        let error = "standard input is not a terminal to ask whether you are sure";
        return Err(Error::new(error).hint("--force removes without asking"));
    }
    let question = format!("This removes {objects}. Are you sure? [y/N]");
    let answer = ask(&question, Echo::On)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks `question` at the terminal; returns a line, without its end. Errors: no terminal, or no answer.
pub fn ask(question: &str, echo: Echo) -> Result<String> {
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .context(|| "cannot ask at the terminal")?;
    // Signals wait meanwhile: none must end this process before the terminal is restored.
    let signals =
        Signals::block(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP])
            .context(|| "cannot block signals")?;
    let hidden = match echo {
        Echo::Off => Some(EchoOff::set(&terminal).context(|| "cannot hide what is typed")?),
        Echo::On => None,
    };
    let line = write!(&terminal, "{question}: ")
        .map_err(Error::from)
        .and_then(|()| read_line(&terminal, &signals))
        .context(|| "cannot ask at the terminal");
    drop(hidden);
    if line.is_err() {
        let _ = writeln!(terminal);
    }
    signals.restore();
    line
}

fn read_line(mut terminal: &File, signals: &Signals) -> Result<String> {
    let mut line = Vec::new();
    let mut room = [0; 4096];
    while line.last() != Some(&b'\n') {
        let both = &mut [
            PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match poll(both, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(signal) = signals.next()?.filter(|signal| *signal != libc::SIGTSTP) {
            return Err(Error::new("interrupted").exit_status(128u8.wrapping_add(signal as u8)));
        }
        let [ready, _] = both;
        if ready.revents().is_empty() {
            continue;
        }
        match terminal.read(&mut room)? {
            0 => fail!("no answer"),
            length => line.extend(room.iter().take(length)),
        }
        if line.len() > LONGEST {
            fail!("the answer is longer than {LONGEST} bytes");
        }
    }
    text_of(line)
}

/// Reads all of standard input, without the end of its last line. Errors: too long, or not text.
pub fn read_all() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .context(|| "cannot read standard input")?;
    if bytes.len() > LONGEST {
        fail!("standard input is longer than {LONGEST} bytes");
    }
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> Result<String> {
    // The UTF-8 error would contain the secret bytes.
    let Ok(text) = String::from_utf8(bytes) else { fail!(Invalid: "it is not UTF-8") };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_end_of_line_is_not_part_of_a_password() {
        for (typed, meant) in
            [("a b\n", "a b"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), ("", "")]
        {
            assert_eq!(text_of(typed.into()).unwrap(), meant);
        }
        assert!(text_of(vec![0xff]).is_err());
    }
}
