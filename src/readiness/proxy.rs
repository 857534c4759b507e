//! Socket that a container has in place of the service manager's.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg,
};

use crate::error::{Context, Result};
use crate::sys::inode;

/// Folder of the socket in the container (podman's).
pub const PROXY_FOLDER: &str = "/run/notify";
/// The socket in the container (podman's).
pub const PROXY_SOCKET: &str = "/run/notify/notify.sock";
/// Beginning of the folders' names on the host.
const PREFIX: &str = "notify-";
/// Name of the socket in its folder.
const NAME: &str = "notify.sock";
/// Longest message: systemd takes no longer ones (NOTIFY_BUFFER_MAX, PIPE_BUF).
const LONGEST: usize = 4096;
/// Most messages that are taken in one turn.
const MOST_IN_A_TURN: usize = 32;

/// Socket in a folder of its own, which the container has at [`PROXY_FOLDER`].
#[derive(Debug)]
pub struct NotifyProxy {
    socket: OwnedFd,
    folder: PathBuf,
}

/// Name on the host of the folder of the container `id`.
pub fn folder_name(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// Removes the socket of the container `id` in `runtime` after its process was killed.
pub fn remove_left(runtime: &Path, id: &str) {
    remove(&runtime.join(folder_name(id)));
}

impl NotifyProxy {
    /// Makes the folder and its socket. All users of the container may write to the socket.
    pub fn make(folder: &Path) -> Result<Self> {
        let shown = || format!("cannot make the socket for NOTIFY_SOCKET in {}", folder.display());
        let make = || -> io::Result<OwnedFd> {
            remove_dead(folder);
            std::fs::create_dir(folder)?;
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )?;
            // An address has room for 108 bytes, the path of a store may have more.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let held = rustix::fs::open(folder, flags, Mode::empty())?;
            inode::change_mode(&held, 0o755)?;
            let path = format!("/proc/self/fd/{}/{NAME}", held.as_raw_fd());
            rustix::net::bind(&socket, &SocketAddrUnix::new(&*path)?)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let named = rustix::fs::openat(&held, NAME, flags, Mode::empty())?;
            inode::change_mode(&named, 0o666)?;
            Ok(socket)
        };
        Ok(Self { socket: make().context(shown)?, folder: folder.to_owned() })
    }

    /// Takes over a socket after an exec.
    pub fn of(socket: OwnedFd, folder: PathBuf) -> Self {
        Self { socket, folder }
    }

    /// Returns the socket and its folder, for an exec.
    pub fn into_parts(self) -> io::Result<(OwnedFd, PathBuf)> {
        let socket = self.socket.try_clone()?;
        let folder = self.folder.clone();
        std::mem::forget(self);
        Ok((socket, folder))
    }

    /// Takes the messages that have arrived, a few at a time. Descriptors that came with a message are closed, which
    /// answers a barrier (sd_notify_barrier(3)).
    pub fn receive(&self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut room = [0; LONGEST];
        while messages.len() < MOST_IN_A_TURN {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let mut slices = [IoSliceMut::new(&mut room)];
            match recvmsg(&self.socket, &mut slices, &mut control, flags) {
                Ok(received) => messages.push(room[..received.bytes].to_vec()),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        messages
    }
}

impl AsFd for NotifyProxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifyProxy {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Removes the sockets of killed processes beside `folder`, and `folder` itself.
fn remove_dead(folder: &Path) {
    let siblings = folder.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    for sibling in siblings.into_iter().flatten().flatten() {
        let is_ours = sibling.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_dead(&sibling.path()) {
            remove(&sibling.path());
        }
    }
    remove(folder);
}

/// True if no process receives from the socket in `folder`. A folder that is being made has no socket yet.
fn is_dead(folder: &Path) -> bool {
    let connect = || -> io::Result<()> {
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.connect(folder.join(NAME))
    };
    connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn remove(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(NAME));
    let _ = std::fs::remove_dir(folder);
}
