//! Answers of a helper, seen in the neighbour cache of the container's network namespace (arp(7)). A helper answers the
//! address resolution of its gateway and its name server. A helper that runs but no longer answers is detected by
//! failed resolutions.
//!
//! The kernel resolves an address only when the container sends to it, and notifies only changes. So a container that
//! sends nothing wakes no process. A helper that hangs meanwhile is detected with the next packets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rustix::net::RecvFlags;
use rustix::net::netlink::SocketAddrNetlink;

use super::link;
use super::namespace;
use super::netlink::NetlinkSocket;
use crate::error::{Context, Result};

/// Age of a helper at which the watch begins: a short-lived container does not pay for it.
const GROWN: Duration = Duration::from_secs(1);
/// Number of consecutive failures after which a helper counts as hanging. A single failure, three requests in three
/// seconds, may be due to a busy machine.
const FAILURES: u32 = 2;
/// Largest number of known neighbours: a helper has few addresses.
const MOST_KNOWN: usize = 16;

/// Watch for the answers of a helper.
#[derive(Debug)]
pub(super) enum AnswerWatch {
    /// The watch begins at this time.
    Later(Instant),
    /// Neighbours are watched.
    Now(Box<NeighbourWatch>),
    /// Neighbours cannot be watched.
    Never,
}

/// Notifications about the neighbours at a helper's interface.
#[derive(Debug)]
pub(super) struct NeighbourWatch {
    socket: NetlinkSocket,
    /// Index of the helper's interface.
    interface: u32,
    record: AnswerRecord,
}

/// Neighbours that the helper has answered for, and the number of failures since its last answer.
#[derive(Debug, Default)]
struct AnswerRecord {
    known: BTreeSet<IpAddr>,
    failures: u32,
}

impl AnswerWatch {
    /// Makes a watch, which begins at the age above.
    pub fn of_young_helper() -> Self {
        Self::Later(Instant::now() + GROWN)
    }

    /// Descriptor to poll for input.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Now(watch) => Some(watch.socket.as_fd()),
            Self::Later(_) | Self::Never => None,
        }
    }

    /// Time of the next [`Self::has_ceased`] without input.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Later(at) => Some(*at),
            Self::Now(_) | Self::Never => None,
        }
    }

    /// Handles input, and begins the watch when it is due. Returns true if the helper does not answer. `pid`: a process
    /// in the network namespace; `interface`: the helper's.
    pub fn has_ceased(&mut self, pid: i32, interface: &str) -> bool {
        match self {
            Self::Now(watch) => watch.hear(),
            Self::Later(at) if Instant::now() >= *at => {
                *self = NeighbourWatch::open(pid, interface).map_or_else(
                    |error| {
                        log::debug!("cannot watch the network helper's answers: {error}");
                        Self::Never
                    },
                    |watch| Self::Now(Box::new(watch)),
                );
                false
            }
            Self::Later(_) | Self::Never => false,
        }
    }
}

impl NeighbourWatch {
    fn open(pid: i32, interface: &str) -> Result<Self> {
        let socket = namespace::netlink_of_process(pid)?;
        // Before the first request, which would give the socket an address without groups.
        let groups = SocketAddrNetlink::new(0, libc::RTMGRP_NEIGH as u32);
        rustix::net::bind(&socket, &groups).context(|| "cannot listen to neighbours")?;
        let interface = link::index(&socket, interface).context(|| "no interface of the helper")?;
        let mut record = AnswerRecord::default();
        for route in socket.list(RouteNetlinkMessage::GetRoute(RouteMessage::default()))? {
            record.known.extend(gateway(&route, interface));
        }
        let neighbours = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        for neighbour in socket.list(neighbours)? {
            record.note(&neighbour, interface);
        }
        record.failures = 0;
        Ok(Self { socket, interface, record })
    }

