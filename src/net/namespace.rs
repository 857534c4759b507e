//! Network namespace of a named network, with the bridge. The namespace is owned by a user namespace of its own, which
//! only its user has powers over. Both live as long as a member has the network namespace open.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::definition::NetworkDefinition;
use super::dns::DnsSockets;
use super::link::{self, InterfaceAddress};
use super::netlink::NetlinkSocket;
use crate::error::{Context, Error, Result};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};
use crate::sys::{fd, network};

/// Network's namespace, and sockets that were opened in it.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// Descriptor that holds the namespace.
    pub namespace: OwnedFd,
    /// Netlink socket of the namespace.
    pub netlink: NetlinkSocket,
    /// Sockets for questions about names.
    pub names: Vec<OwnedFd>,
}

impl NetworkNamespace {
    /// Makes the namespace and its bridge, with the gateways' addresses. Errors: user namespaces are not allowed; the
    /// kernel has no bridges.
    pub fn make(definition: &NetworkDefinition) -> Result<Self> {
        let namespaces = Namespaces::USER.with(Namespaces::NET);
        let made = in_child(namespaces, || {
            network::loopback_up()?;
            let netlink = NetlinkSocket::open()?;
            let bridge = link::make_bridge(
                &netlink,
                definition.options.bridge_name(),
                definition.options.mtu,
            )?;
            for subnet in &definition.subnets {
                let (address, prefix) = (subnet.gateway, subnet.prefix.prefix_len());
                link::add_address(&netlink, bridge, InterfaceAddress { address, prefix })?;
            }
            opened(netlink, definition)
        });
        made.context(|| format!("cannot make network {}", definition.name))
    }

    /// Opens sockets in the namespace of a network that has members.
    pub fn enter(namespace: &OwnedFd, definition: &NetworkDefinition) -> Result<Self> {
        let owner = namespace::owner(namespace.as_fd());
        let opened = owner.map_err(Error::from).and_then(|owner| {
            in_child(Namespaces::default(), || {
                namespace::enter(owner.as_fd())?;
                namespace::enter(namespace.as_fd())?;
                opened(NetlinkSocket::open()?, definition)
            })
        });
        opened.context(|| format!("cannot enter network {}", definition.name))
    }
}

/// Descriptors that a child passes on: the current namespace first.
fn opened(netlink: NetlinkSocket, definition: &NetworkDefinition) -> io::Result<Vec<OwnedFd>> {
    let namespace = std::fs::File::open("/proc/self/ns/net")?;
    let mut all = vec![namespace.into(), netlink.into()];
    if definition.dns {
        let gateways = definition.subnets.iter().map(|subnet| subnet.gateway);
        let sockets = DnsSockets::open(&gateways.collect::<Vec<_>>());
        all.extend(sockets.map_err(io::Error::other)?.into_fds());
    }
    Ok(all)
}

/// Opens a netlink socket in the network namespace of another process of this user.
pub fn netlink_of(namespace: &OwnedFd) -> Result<NetlinkSocket> {
    let owner = namespace::owner(namespace.as_fd())?;
    let fds = pass_from_child(Namespaces::default(), || {
        namespace::enter(owner.as_fd())?;
        namespace::enter(namespace.as_fd())?;
        Ok(vec![NetlinkSocket::open()?.into()])
    })?;
    let socket = fds.into_iter().next().ok_or_else(|| Error::new("no socket"))?;
    Ok(socket.into())
}

fn in_child(
    namespaces: Namespaces,
    work: impl FnOnce() -> io::Result<Vec<OwnedFd>>,
) -> Result<NetworkNamespace> {
    let mut fds = pass_from_child(namespaces, work)?.into_iter();
    match (fds.next(), fds.next()) {
        (Some(namespace), Some(netlink)) => {
            Ok(NetworkNamespace { namespace, netlink: netlink.into(), names: fds.collect() })
        }
        _ => Err(Error::new("the process in the namespace passed no sockets")),
    }
}

/// Does `work` in a child in new `namespaces`, and returns the descriptors that the child opened. Errors: those of
/// `work`.
fn pass_from_child(
    namespaces: Namespaces,
    work: impl FnOnce() -> io::Result<Vec<OwnedFd>>,
) -> Result<Vec<OwnedFd>> {
    let (near, far) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "cannot make a socket pair")?;
    match process::clone(namespaces, Parentage::Ours).context(|| "cannot make a process")? {
        Forked::Child => {
            drop(near);
            let sent = work().and_then(|fds| {
                fds.iter()
                    .try_for_each(|one| fd::send(&far, &0_i32.to_ne_bytes(), Some(one.as_fd())))
            });
            if let Err(error) = sent {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = fd::send(&far, &errno.to_ne_bytes(), None);
            }
            process::exit_now(0)
        }
        Forked::Parent(child) => {
            drop(far);
            let received = receive_all(&near);
            let _ = child.wait();
            Ok(received?)
        }
    }
}

fn receive_all(from: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    let mut errno = [0; 4];
    loop {
        match fd::receive(from, &mut errno)? {
            (0, _) => return Ok(all),
            (_, Some(one)) => all.push(one),
            (_, None) => return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
        }
    }
}
