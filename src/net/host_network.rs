//! Host's network, as far as pasta reads it only at its start: the interfaces of the default routes, and the name
//! servers. slirp4netns needs no watch: its sockets are bound to no interface, and it reads the name servers anew.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

/// Time without a change after which the host's network is looked at: a change comes in several steps.
const QUIET: Duration = Duration::from_millis(800);
/// Longest time that changes in a row delay the look.
const RESTLESS: Duration = Duration::from_millis(2500);
/// Path of the host's name servers.
const RESOLVERS: &str = "/etc/resolv.conf";

/// Multicast groups of changed links, addresses and routes (rtnetlink(7), `RTMGRP_*`).
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// State of the host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNetwork {
    /// Interface of the preferred default route of IPv4.
    v4: Option<String>,
    /// Interface of the preferred default route of IPv6.
    v6: Option<String>,
    /// Name servers, in their order.
    servers: Vec<String>,
}

impl HostNetwork {
    /// Reads the current state. What cannot be read is empty.
    pub fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            v4: default_v4(&read("/proc/net/route")),
            v6: default_v6(&read("/proc/net/ipv6_route")),
            servers: servers(&read(RESOLVERS)),
        }
    }

    /// True if the host has a default route.
    pub fn has_way_out(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }

    /// True if a helper that started in the state `self` must start again for the state `now`. A state without a default
    /// route is no reason: the next one may be as before.
    pub fn is_left_behind(&self, now: &Self) -> bool {
        let moved = |then: &Option<String>, now: &Option<String>| now.is_some() && then != now;
        let is_renamed = !now.servers.is_empty() && self.servers != now.servers;
        moved(&self.v4, &now.v4) || moved(&self.v6, &now.v6) || is_renamed && now.has_way_out()
    }
}

/// Finds the interface in lines of /proc/net/route (proc_net(5)).
fn default_v4(routes: &str) -> Option<String> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", _, _, _, _, metric, "00000000", ..] = words[..] else {
            return None;
        };
        Some((metric.parse::<u32>().ok()?, interface.to_owned()))
    };
    routes.lines().skip(1).filter_map(route).min().map(|(_, interface)| interface)
}

/// Finds the interface in lines of /proc/net/ipv6_route (proc_net(5)).
fn default_v6(routes: &str) -> Option<String> {
    const ANY: &str = "00000000000000000000000000000000";
    /// RTF_REJECT of <linux/route.h>: the kernel's own entry for unreachable addresses.
    const REJECT: u32 = 0x200;
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [ANY, "00", _, _, _, metric, _, _, flags, interface] = words[..] else { return None };
        let is_usable = u32::from_str_radix(flags, 16).ok()? & REJECT == 0;
        is_usable.then_some((u32::from_str_radix(metric, 16).ok()?, interface.to_owned()))
    };
    routes.lines().filter_map(route).min().map(|(_, interface)| interface)
}

fn servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next().map(str::to_owned)).flatten()
    };
    text.lines().filter_map(server).collect()
}

/// Notifications of changes of the host's network.
#[derive(Debug)]
pub struct HostChanges {
    routes: OwnedFd,
    /// inotify(7) descriptor; `None`: the user has no more of them.
    resolvers: Option<OwnedFd>,
    first: Option<Instant>,
    last: Instant,
}

impl HostChanges {
    /// Begins to listen. Errors: socket(2).
    pub fn open() -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let routes =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&routes, &SocketAddrNetlink::new(0, GROUPS))?;
        let resolvers = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let changes = Self { routes, resolvers, first: None, last: Instant::now() };
        changes.watch_resolvers();
        Ok(changes)
    }

    /// Watches the file, which may be a new one by now, and the folders in which it or its target is replaced.
    fn watch_resolvers(&self) {
        let Some(resolvers) = &self.resolvers else { return };
        let replaced = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        let target = std::fs::canonicalize(RESOLVERS).ok();
        let folders = [Path::new(RESOLVERS).parent(), target.as_deref().and_then(Path::parent)];
        for folder in folders.into_iter().flatten() {
            let _ = inotify::add_watch(resolvers, folder, replaced);
        }
        let _ = inotify::add_watch(resolvers, RESOLVERS, WatchFlags::CLOSE_WRITE);
    }

    /// Descriptors that are readable after a change.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(&self.routes), self.resolvers.as_ref()].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Reads the notifications. Their content does not matter: the state is read when they have ceased.
    pub fn hear(&mut self) {
        let mut room = [0; 4096];
        let mut came = false;
        // ENOBUFS: notifications were lost, which is one too.
        while match rustix::net::recv(&self.routes, &mut room[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => true,
            Err(_) => false,
        } {
            came = true;
        }
        while self
            .resolvers
            .as_ref()
            .is_some_and(|one| rustix::io::read(one, &mut room[..]).is_ok_and(|length| length > 0))
        {
            came = true;
        }
        if came {
            self.last = Instant::now();
            self.first.get_or_insert(self.last);
        }
    }

    /// Time at which the host's network is to be looked at.
    pub fn due(&self) -> Option<Instant> {
        self.first.map(|first| (first + RESTLESS).min(self.last + QUIET))
    }

    /// Returns the state, if it is time to look at it.
    pub fn settled(&mut self) -> Option<HostNetwork> {
        if self.due().is_none_or(|due| Instant::now() < due) {
            return None;
        }
        self.first = None;
        self.watch_resolvers();
        Some(HostNetwork::read())
    }

    /// Asks for a look as after a change: changes before [`Self::open`] were not notified.
    pub fn look_soon(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const V6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000003 00000000 00450003     eth1\n";

    #[test]
    fn the_preferred_default_routes_are_found() {
        assert_eq!(default_v4(V4).as_deref(), Some("eth0"));
        assert_eq!(default_v4("Iface\n"), None);
        assert_eq!(default_v6(V6).as_deref(), Some("eth1"));
        assert_eq!(default_v6(V6.lines().next().unwrap()), None);
    }

    #[test]
    fn a_helper_is_outdated_by_another_default_route_and_not_by_its_loss() {
        let host = |v4: Option<&str>, servers: &str| HostNetwork {
            v4: v4.map(str::to_owned),
            v6: None,
            servers: super::servers(servers),
        };
        let (one, other) = ("nameserver 10.0.0.1\n", "# by hand\nnameserver 10.0.0.2 x\n");
        let then = host(Some("eth0"), one);
        for (now, is_left_behind) in [
            (host(Some("eth0"), one), false),
            (host(Some("wlan0"), one), true),
            (host(Some("eth0"), other), true),
            (host(None, one), false),
            (host(None, other), false),
            (host(Some("eth0"), ""), false),
        ] {
            assert_eq!(then.is_left_behind(&now), is_left_behind, "{now:?}");
        }
        assert!(host(None, one).is_left_behind(&then));
    }

    #[test]
    fn a_look_is_due_after_changes_only() {
        let mut changes = HostChanges::open().unwrap();
        assert_eq!((changes.due(), changes.settled()), (None, None));
        changes.look_soon();
        assert!(changes.due().is_some() && changes.settled().is_none());
    }
}
