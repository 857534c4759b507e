//! Protocol between a monitor and its attached clients, over a unix socket of whole messages (SOCK_SEQPACKET).
//!
//! The socket lies in the runtime folder, which is removed at logout. `usnea attach` then asks the monitor (SIGUSR1)
//! for a new one. Paths of sockets are short (unix(7), 108 bytes), those of folders are not: both sides go through a
//! descriptor of the folder.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::config;
use crate::error::{Context, Result};
use crate::host::process_id;
use crate::sys::fd;

/// Largest payload of a message, in bytes.
pub const ROOM: usize = 32 * 1024;

/// Message from a client to the monitor.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Send me output from now on, at this pace (see [`super::clients`]).
    Attach(Pace),
    /// Tell me when the command ends.
    Wait,
    /// Bring the output so far into the log, and confirm.
    CatchUp,
    /// Bytes for the command's standard input.
    Input(&'a [u8]),
    /// End of the input.
    CloseInput,
    /// Size of my terminal, in rows and columns.
    Window(u16, u16),
    /// Change the container's networks: a [`crate::net::NetworkChange`] as JSON.
    Networks(&'a [u8]),
}

/// Treatment of a slow client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The command waits: its output is for this client, and none may be lost.
    Waits,
    /// The command continues: the client misses output, and receives the number of lost bytes.
    Drops,
}

/// Message from the monitor to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum MonitorMessage<'a> {
    /// Output of the command: standard output, or terminal.
    Output(&'a [u8]),
    /// Output of the command: standard error.
    Error(&'a [u8]),
    /// Number of bytes that the client missed.
    Lost(u64),
    /// Exit status of the command.
    Ended(u8),
    /// The log holds all that the command had written when [`Request::CatchUp`] arrived.
    CaughtUp,
    /// Result of a change of networks: a `Result<()>` as JSON.
    Changed(&'a [u8]),
}

impl Request<'_> {
    /// Encodes the message.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Attach(Pace::Waits) => b"Aw".to_vec(),
            Self::Attach(Pace::Drops) => b"Ad".to_vec(),
            Self::Wait => b"W".to_vec(),
            Self::CatchUp => b"U".to_vec(),
            Self::Input(bytes) => [b"I", *bytes].concat(),
            Self::CloseInput => b"C".to_vec(),
            Self::Networks(json) => [b"N", *json].concat(),
            Self::Window(rows, columns) => {
                [&b"S"[..], &rows.to_ne_bytes(), &columns.to_ne_bytes()].concat()
            }
        }
    }

    /// Decodes a message. `None`: not a request.
    pub fn parse(bytes: &[u8]) -> Option<Request<'_>> {
        Some(match bytes.split_first()? {
            (b'A', b"w") => Request::Attach(Pace::Waits),
            (b'A', b"d") => Request::Attach(Pace::Drops),
            (b'W', b"") => Request::Wait,
            (b'U', b"") => Request::CatchUp,
            (b'I', bytes) => Request::Input(bytes),
            (b'C', b"") => Request::CloseInput,
            (b'N', json) => Request::Networks(json),
            (b'S', &[a, b, c, d]) => {
                Request::Window(u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]))
            }
            _ => return None,
        })
    }
}

impl MonitorMessage<'_> {
    /// Encodes the message.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => [b"O", *bytes].concat(),
            Self::Error(bytes) => [b"E", *bytes].concat(),
            Self::Lost(count) => [&b"L"[..], &count.to_ne_bytes()].concat(),
            Self::Ended(status) => vec![b'X', *status],
            Self::CaughtUp => b"U".to_vec(),
            Self::Changed(json) => [b"N", *json].concat(),
        }
    }

    /// Decodes a message. `None`: not a message of a monitor.
    pub fn parse(bytes: &[u8]) -> Option<MonitorMessage<'_>> {
        Some(match bytes.split_first()? {
            (b'O', bytes) => MonitorMessage::Output(bytes),
            (b'E', bytes) => MonitorMessage::Error(bytes),
            (b'L', bytes) => MonitorMessage::Lost(u64::from_ne_bytes(bytes.try_into().ok()?)),
            (b'X', &[status]) => MonitorMessage::Ended(status),
            (b'U', b"") => MonitorMessage::CaughtUp,
            (b'N', json) => MonitorMessage::Changed(json),
            _ => return None,
        })
    }
}

