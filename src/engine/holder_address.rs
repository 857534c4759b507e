//! Socket of a holder, and the lock under which it is made, used and removed.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::config;
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::sys::fd;

/// Name of the lock file.
const LOCK: &str = "lock";
/// Ending of the sockets' names.
const ENDING: &str = ".sock";

/// Name of a holder's socket.
#[derive(Debug)]
pub struct HolderAddress {
    /// Folder of the sockets. The lock in it guards all of them.
    folder: OwnedFd,
    name: String,
}

impl HolderAddress {
    /// Returns the socket in `folder` of the holder that has `key` in the user namespace of this process, for this
    /// version of usnea. Makes the folder. Errors: the folder cannot be made.
    pub fn of(folder: &Path, key: &str) -> Result<Self> {
        let path = config::open_private(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty());
        let folder = folder.context(|| path.display().to_string())?;
        let ours = rustix::fs::stat("/proc/self/ns/user").context(|| "/proc/self/ns/user")?;
        let key = format!("{} {} {key}", env!("CARGO_PKG_VERSION"), ours.st_ino);
        let digest = Digest::of(key.as_bytes());
        let name = format!("{}{ENDING}", digest.hex().get(..32).unwrap_or_default());
        Ok(Self { folder, name })
    }

    /// Removes the sockets in `folder` of holders that were killed, unless another process has the lock. The folder may
    /// be missing.
    pub fn sweep(folder: &Path) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(folder) = rustix::fs::open(folder, flags, Mode::empty()) else { return };
        let address = Self { folder, name: String::new() };
        let Ok(lock) = address.lock_file() else { return };
        if lock.try_lock().is_ok() {
            address.remove_stale();
        }
    }

    /// Locks the sockets of the folder, until the returned file is closed.
    pub fn lock(&self) -> Result<File> {
        let own = self.lock_file().context(|| "cannot open the lock of holders")?;
        own.lock().context(|| "cannot lock the sockets of holders")?;
        Ok(own)
    }

    /// Removes the socket, unless another process has the lock: a client that connects. A connection that waits at
    /// `listener` also keeps it. Returns whether no client can connect any more. Without the folder, or without locks,
    /// none can.
    pub fn try_remove(&self, listener: Option<&OwnedFd>) -> bool {
        let Ok(lock) = self.lock_file() else { return true };
        let is_free = !matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        let is_free = is_free && !listener.is_some_and(has_connection);
        if is_free {
            self.remove();
        }
        is_free
    }

    /// Opens the lock file anew: a lock belongs to the open file, which a fork shares. A folder cannot be locked on NFS.
    fn lock_file(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.folder, LOCK, flags, mode)?.into())
    }

    /// Connects to the holder. Errors: ENOENT or ECONNREFUSED without one; EACCES if it is another user's.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        self.connect_to(&self.name)
    }

    fn connect_to(&self, name: &str) -> io::Result<OwnedFd> {
        let socket = socket()?;
        rustix::net::connect(&socket, &self.address(name)?)?;
        match is_ours(&socket) {
            true => Ok(socket),
            false => Err(Errno::ACCESS.into()),
        }
    }

    /// Listens, at a name that does not exist.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        let socket = socket()?;
        rustix::net::bind(&socket, &self.address(&self.name)?)?;
        rustix::net::listen(&socket, 128)?;
        fd::set_nonblocking(&socket)?;
        Ok(socket)
    }

    /// Removes the socket. The caller has the lock.
    pub fn remove(&self) {
        let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
    }

    /// Removes the sockets of holders that were killed. The caller has the lock.
    pub fn remove_stale(&self) {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.folder) else { return };
        for entry in entries.filter_map(rustix::io::Result::ok) {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.ends_with(ENDING)
                && let Err(error) = self.connect_to(name)
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
            }
        }
    }

    /// Returns the folder's descriptor.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Short address through the descriptor: a path of a socket has at most 107 bytes (unix(7)).
    fn address(&self, name: &str) -> io::Result<SocketAddrUnix> {
        let path = format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd());
        Ok(SocketAddrUnix::new(path)?)
    }
}

/// True if a client has connected that was not accepted yet.
fn has_connection(listener: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
}

/// True if the process at the other end is this user's.
pub fn is_ours(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}
