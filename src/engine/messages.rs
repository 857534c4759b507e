//! Messages between the processes of a launch: one message type, one way to send, one to wait.
//!
//! The channel is a sequenced-packet socket pair, close-on-exec. A message arrives whole or not at all. When the other
//! end is gone (exec of the command, or death) the next receive returns `None`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::sys::fd;

/// Largest message, in bytes: a path and some words.
const ROOM: usize = 8192;

/// Message of a launch.
#[derive(Debug)]
pub enum Message {
    /// parent -> base -> container: the IDs are mapped, go on.
    Mapped,
    /// base -> parent: the container's process, a child of the parent.
    Container {
        /// Process ID in the PID namespace of usnea.
        pid: i32,
        /// Descriptor of the process.
        pidfd: OwnedFd,
    },
    /// container -> parent: the master of the command's terminal.
    Terminal(OwnedFd),
    /// container -> parent: its user or mount namespace, for the supervisor to enter.
    Namespace(OwnedFd),
    /// container -> parent: a helper may enter its network namespace.
    Network,
    /// container -> parent: the helper must be ready now.
    Connect,
    /// container -> parent: the listener of the command's filter.
    Listener(OwnedFd),
    /// parent -> container: the supervisor answers the listener; or the network is connected.
    Heard,
    /// container -> parent: exec is next; signals are the command's from here on.
    Running,
    /// base or container -> parent: this step failed.
    Failed(StepFailure),
}

/// Failure that crosses the fork: the step, its object, and the errno.
#[derive(Debug, PartialEq, Eq)]
pub struct StepFailure {
    /// Index in the plan's steps.
    pub step: usize,
    /// Object of the failed action within the step; may be empty.
    pub what: String,
    /// errno, or 0 when `what` is the whole message.
    pub errno: i32,
}

/// End of the socket pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Makes a channel, and returns its two ends.
pub fn pair() -> io::Result<(Channel, Channel)> {
    let (one, other) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Channel(one), Channel(other)))
}

impl Channel {
    /// Sends one message.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        match message {
            Message::Mapped => fd::send(&self.0, b"M", None),
            Message::Container { pid, pidfd } => {
                fd::send(&self.0, &[b"C", &pid.to_ne_bytes()[..]].concat(), Some(pidfd.as_fd()))
            }
            Message::Terminal(master) => fd::send(&self.0, b"T", Some(master.as_fd())),
            Message::Namespace(namespace) => fd::send(&self.0, b"N", Some(namespace.as_fd())),
            Message::Network => fd::send(&self.0, b"E", None),
            Message::Connect => fd::send(&self.0, b"K", None),
            Message::Listener(listener) => fd::send(&self.0, b"L", Some(listener.as_fd())),
            Message::Heard => fd::send(&self.0, b"H", None),
            Message::Running => fd::send(&self.0, b"R", None),
            Message::Failed(failure) => {
                let mut bytes = vec![b'F'];
                bytes.extend((failure.step as u32).to_ne_bytes());
                bytes.extend(failure.errno.to_ne_bytes());
                bytes
                    .extend(&failure.what.as_bytes()[..failure.what.len().min(ROOM - bytes.len())]);
                fd::send(&self.0, &bytes, None)
            }
        }
    }

    /// Waits for the next message; `None` when the other end is gone.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        let mut room = [0; ROOM];
        let (length, fd) = match fd::receive(&self.0, &mut room) {
            // The other end closed with an unread message from this end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            answer => answer?,
        };
        let number = |at: usize| {
            room.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes)
        };
        let message = match (room[..length].first(), fd) {
            (None, _) => return Ok(None),
            (Some(b'M'), _) => Some(Message::Mapped),
            (Some(b'R'), _) => Some(Message::Running),
            (Some(b'H'), _) => Some(Message::Heard),
            (Some(b'N'), Some(namespace)) => Some(Message::Namespace(namespace)),
            (Some(b'E'), _) => Some(Message::Network),
            (Some(b'K'), _) => Some(Message::Connect),
            (Some(b'L'), Some(listener)) => Some(Message::Listener(listener)),
            (Some(b'C'), Some(pidfd)) => number(1).map(|pid| Message::Container { pid, pidfd }),
            (Some(b'T'), Some(master)) => Some(Message::Terminal(master)),
            (Some(b'F'), _) if length >= 9 => number(1).zip(number(5)).map(|(step, errno)| {
                let what = String::from_utf8_lossy(&room[9..length]).into_owned();
                Message::Failed(StepFailure { step: step as usize, what, errno })
            }),
            _ => None,
        };
        message.map(Some).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
    }

    /// True if the other end is gone; does not wait.
    pub fn is_deserted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(1)) && fds[0].revents().contains(PollFlags::HUP)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_unchanged_and_then_the_end_is_seen() {
        let (one, other) = pair().unwrap();
        for what in ["bind /nope", "", &"x".repeat(ROOM * 2)] {
            one.send(&Message::Failed(StepFailure {
                step: 7,
                what: what.into(),
                errno: libc::ENOENT,
            }))
            .unwrap();
            let Some(Message::Failed(got)) = other.receive().unwrap() else { panic!() };
            assert_eq!((got.step, got.errno), (7, libc::ENOENT));
            assert!(what.starts_with(&got.what));
        }
        assert!(!other.is_deserted());
        drop(one);
        assert!(other.is_deserted());
        assert!(other.receive().unwrap().is_none());
    }

    #[test]
    fn a_descriptor_crosses() {
        let (one, other) = pair().unwrap();
        let (near, far) = rustix::pipe::pipe().unwrap();
        one.send(&Message::Terminal(far)).unwrap();
        let Some(Message::Terminal(far)) = other.receive().unwrap() else { panic!() };
        rustix::io::write(&far, b"x").unwrap();
        assert_eq!(rustix::io::read(&near, &mut [0; 4]).unwrap(), 1);
    }
}
