//! Network namespace of a named network, with the bridge. The namespace is owned by a user namespace of its own, which
//! only its user has powers over. Both live as long as a member has the network namespace open.

use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::definition::NetworkDefinition;
use super::dns::{self, DnsSockets, DnsTransport};
use super::link::{self, BridgeRequest, InterfaceAddress};
use super::netlink::NetlinkSocket;
use crate::error::{Context, Error, Result};
use crate::sys::inroot::{self, Symlinks};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};
use crate::sys::{fd, network};

/// statfs(2)
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Limit of a generated file that is edited, in bytes: a container may make it larger, and loses the rest.
const MOST_TEXT: u64 = 1 << 20;

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
            let request = BridgeRequest {
                name: definition.options.bridge_name(),
                mac: definition.bridge_mac(),
                mtu: definition.options.mtu,
            };
            let bridge = link::make_bridge(&netlink, request)?;
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

/// Opens a netlink socket in the network namespace of a process of this user's containers.
pub fn netlink_of_process(pid: i32) -> Result<NetlinkSocket> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = std::fs::File::open(&path).context(|| path.clone())?;
    let owner = namespace::owner(namespace.as_fd()).context(|| path)?;
    let fds = pass_from_child(Namespaces::default(), || {
        namespace::enter(owner.as_fd())?;
        namespace::enter(namespace.as_fd())?;
        Ok(vec![NetlinkSocket::open()?.into()])
    })?;
    let socket = fds.into_iter().next();
    Ok(socket.ok_or_else(|| Error::new("the process in the namespace passed no socket"))?.into())
}

/// Opens a socket for a name server in the network namespace `network` of a named network.
pub fn upstream_socket(
    network: &OwnedFd,
    server: SocketAddr,
    transport: DnsTransport,
) -> Result<OwnedFd> {
    let owner = namespace::owner(network.as_fd()).context(|| "a network's namespace")?;
    let fds = pass_from_child(Namespaces::default(), || {
        namespace::enter(owner.as_fd())?;
        namespace::enter(network.as_fd())?;
        Ok(vec![dns::open_upstream(server, transport)?])
    })?;
    let socket = fds.into_iter().next();
    socket.ok_or_else(|| Error::new("the process in the namespace passed no socket"))
}

/// Replaces the content of a file that was generated for the container of the process `pid`: a file of a tmpfs. A file
/// that the container has put in its place stays, and so does a missing one. Errors: the file cannot be written.
pub fn replace_generated(pid: i32, path: &Path, content: &str) -> Result<()> {
    edit_generated(pid, path, |_| Some(content.to_owned()))
}

/// Edits a file as [`replace_generated`]. `edit` returns the new content; `None`: the file stays.
pub fn edit_generated(
    pid: i32,
    path: &Path,
    edit: impl FnOnce(&str) -> Option<String>,
) -> Result<()> {
    let user = namespace::user_of(pid).context(|| "cannot enter the container")?;
    let replace = || -> io::Result<Vec<OwnedFd>> {
        namespace::enter(user.as_fd())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
        let path = path.strip_prefix("/").unwrap_or(path);
        let file = inroot::open(&root, path, OFlags::RDWR | OFlags::NONBLOCK, Symlinks::Refuse)?;
        if rustix::fs::fstatfs(&file)?.f_type as i64 != TMPFS_MAGIC {
            return Ok(Vec::new());
        }
        let mut file = std::fs::File::from(file);
        let mut text = Vec::new();
        (&mut file).take(MOST_TEXT).read_to_end(&mut text)?;
        if let Some(content) = edit(&String::from_utf8_lossy(&text)) {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(content.as_bytes())?;
        }
        Ok(Vec::new())
    };
    pass_from_child(Namespaces::default(), replace)
        .map(drop)
        .context(|| format!("cannot write the container's {}", path.display()))
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