/// Sends a message without waiting. Errors: WouldBlock; the other end has closed.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| rustix::net::send(&socket, bytes, flags))?;
    Ok(())
}

/// Makes a connected pair of sockets, for a client attached before the container runs.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Opens the folder of sockets, creating a missing one. The folder is `$XDG_RUNTIME_DIR/usnea` if both are private to
/// this user, else `run/BOOT` in the store.
pub fn folder(store: &Path) -> Result<PathBuf> {
    if let Some(folder) = folder_of_session() {
        return Ok(folder);
    }
    let run = config::open_private(&store.join("run"))?;
    config::open_private(&run.join(process_id::boot_id()?))
}

/// Name of our folder in `$XDG_RUNTIME_DIR`.
const OURS: &str = "usnea";

fn folder_of_session() -> Option<PathBuf> {
    let (path, runtime) = config::runtime_folder()?;
    let _ = rustix::fs::mkdirat(&runtime, OURS, Mode::RWXU);
    // No other user can replace the folder: its parent is closed to them.
    config::open_closed(&runtime, Path::new(OURS)).map(|_| in_session(&path))
}

/// Path of the folder of sockets in a runtime folder, unchecked.
pub fn in_session(runtime: &Path) -> PathBuf {
    runtime.join(OURS)
}

/// True if the process at the other end is this user's. No other user may read the input or forge output, whichever
/// folder the socket lies in.
fn is_ours(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// Accepts the next client at `listener`. `None`: no client waits, or another user connected.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).ok()?;
    is_ours(&socket).then_some(socket)
}

/// Opens `folder`, and builds a short address of a socket in it, through the descriptor.
fn short(folder: &Path, name: &str) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
    Ok((folder, address))
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Name of the socket of container `id`: two stores may share a folder, but no two containers an ID.
fn name_of(id: &str) -> String {
    format!("{}.sock", id.get(..32).unwrap_or(id))
}

/// Returns the path of the socket of container `id`. Errors: no runtime folder.
pub fn path(store: &Path, id: &str) -> Result<PathBuf> {
    Ok(folder(store)?.join(name_of(id)))
}

/// Listens for container `id`, replacing an old socket; returns the socket and its path.
pub fn listen(store: &Path, id: &str) -> Result<(OwnedFd, PathBuf)> {
    let path = path(store, id)?;
    Ok((listen_at(&path)?, path))
}

/// Listens at `path`, replacing an old socket.
pub fn listen_at(path: &Path) -> Result<OwnedFd> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let listen = || -> io::Result<OwnedFd> {
        let (_folder, address) = short(path.parent().unwrap_or(path), &name)?;
        let _ = std::fs::remove_file(path);
        let socket = socket()?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 16)?;
        fd::set_nonblocking(&socket)?;
        Ok(socket)
    };
    listen().context(|| format!("cannot listen at {}", path.display()))
}

/// Connects to the socket at `path`. Errors: EACCES if its process is another user's.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (_folder, address) = short(path.parent().unwrap_or(path), &name)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address)?;
    match is_ours(&socket) {
        true => Ok(socket),
        false => Err(io::Error::from_raw_os_error(libc::EACCES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_received_as_they_were_sent() {
        for request in [
            Request::Attach(Pace::Waits),
            Request::Attach(Pace::Drops),
            Request::Wait,
            Request::CatchUp,
            Request::Input(b"x\0y"),
            Request::Input(b""),
            Request::CloseInput,
            Request::Window(24, 80),
            Request::Networks(b"{}"),
        ] {
            assert_eq!(Request::parse(&request.bytes()), Some(request));
        }
        for told in [
            MonitorMessage::Output(b"a"),
            MonitorMessage::Error(b"\xff"),
            MonitorMessage::Lost(1 << 40),
            MonitorMessage::Ended(3),
            MonitorMessage::CaughtUp,
            MonitorMessage::Changed(b"{}"),
        ] {
            assert_eq!(MonitorMessage::parse(&told.bytes()), Some(told));
        }
        for wrong in [&b""[..], b"A", b"Ax", b"S123", b"X", b"L1", b"?"] {
            assert!(
                Request::parse(wrong).is_none() && MonitorMessage::parse(wrong).is_none(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_socket_may_lie_deep() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let (_folder, address) = short(&deep, "a.sock").unwrap();
        let listener = socket().unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let near = connect(&deep.join("a.sock")).unwrap();
        send(&near, b"hello").unwrap();
    }
}
