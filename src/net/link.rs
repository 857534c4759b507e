//! Links, addresses and routes of a network namespace, through a netlink socket of that namespace.

use std::net::{IpAddr, Ipv4Addr};
use std::{fmt, io};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::NetlinkSocket;
use super::network_options::MemberTraffic;
use crate::network_attachment::MacAddress;

/// Address of an interface, with the prefix length of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Address.
    pub address: IpAddr,
    /// Length of the subnet's prefix in bits.
    pub prefix: u8,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Pair of virtual Ethernet interfaces (veth(4)): one end is a port of a bridge, the other end is a member's interface.
#[derive(Clone, Copy, Debug)]
pub struct VethRequest<'a> {
    /// Name of the bridge's end.
    pub port: &'a str,
    /// Index of the bridge.
    pub bridge: u32,
    /// Traffic between the ports.
    pub members: MemberTraffic,
    /// Name of the member's end.
    pub name: &'a str,
    /// Hardware address of the member's end.
    pub mac: MacAddress,
    /// Process in the network namespace of the member's end.
    pub pid: i32,
    /// Largest packet in bytes; `None`: the kernel's default.
    pub mtu: Option<u32>,
}

/// Bridge of a network.
#[derive(Clone, Copy, Debug)]
pub struct BridgeRequest<'a> {
    /// Name of the bridge.
    pub name: &'a str,
    /// Hardware address. Without an address of its own, the bridge would have the lowest of its ports', and would
    /// change it as ports come and go (br_stp_recalculate_bridge_id()). The members' neighbour caches would then be
    /// wrong for half a minute.
    pub mac: MacAddress,
    /// Largest packet in bytes; `None`: the kernel's default.
    pub mtu: Option<u32>,
}

/// Makes a bridge that is up; returns its index. The bridge forwards at once, and host packet filters do not see its
/// frames.
pub fn make_bridge(socket: &NetlinkSocket, request: BridgeRequest<'_>) -> io::Result<u32> {
    let settings = vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::ForwardDelay(0),
        InfoBridge::NfCallIpTables(false),
        InfoBridge::NfCallIp6Tables(false),
        InfoBridge::NfCallArpTables(false),
    ];
    let mut message = named(request.name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::Address(request.mac.0.to_vec()));
    message.attributes.extend(request.mtu.map(LinkAttribute::Mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(settings)),
    ]));
    socket.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)?;
    index(socket, request.name)
}

/// Makes a pair whose bridge's end is up. Both ends are made in their places: moving one later would wait for RCU.
/// Errors: EEXIST if a name is taken.
pub fn make_veth(socket: &NetlinkSocket, request: &VethRequest<'_>) -> io::Result<()> {
    let mut peer = named(request.name);
    peer.attributes.extend([
        LinkAttribute::Address(request.mac.0.to_vec()),
        LinkAttribute::NetNsPid(request.pid as u32),
    ]);
    peer.attributes.extend(request.mtu.map(LinkAttribute::Mtu));
    let mut message = named(request.port);
    // The peer must not be up from the start: the kernel opens it before it has its other end (ENOTCONN).
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.extend(request.mtu.map(LinkAttribute::Mtu));
    message.attributes.push(LinkAttribute::Controller(request.bridge));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    socket.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)?;
    match request.members {
        MemberTraffic::Allowed => Ok(()),
        MemberTraffic::Blocked => isolate(socket, request.port),
    }
}

/// Blocks the frames between this port and other isolated ports of its bridge.
fn isolate(socket: &NetlinkSocket, port: &str) -> io::Result<()> {
    let mut message = named(port);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ]));
    socket.request(RouteNetlinkMessage::NewLink(message), 0)
}

/// Sets a link up.
pub fn set_up(socket: &NetlinkSocket, index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    socket.request(RouteNetlinkMessage::SetLink(message), 0)
}

/// Removes a link, and the other end of a pair with it.
pub fn remove(socket: &NetlinkSocket, name: &str) -> io::Result<()> {
    socket.request(RouteNetlinkMessage::DelLink(named(name)), 0)
}

/// Returns the index of a link. Errors: ENODEV if there is none of this name.
pub fn index(socket: &NetlinkSocket, name: &str) -> io::Result<u32> {
    match socket.get(RouteNetlinkMessage::GetLink(named(name)))? {
        RouteNetlinkMessage::NewLink(link) => Ok(link.header.index),
        _ => Err(io::Error::from_raw_os_error(libc::ENODEV)),
    }
}

/// Returns the names of the links of the namespace.
pub fn names(socket: &NetlinkSocket) -> io::Result<Vec<String>> {
    let links = socket.list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let name = |message| match message {
        RouteNetlinkMessage::NewLink(link) => {
            link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })
        }
        _ => None,
    };
    Ok(links.into_iter().filter_map(name).collect())
}

/// Adds an address to a link, usable at once (without duplicate address detection of IPv6).
pub fn add_address(
    socket: &NetlinkSocket,
    index: u32,
    address: InterfaceAddress,
) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Address(address.address), AddressAttribute::Local(address.address)];
    match address.address {
        IpAddr::V4(own) if address.prefix < 31 => {
            let broadcast = u32::from(own) | (u32::MAX >> address.prefix);
            message.attributes.push(AddressAttribute::Broadcast(Ipv4Addr::from(broadcast)));
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    socket.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes `source` the address from which connections over the default route come. Does nothing without such a route.
pub fn prefer_source(socket: &NetlinkSocket, source: IpAddr) -> io::Result<()> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(source);
    for route in socket.list(RouteNetlinkMessage::GetRoute(request))? {
        let RouteNetlinkMessage::NewRoute(mut route) = route else { continue };
        let is_default = route.header.destination_prefix_length == 0
            && route.header.table == netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN
            && route.attributes.iter().any(|one| matches!(one, RouteAttribute::Gateway(_)));
        if !is_default {
            continue;
        }
        route.attributes.retain(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Gateway(_) | RouteAttribute::Oif(_) | RouteAttribute::Priority(_)
            )
        });
        route.header.flags = Default::default();
        route.attributes.push(RouteAttribute::PrefSource(match source {
            IpAddr::V4(source) => RouteAddress::Inet(source),
            IpAddr::V6(source) => RouteAddress::Inet6(source),
        }));
        socket.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)?;
    }
    Ok(())
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
