//! Sockets on which the questions of a network arrive.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::{Context, Result};

/// Port of DNS servers.
pub const DNS_PORT: u16 = 53;

/// Wished capacity of a socket's receive buffer in bytes. The kernel grants /proc/sys/net/core/rmem_max at most, and
/// uses memory for packets alone.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Connections that wait to be accepted, for each socket.
const BACKLOG: i32 = 64;

/// Flags of all sockets here.
pub(super) const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Sockets of one network: bound, not blocking, close-on-exec. Those of several processes share an address, and the
/// kernel spreads the questions (SO_REUSEPORT, socket(7)). Closing them leaves the other processes' in place.
#[derive(Debug, Default)]
pub struct DnsSockets {
    /// UDP sockets.
    pub udp: Vec<OwnedFd>,
    /// Listening TCP sockets.
    pub tcp: Vec<OwnedFd>,
}

impl DnsSockets {
    /// Opens sockets in the current network namespace, for port 53 of each address. An address may be assigned later
    /// (IP_FREEBIND): an IPv6 address is not usable until the kernel knows that nobody else has it. Errors: EACCES
    /// without CAP_NET_BIND_SERVICE over the namespace; EADDRINUSE if another program has the port.
    pub fn open(addresses: &[IpAddr]) -> Result<Self> {
        let addresses = addresses.iter().map(|address| SocketAddr::new(*address, DNS_PORT));
        Self::bind(&addresses.collect::<Vec<_>>())
    }

    /// Opens sockets in the current network namespace, for these addresses. Errors: as [`DnsSockets::open`].
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self> {
        let mut sockets = Self::default();
        for address in addresses {
            let said = || format!("cannot answer for names at {address}");
            sockets.udp.push(bind(*address, SocketType::DGRAM).context(said)?);
            sockets.tcp.push(bind(*address, SocketType::STREAM).context(said)?);
        }
        Ok(sockets)
    }

    /// Returns all descriptors, to be sent over a socket or handed over at exec.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.udp.into_iter().chain(self.tcp).collect()
    }

    /// Sorts the descriptors of [`DnsSockets::into_fds`], in any order, by their type. Errors: ENOTSOCK.
    pub fn from_fds(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let mut sockets = Self::default();
        for fd in fds {
            match sockopt::socket_type(&fd)? {
                SocketType::STREAM => sockets.tcp.push(fd),
                _ => sockets.udp.push(fd),
            }
        }
        Ok(sockets)
    }
}

/// Returns the address family of an address.
pub(super) fn family_of(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

fn bind(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(family_of(address), kind, FLAGS, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_v6only(&socket, true)?;
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
    }
    if kind == SocketType::STREAM {
        // Connections of an earlier process may still be in TIME_WAIT.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
    } else {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        rustix::net::bind(&socket, &address)?;
    }
    Ok(socket)
}
