//! Netlink socket of a network namespace (rtnetlink(7)): requests, and their answers.
//!
//! Every request has an explicit destination. The kernel then checks the powers of the sender alone, not those of the
//! process that opened the socket (`NETLINK_SKB_DST`, netlink_ns_capable()). A process in the host's user namespace has
//! all powers over the user namespaces that its user made, but cannot enter their network namespaces. So a child that
//! can enter opens the socket, and this process uses it: for veth pairs between namespaces of different owners too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Largest answer in bytes: the kernel fills dumps up to this size (netlink_dump()).
const ROOM: usize = 32 * 1024;

/// Netlink socket for routes, links and addresses.
#[derive(Debug)]
pub struct NetlinkSocket(OwnedFd);

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for NetlinkSocket {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<NetlinkSocket> for OwnedFd {
    fn from(socket: NetlinkSocket) -> Self {
        socket.0
    }
}

impl NetlinkSocket {
    /// Opens a socket of the current network namespace.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Self(socket))
    }

    /// Sends a request with additional `flags`, and waits for the kernel's acknowledgement. Errors: the kernel's.
    pub fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, NLM_F_ACK | flags).map(drop)
    }

    /// Sends a request for a list, and returns its entries. Errors: the kernel's.
    pub fn list(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_DUMP)
    }

    /// Sends a request for a single object, and returns it. Errors: the kernel's, such as ENODEV.
    pub fn get(&self, message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let answers = self.exchange(message, NLM_F_ACK)?;
        answers.into_iter().next().ok_or_else(|| io::Error::other("no answer of the kernel"))
    }

    fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| {
            rustix::net::sendto(&self.0, &bytes, SendFlags::empty(), &kernel)
        })?;
        let mut answers = Vec::new();
        let mut room = vec![0; ROOM];
        loop {
            let (length, _) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.0, &mut room[..], RecvFlags::empty())
            })?;
            let mut rest = &room[..length];
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                // Messages begin at multiples of 4 bytes (netlink(7), NLMSG_ALIGN).
                let length = (answer.header.length as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
                match answer.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}