    /// Reads the notifications. Returns true if the helper does not answer.
    fn hear(&mut self) -> bool {
        let mut room = [0; 8192];
        loop {
            match rustix::net::recv(&self.socket, &mut room[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => self.note_all(&room[..length]),
                Err(rustix::io::Errno::INTR) => {}
                // Notifications were lost, an answer perhaps.
                Err(rustix::io::Errno::NOBUFS) => self.record.failures = 0,
                Err(_) => return self.record.failures >= FAILURES,
            }
        }
    }

    fn note_all(&mut self, mut bytes: &[u8]) {
        while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
            // Messages begin at multiples of 4 bytes (netlink(7), NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4).max(4);
            bytes = bytes.get(length..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(message) = message.payload {
                self.record.note(&message, self.interface);
            }
        }
    }
}

impl AnswerRecord {
    /// Records the state of a neighbour at the interface. Counts only failures of a gateway, or of an address that the
    /// helper has answered for: other addresses have no answer.
    fn note(&mut self, message: &RouteNetlinkMessage, interface: u32) {
        let RouteNetlinkMessage::NewNeighbour(neighbour) = message else { return };
        let address = neighbour.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(one)) => Some(IpAddr::V4(*one)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(one)) => Some(IpAddr::V6(*one)),
            _ => None,
        });
        let Some(address) = address.filter(|_| neighbour.header.ifindex == interface) else {
            return;
        };
        match neighbour.header.state {
            NeighbourState::Reachable => {
                self.failures = 0;
                self.learn(address);
            }
            NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => {
                self.learn(address);
            }
            NeighbourState::Failed if self.known.contains(&address) => self.failures += 1,
            _ => {}
        }
    }

    fn learn(&mut self, address: IpAddr) {
        if self.known.len() < MOST_KNOWN {
            self.known.insert(address);
        }
    }
}

/// Returns the gateway of a route over the interface.
fn gateway(message: &RouteNetlinkMessage, interface: u32) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let is_there = |attribute: &RouteAttribute| *attribute == RouteAttribute::Oif(interface);
    route.attributes.iter().find(|attribute| is_there(attribute))?;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(one)) => Some(IpAddr::V4(*one)),
        RouteAttribute::Gateway(RouteAddress::Inet6(one)) => Some(IpAddr::V6(*one)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELPER: u32 = 2;

    fn neighbour(number: u8, state: NeighbourState, interface: u32) -> RouteNetlinkMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = interface;
        message.header.state = state;
        let address = NeighbourAddress::Inet(std::net::Ipv4Addr::new(10, 0, 2, number));
        message.attributes.push(NeighbourAttribute::Destination(address));
        RouteNetlinkMessage::NewNeighbour(message)
    }

    fn failures(events: &[(u8, NeighbourState, u32)]) -> u32 {
        let mut record = AnswerRecord::default();
        record.known.insert(IpAddr::from([10, 0, 2, 2]));
        for (number, state, interface) in events {
            record.note(&neighbour(*number, *state, *interface), HELPER);
        }
        record.failures
    }

    #[test]
    fn failures_of_the_gateway_and_of_neighbours_that_have_answered_count() {
        use NeighbourState::{Failed, Probe, Reachable};
        assert_eq!(failures(&[(2, Failed, HELPER), (2, Failed, HELPER)]), 2);
        assert_eq!(failures(&[(3, Failed, HELPER)]), 0);
        assert_eq!(failures(&[(3, Reachable, HELPER), (3, Failed, HELPER)]), 1);
        assert_eq!(failures(&[(3, Probe, HELPER), (3, Failed, HELPER)]), 1);
        // Another interface, such as that of a named network.
        assert_eq!(failures(&[(2, Failed, 3), (3, Reachable, 3), (3, Failed, HELPER)]), 0);
    }

    #[test]
    fn an_answer_ends_a_row_of_failures() {
        use NeighbourState::{Failed, Reachable};
        let row = [(2, Failed, HELPER), (3, Reachable, HELPER), (2, Failed, HELPER)];
        assert_eq!(failures(&row), 1);
    }
}
