//! Socket of the service manager.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto};

/// Variable with the address of the manager's socket: a path, or `@` and an abstract name.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Service manager that started this process.
#[derive(Debug)]
pub struct ServiceManager {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl ServiceManager {
    /// Returns the manager that the environment names. `None`: there is none. Errors: an invalid address; no socket can
    /// be made.
    pub fn of_environment() -> io::Result<Option<Self>> {
        let Some(text) = address_in_environment() else { return Ok(None) };
        let address = match text.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            path => SocketAddrUnix::new(path)?,
        };
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Some(Self { socket, address }))
    }

    /// Sends assignments, one a line. Waits where the manager's queue is full.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        sendto(&self.socket, message, SendFlags::NOSIGNAL, &self.address)?;
        Ok(())
    }
}

/// Address of the manager's socket; `None`: no manager waits for this process. Other values than paths and abstract
/// names are those of virtual machines (`vsock:`).
pub fn address_in_environment() -> Option<OsString> {
    let address = std::env::var_os(NOTIFY_SOCKET)?;
    matches!(address.as_bytes(), [b'/' | b'@', _, ..]).then_some(address)
}
