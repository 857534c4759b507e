//! `NetworkSettings` of a container's document: its ports and addresses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode as Access, OFlags};

use super::endpoints::endpoints;
use crate::container::Container;
use crate::container::networks::BuiltinNetwork;
use crate::container::ports::{self, Ipv6Listeners};
use crate::documents::go::{GoSet, Nothing};
use crate::documents::network::{
    EndpointAddresses, EndpointSettings, HostPort, NetworkSettings, PortForwarding,
};
use crate::error::Result;
use crate::forward::Forward;
use crate::monitor::Status;
use crate::net::{Addresses, Mode, NetworkRequest};
use crate::sys::inroot::{self, Symlinks};

/// Returns the published ports as requested: an empty address stands for all addresses.
pub(super) fn bindings(network: &NetworkRequest) -> BTreeMap<String, Vec<HostPort>> {
    let address = |forward: &Forward| forward.host.map_or(String::new(), |host| host.to_string());
    by_port(&network.forwards, address)
}

fn by_port(
    forwards: &[Forward],
    address: impl Fn(&Forward) -> String,
) -> BTreeMap<String, Vec<HostPort>> {
    let mut ports: BTreeMap<String, Vec<HostPort>> = BTreeMap::new();
    for forward in forwards {
        ports
            .entry(forward.container_end())
            .or_default()
            .push(HostPort { host_ip: address(forward), host_port: forward.host_port.to_string() });
    }
    ports
}

/// Returns the helper of a running container with published ports. Both helpers preserve the source addresses of
/// clients, except loopback addresses of the host: replies to them would not leave the container's network namespace.
fn port_forwarding(network: &NetworkRequest, status: &Status) -> Option<PortForwarding> {
    let helper = match network.forwards.is_empty() {
        true => None,
        false => ports::helper(status),
    };
    helper.map(|helper| PortForwarding {
        helper: helper.name().to_owned(),
        keeps_source_address: true,
        keeps_loopback_source_address: false,
    })
}

/// Returns the ports that the image or `--expose` declares, and the published ones.
pub(super) fn exposed(network: &NetworkRequest) -> GoSet {
    let published = network.forwards.iter().map(|forward| forward.container_end());
    let all = network.exposed.iter().cloned().chain(published);
    all.map(|port| (port, Nothing {})).collect()
}

/// Returns the settings. Errors: invalid addresses.
pub(super) fn settings(
    container: &Container,
    spec: &Spec,
    status: &Status,
) -> Result<NetworkSettings> {
    let network = &container.record.network;
    let mut all: BTreeMap<_, _> =
        by_port(&Ipv6Listeners::default().shown(container, status), |forward| {
            forward.address().to_string()
        })
        .into_iter()
        .map(|(port, from)| (port, Some(from)))
        .collect();
    for port in &network.exposed {
        all.entry(port.clone()).or_insert(None);
    }
    let is_here = status.is_running() && status.elsewhere().is_none();
    let process = status.state().filter(|_| is_here).map(|state| state.process.pid);
    let is_own = network.mode != Mode::Host;
    let is_offline = status.state().is_some_and(|state| state.offline.is_some());
    // docker's rule: a container that does not run has no addresses.
    let endpoint = match status.is_running() && !is_offline {
        true => endpoint(network, process.filter(|_| is_own))?,
        false => EndpointAddresses::default(),
    };
    let sandbox = Sandbox::of(container, process);
    let networks = match network.mode {
        Mode::Named => endpoints(container, spec),
        // docker's rule: only the container that made a network namespace has entries for it.
        Mode::Joined => BTreeMap::new(),
        mode => {
            let builtin = BuiltinNetwork::ALL.into_iter().find(|known| known.is_mode(mode));
            let settings = EndpointSettings {
                endpoint: endpoint.clone(),
                network_id: builtin.map(BuiltinNetwork::id).unwrap_or_default(),
                ..EndpointSettings::default()
            };
            [(network.word().to_owned(), settings)].into()
        }
    };
    Ok(NetworkSettings {
        endpoint,
        bridge: String::new(),
        sandbox_id: sandbox.id,
        sandbox_key: sandbox.key,
        hairpin_mode: false,
        link_local_ipv6_address: String::new(),
        link_local_ipv6_prefix_len: 0,
        secondary_ip_addresses: Vec::new(),
        secondary_ipv6_addresses: Vec::new(),
        ports: all,
        port_forwarding: port_forwarding(network, status),
        networks,
    })
}

/// Network namespace of a container, in docker's terms.
#[derive(Debug, Default)]
struct Sandbox {
    id: String,
    /// Path of the namespace; empty: its container does not run on this machine.
    key: String,
}

impl Sandbox {
    /// Returns the network namespace of a container with this process. For a joined namespace, returns that of the
    /// container that made it.
    fn of(container: &Container, process: Option<i32>) -> Self {
        let network = &container.record.network;
        let target = network.joined.as_deref().and_then(|owner| owner.strip_prefix("container:"));
        let target =
            target.and_then(|id| Container::open_recorded(&container.store, id).ok().flatten());
        let key = process.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default();
        if let Some(target) = target {
            // The target may have ended: then the path leads through the container that joined it.
            let status = target.status().ok().filter(|status| status.elsewhere().is_none());
            let running = status.filter(Status::is_running);
            let running = running.and_then(|status| Some(status.state()?.process.pid));
            let joined = Self::of(&target, running);
            return Self { key: if joined.key.is_empty() { key } else { joined.key }, ..joined };
        }
        match network.mode {
            Mode::Host => Self::default(),
            _ => Self { id: container.record.id.to_string(), key },
        }
    }
}

fn endpoint(network: &NetworkRequest, process: Option<i32>) -> Result<EndpointAddresses> {
    let addresses = network.addresses()?;
    let text = |of: fn(&Addresses) -> Ipv4Addr| {
        addresses.as_ref().map_or(String::new(), |addresses| of(addresses).to_string())
    };
    let mac = process.filter(|_| addresses.is_some()).and_then(mac_address);
    Ok(EndpointAddresses {
        gateway: text(Addresses::gateway),
        ip_address: text(Addresses::container),
        ip_prefix_len: addresses.as_ref().map_or(0, |addresses| addresses.prefix),
        mac_address: mac.unwrap_or_default(),
        ..EndpointAddresses::default()
    })
}

/// Returns the MAC address of `eth0` from the container's own /sys, so that its network namespace need not be entered.
/// `None`: no sysfs there.
fn mac_address(pid: i32) -> Option<String> {
    const SYSFS_MAGIC: i64 = 0x6265_6572;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Access::empty()).ok()?;
    let path = Path::new("sys/devices/virtual/net/eth0/address");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = inroot::open(&root, path, flags, Symlinks::Refuse).ok()?;
    let kind = rustix::fs::fstatfs(&file).ok()?.f_type as i64;
    if kind != SYSFS_MAGIC {
        return None;
    }
    let mut text = String::new();
    File::from(file).take(64).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}
