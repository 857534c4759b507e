//! Messages between the processes of a launch: an enum for each direction, one function to send, one to receive.
//!
//! The channel is a sequenced-packet socket pair, close-on-exec. A message arrives whole or not at all. When the other
//! end is gone (exec of the command, or death) the next receive returns `None`.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::hook_point::HookPoint;
use crate::sys::fd;

/// Size limit of a message, in bytes: a path and some words fit.
const ROOM: usize = 8192;

/// Message from the parent to base or to the container's process.
#[derive(Debug)]
pub enum ParentMessage {
    /// The IDs are mapped: the process that waits for them continues.
    Mapped,
    /// The requested work is done: the supervisor answers the listener, the network is connected, or the hooks have
    /// run.
    Ready,
    /// The command of a created container may run.
    Start,
}

/// Message from base or the container's process to the parent.
#[derive(Debug)]
pub enum ChildMessage {
    /// The base process has made the container's process, a child of the parent.
    Container {
        /// Process ID in the PID namespace of usnea.
        pid: i32,
        /// pidfd of the process.
        pidfd: OwnedFd,
    },
    /// Master of the command's terminal.
    Terminal(OwnedFd),
    /// User or mount namespace of the container, for the supervisor to enter.
    Namespace(OwnedFd),
    /// The network namespace is ready for a helper. With named networks: a netlink socket of the namespace.
    Network(Option<OwnedFd>),
    /// Request to wait until the helper is ready.
    Connect,
    /// Request to run the parent's hooks of this point.
    Hooks(HookPoint),
    /// Listener of the command's filter.
    Listener(OwnedFd),
    /// The container is set up, and waits for [`ParentMessage::Start`].
    Created,
    /// Exec is next, or the wait at the FIFO: from here on, signals are forwarded to the command. A channel that ends
    /// without this message belongs to processes that died while they set the container up.
    Running,
    /// A step failed.
    Failed(StepFailure),
}

/// Failure of a step, as a child reports it: the step, the object of the failure, and the errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure {
    /// Index in the plan's steps.
    pub step: usize,
    /// Object of the failed action within the step, such as a path; may be empty.
    pub what: String,
    /// errno, or 0 when `what` is the whole message.
    pub errno: i32,
    /// Remedy that only the child knows.
    pub hint: Option<String>,
}

/// Byte between the object of a failure and its hint. Neither has it.
const SEPARATOR: u8 = 0;

/// Message that is sent as bytes and at most one descriptor.
pub trait WireMessage: Sized {
    /// Returns the bytes, the first of which names the kind of message, and the descriptor.
    fn encode(&self) -> (Vec<u8>, Option<BorrowedFd<'_>>);

    /// Decodes a message; `None`: not a message of this direction.
    fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Option<Self>;
}

impl WireMessage for ParentMessage {
    fn encode(&self) -> (Vec<u8>, Option<BorrowedFd<'_>>) {
        let kind = match self {
            Self::Mapped => b'M',
            Self::Ready => b'H',
            Self::Start => b'S',
        };
        (vec![kind], None)
    }

    fn decode(bytes: &[u8], _: Option<OwnedFd>) -> Option<Self> {
        match bytes {
            [b'M'] => Some(Self::Mapped),
            [b'H'] => Some(Self::Ready),
            [b'S'] => Some(Self::Start),
            _ => None,
        }
    }
}

impl WireMessage for ChildMessage {
    fn encode(&self) -> (Vec<u8>, Option<BorrowedFd<'_>>) {
        match self {
            Self::Container { pid, pidfd } => {
                ([b"C", &pid.to_ne_bytes()[..]].concat(), Some(pidfd.as_fd()))
            }
            Self::Terminal(master) => (b"T".to_vec(), Some(master.as_fd())),
            Self::Namespace(namespace) => (b"N".to_vec(), Some(namespace.as_fd())),
            Self::Network(netlink) => (b"E".to_vec(), netlink.as_ref().map(AsFd::as_fd)),
            Self::Connect => (b"K".to_vec(), None),
            Self::Hooks(point) => (vec![b'P', *point as u8], None),
            Self::Listener(listener) => (b"L".to_vec(), Some(listener.as_fd())),
            Self::Created => (b"c".to_vec(), None),
            Self::Running => (b"R".to_vec(), None),
            Self::Failed(StepFailure { step, what, errno, hint }) => {
                let mut bytes = vec![b'F'];
                bytes.extend((*step as u32).to_ne_bytes());
                bytes.extend(errno.to_ne_bytes());
                let hint = hint.as_deref().unwrap_or_default().as_bytes();
                let hint = &hint[..hint.len().min(ROOM / 4)];
                let room = ROOM - bytes.len() - hint.len() - 1;
                bytes.extend(&what.as_bytes()[..what.len().min(room)]);
                bytes.push(SEPARATOR);
                bytes.extend(hint);
                (bytes, None)
            }
        }
    }

    fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Option<Self> {
        let number = |at: usize| {
            bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes)
        };
        match (*bytes.first()?, fd) {
            (b'C', Some(pidfd)) => number(1).map(|pid| Self::Container { pid, pidfd }),
            (b'T', Some(master)) => Some(Self::Terminal(master)),
            (b'N', Some(namespace)) => Some(Self::Namespace(namespace)),
            (b'E', netlink) => Some(Self::Network(netlink)),
            (b'K', _) => Some(Self::Connect),
            (b'P', _) => {
                let index = usize::from(*bytes.get(1)?);
                HookPoint::ALL.get(index).copied().map(Self::Hooks)
            }
            (b'L', Some(listener)) => Some(Self::Listener(listener)),
            (b'c', _) => Some(Self::Created),
            (b'R', _) => Some(Self::Running),
            (b'F', _) => {
                let (step, errno) = number(1).zip(number(5))?;
                let text = bytes.get(9..)?;
                let end = text.iter().position(|byte| *byte == SEPARATOR).unwrap_or(text.len());
                let (what, hint) = text.split_at(end);
                let what = String::from_utf8_lossy(what).into_owned();
                let hint = String::from_utf8_lossy(hint.get(1..).unwrap_or_default()).into_owned();
                let hint = Some(hint).filter(|hint| !hint.is_empty());
                Some(Self::Failed(StepFailure { step: step as usize, what, errno, hint }))
            }
            _ => None,
        }
    }
}

/// End of a socket pair that sends messages of type `S` and receives those of type `R`.
#[derive(Debug)]
pub struct Channel<S, R> {
    socket: OwnedFd,
    directions: PhantomData<(S, R)>,
}

/// Parent's end.
pub type ParentChannel = Channel<ParentMessage, ChildMessage>;
/// End of base and of the container's process.
pub type ChildChannel = Channel<ChildMessage, ParentMessage>;

/// Makes a channel, and returns its two ends.
pub fn pair() -> io::Result<(ParentChannel, ChildChannel)> {
    let (one, other) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Channel::new(one), Channel::new(other)))
}

impl<S: WireMessage, R: WireMessage> Channel<S, R> {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, directions: PhantomData }
    }

    /// Sends one message.
    pub fn send(&self, message: &S) -> io::Result<()> {
        let (bytes, fd) = message.encode();
        fd::send(&self.socket, &bytes, fd)
    }

    /// Waits for the next message; `None` when the other end is gone.
    pub fn receive(&self) -> io::Result<Option<R>> {
        let mut room = [0; ROOM];
        let (length, fd) = match fd::receive(&self.socket, &mut room) {
            // The other end was closed before it had read a message of this end. The kernel reports that once, and
            // ahead of the messages that are still to be read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                fd::receive(&self.socket, &mut room)?
            }
            answer => answer?,
        };
        if length == 0 {
            return Ok(None);
        }
        let message = R::decode(&room[..length], fd);
        message.map(Some).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
    }

    /// Ends the conversation in both directions: the other end receives `None`.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both)?)
    }

    /// True if the other end is gone; does not wait.
    pub fn is_deserted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(1)) && fds[0].revents().contains(PollFlags::HUP)
    }
}

impl<S, R> AsFd for Channel<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_unchanged_and_then_the_end_is_seen() {
        let (parent, child) = pair().unwrap();
        for what in ["bind /nope", "", &"x".repeat(ROOM * 2)] {
            let hint = Some("do without".to_owned());
            let failure = StepFailure { step: 7, what: what.into(), errno: libc::ENOENT, hint };
            child.send(&ChildMessage::Failed(failure)).unwrap();
            let Some(ChildMessage::Failed(got)) = parent.receive().unwrap() else { panic!() };
            assert_eq!((got.step, got.errno), (7, libc::ENOENT));
            assert!(what.starts_with(&got.what) && got.what.is_empty() == what.is_empty());
            assert_eq!(got.hint.as_deref(), Some("do without"));
        }
        // A message that the child has not read does not hide its own.
        parent.send(&ParentMessage::Mapped).unwrap();
        child.send(&ChildMessage::Running).unwrap();
        assert!(!parent.is_deserted());
        drop(child);
        assert!(parent.is_deserted());
        assert!(matches!(parent.receive().unwrap(), Some(ChildMessage::Running)));
        assert!(parent.receive().unwrap().is_none());
    }

    #[test]
    fn a_descriptor_crosses() {
        let (parent, child) = pair().unwrap();
        let (near, far) = rustix::pipe::pipe().unwrap();
        child.send(&ChildMessage::Terminal(far)).unwrap();
        let Some(ChildMessage::Terminal(far)) = parent.receive().unwrap() else { panic!() };
        rustix::io::write(&far, b"x").unwrap();
        assert_eq!(rustix::io::read(&near, &mut [0; 4]).unwrap(), 1);
    }

    #[test]
    fn a_point_of_hooks_crosses_unchanged() {
        let (parent, child) = pair().unwrap();
        for point in HookPoint::ALL {
            child.send(&ChildMessage::Hooks(point)).unwrap();
            let Some(ChildMessage::Hooks(got)) = parent.receive().unwrap() else { panic!() };
            assert_eq!(got, point);
        }
    }

    #[test]
    fn a_message_of_the_other_direction_is_an_error() {
        let (parent, child) = pair().unwrap();
        fd::send(parent.as_fd(), b"R", None).unwrap();
        assert!(child.receive().is_err());
        parent.send(&ParentMessage::Start).unwrap();
        assert!(matches!(child.receive(), Ok(Some(ParentMessage::Start))));
    }
}
