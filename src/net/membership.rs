//! Membership of a container in named networks: joined before its first process is made, connected when its network
//! namespace exists, left at its end.
//!
//! ```text
//! JoinPlan     a network to join, with the requests of the user
//!   join       under the network's lock: namespace made or opened, addresses chosen, entry in the live file
//! Membership   descriptors that hold the networks, and what to write into /etc/hosts
//!   connect    a veth pair for each network, with addresses
//!   leave      entries removed; the kernel removes a network that no process holds
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::definition::NetworkDefinition;
use super::ipam;
use super::link::{self, InterfaceAddress, VethRequest};
use super::live::{LiveFile, LiveNetwork, NetworkMember};
use super::namespace::{self, NetworkNamespace};
use super::netlink::NetlinkSocket;
use crate::error::{Context, Error, Phrase, Result, Setting};
use crate::fail;
use crate::host::process_id::ProcessId;
use crate::network_attachment::{MacAddress, NetworkAttachment};
use crate::object_id;
use crate::sys::fd;

/// Network to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinPlan {
    /// Definition of the network.
    pub definition: NetworkDefinition,
    /// Addresses and names that the user asked for.
    pub attachment: NetworkAttachment,
    /// File with the network's live state.
    pub live: LiveFile,
}

/// Identity of a member on all its networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberIdentity {
    /// ID of the container: 64 hexadecimal digits.
    pub id: String,
    /// Name of the container; `None`: a disposable one without a name.
    pub name: Option<String>,
    /// Host name of the container, in full.
    pub hostname: String,
    /// Name servers of the container's own.
    pub dns: Vec<IpAddr>,
    /// True if the container has an uplink; `has_exit` in files.
    #[serde(rename = "has_exit")]
    pub has_uplink: bool,
}

/// Networks that a container has joined.
#[derive(Debug, Default)]
pub struct Membership {
    /// Endpoints, in the order of the container's interfaces.
    pub endpoints: Vec<NetworkEndpoint>,
}

/// Network that a container has joined.
#[derive(Debug)]
pub struct NetworkEndpoint {
    /// Definition of the network.
    pub definition: NetworkDefinition,
    /// Entry of the live file.
    pub member: NetworkMember,
    /// Live file of the network.
    pub live: LiveFile,
    /// Namespace of the network, and sockets in it. `None`: handed over to the next program of this process.
    pub namespace: Option<NetworkNamespace>,
}

/// Endpoint that a container would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedEndpoint {
    /// Definition of the network.
    pub definition: NetworkDefinition,
    /// Name of the interface in the container.
    pub interface: String,
    /// Addresses of the interface.
    pub addresses: Vec<InterfaceAddress>,
    /// Hardware address of the interface.
    pub mac: MacAddress,
    /// Path of the network's namespace; `None`: the network has no members.
    pub namespace: Option<String>,
}

/// Endpoint on its way through an exec of this program: descriptors by their numbers.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndpointHandover {
    definition: NetworkDefinition,
    member: NetworkMember,
    live: LiveFile,
    /// Netlink socket.
    netlink: RawFd,
    /// Sockets for questions about names.
    names: Vec<RawFd>,
}

impl MemberIdentity {
    /// Returns the names under which the container is found: docker's order, without repetitions.
    pub fn names(&self, attachment: &NetworkAttachment) -> Vec<String> {
        let short = object_id::short(&self.id).to_owned();
        let all = self.name.iter().chain(&attachment.aliases).cloned();
        let mut names: Vec<String> = Vec::new();
        for name in all.chain([short, self.hostname.clone()]) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Membership {
    /// Joins networks, as this process. Errors: an asked address is taken; no address is left; no namespace can be
    /// made. Networks joined before the error are left again.
    pub fn join(plans: &[JoinPlan], identity: &MemberIdentity) -> Result<Self> {
        let mut membership = Self::default();
        for (plan, interface) in plans.iter().zip(interfaces(plans)) {
            let endpoint = NetworkEndpoint::join(plan, identity, interface)
                .context(|| network_setting(&plan.definition))?;
            membership.endpoints.push(endpoint);
        }
        Ok(membership)
    }

    /// Returns what joining the networks now would give. Changes nothing, so another container may get the addresses.
    /// Errors: an asked address is taken; no address is left.
    pub fn expect(plans: &[JoinPlan]) -> Result<Vec<ExpectedEndpoint>> {
        let expect = |(plan, interface): (&JoinPlan, String)| {
            let JoinPlan { definition, attachment, live } = plan;
            let state = live.read();
            let (v4, v6) =
                allocate(definition, attachment, &state).context(|| network_setting(definition))?;
            let addresses = v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6));
            let holder = state.members.iter().find(|member| member.holder.lives());
            Ok(ExpectedEndpoint {
                definition: definition.clone(),
                interface,
                addresses: addresses.map(|address| with_prefix(definition, address)).collect(),
                mac: attachment.mac.unwrap_or_else(|| mac_address(v4, "")),
                namespace: holder
                    .map(|member| format!("/proc/{}/fd/{}", member.holder.pid, member.namespace)),
            })
        };
        plans.iter().zip(interfaces(plans)).map(expect).collect()
    }

    /// Joins and connects one more network, for a container that runs; its process is `pid`. Returns the endpoint's
    /// place. Errors: those of [`Membership::join`]; an interface of the asked name exists.
    pub fn add(&mut self, plan: &JoinPlan, identity: &MemberIdentity, pid: i32) -> Result<usize> {
        let netlink = namespace::netlink_of_process(pid)?;
        let existing =
            link::names(&netlink).context(|| "cannot list the container's interfaces")?;
        let mut taken: Vec<&str> = existing.iter().map(String::as_str).collect();
        taken.extend(self.endpoints.iter().map(|one| one.member.interface.as_str()));
        let interface = interface(plan, &taken);
        let endpoint = NetworkEndpoint::join(plan, identity, interface)
            .and_then(|endpoint| endpoint.connect(pid, &netlink).map(|()| endpoint));
        self.endpoints.push(endpoint.context(|| network_setting(&plan.definition))?);
        Ok(self.endpoints.len() - 1)
    }

    /// Joins and connects networks anew, for a network namespace that another process has connected before: `interfaces`
    /// are left over from that. The process `pid` is in the network namespace. Errors: those of [`Membership::join`].
    pub fn move_to(
        plans: &[JoinPlan],
        identity: &MemberIdentity,
        interfaces: &[String],
        pid: i32,
    ) -> Result<Self> {
        if plans.is_empty() {
            return Ok(Self::default());
        }
        let membership = Self::join(plans, identity)?;
        let netlink = namespace::netlink_of_process(pid)?;
        for interface in interfaces {
            // A pair whose other end is in a network that is gone has gone with it.
            if let Err(error) = link::remove(&netlink, interface) {
                log::debug!("{interface}: {error}");
            }
        }
        membership.connect(pid, &netlink)?;
        Ok(membership)
    }

    /// Leaves the network with this ID, and removes the container's interface. Returns false if it is no member.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(index) = self.endpoints.iter().position(|one| one.definition.id == id) else {
            return false;
        };
        self.endpoints.remove(index).disconnect();
        true
    }

    /// Opens new sockets for questions about names. Errors: those of a process that enters the networks.
    pub fn reopen_names(&mut self) -> Result<()> {
        for endpoint in &mut self.endpoints {
            if let Some(namespace) = &mut endpoint.namespace {
                let again = NetworkNamespace::enter(&namespace.namespace, &endpoint.definition)?;
                namespace.names = again.names;
            }
        }
        Ok(())
    }

    /// Records that the container has an uplink now.
    pub fn gain_uplink(&mut self) {
        self.change_entries(|member| member.has_uplink = true);
    }

    /// Records that the container has no uplink any more: no server is asked for names of other machines.
    pub fn lose_uplink(&mut self) {
        self.change_entries(|member| member.has_uplink = false);
    }

    /// Changes the container's entries in the live files.
    fn change_entries(&mut self, change: impl Fn(&mut NetworkMember)) {
        for endpoint in &mut self.endpoints {
            change(&mut endpoint.member);
            let changed = endpoint.live.change(|state| {
                let mut members = state.members.iter_mut();
                let own = members.find(|member| member.endpoint == endpoint.member.endpoint);
                own.into_iter().for_each(&change);
                Ok(())
            });
            if let Err(error) = changed {
                log::debug!("network {}: {error}", endpoint.definition.name);
            }
        }
    }

    /// Connects each network anew, with the same addresses.
    pub fn reload(&self, pid: i32) -> Result<()> {
        let netlink = namespace::netlink_of_process(pid)?;
        for endpoint in &self.endpoints {
            endpoint.disconnect();
            endpoint.connect(pid, &netlink)?;
        }
        self.prefer_addresses(&netlink)
    }

    /// Connects the container whose process `pid` is in its network namespace, to which `netlink` belongs. Errors: an
    /// interface of the name exists.
    pub fn connect(&self, pid: i32, netlink: &NetlinkSocket) -> Result<()> {
        self.endpoints.iter().try_for_each(|endpoint| endpoint.connect(pid, netlink))
    }

    /// Makes connections to other machines come from the first network's addresses, after the helper is ready.
    pub fn prefer_addresses(&self, netlink: &NetlinkSocket) -> Result<()> {
        let Some(first) = self.endpoints.first() else { return Ok(()) };
        let cannot = || "cannot set the source address of the default route";
        first
            .member
            .addresses()
            .try_for_each(|address| link::prefer_source(netlink, address).context(cannot))
    }

    /// Definitions of the networks.
    pub fn definitions(&self) -> impl Iterator<Item = &NetworkDefinition> {
        self.endpoints.iter().map(|endpoint| &endpoint.definition)
    }

    /// Lines of /etc/hosts for the container's own names, in full `hostname`.
    pub fn hosts(&self, hostname: &str) -> String {
        let addresses = self.endpoints.iter().flat_map(|endpoint| endpoint.member.addresses());
        let names = super::names::names_of(hostname);
        addresses.map(|address| format!("{address}\t{names}\n")).collect()
    }
}

impl Membership {
    /// Prepares an exec of this program, which does not leave the networks.
    pub fn hand_over(self) -> Result<Vec<EndpointHandover>> {
        self.endpoints.into_iter().map(NetworkEndpoint::hand_over).collect()
    }

    /// Takes the endpoints over after the exec.
    pub fn take_over(endpoints: Vec<EndpointHandover>) -> Result<Self> {
        let endpoints = endpoints.into_iter().map(NetworkEndpoint::take_over);
        Ok(Self { endpoints: endpoints.collect::<Result<_>>()? })
    }
}

impl NetworkEndpoint {
    fn hand_over(mut self) -> Result<EndpointHandover> {
        let namespace =
            self.namespace.take().ok_or_else(|| Error::new("a network without sockets"))?;
        let cannot = || "cannot hand a network over";
        // The live file has the number of this descriptor, which stays the same.
        fd::hand_over(namespace.namespace).context(cannot)?;
        let names = namespace.names.into_iter().map(fd::hand_over);
        Ok(EndpointHandover {
            definition: self.definition.clone(),
            member: self.member.clone(),
            live: self.live.clone(),
            netlink: fd::hand_over(namespace.netlink.into()).context(cannot)?,
            names: names.collect::<std::io::Result<_>>().context(cannot)?,
        })
    }

    fn take_over(handover: EndpointHandover) -> Result<Self> {
        let EndpointHandover { definition, member, live, netlink, names } = handover;
        let take = |number: RawFd| fd::take(number).context(|| format!("descriptor {number}"));
        let namespace = NetworkNamespace {
            namespace: take(member.namespace)?,
            netlink: take(netlink)?.into(),
            names: names.into_iter().map(take).collect::<Result<_>>()?,
        };
        Ok(Self { definition, member, live, namespace: Some(namespace) })
    }

    fn join(plan: &JoinPlan, identity: &MemberIdentity, interface: String) -> Result<Self> {
        let JoinPlan { definition, attachment, live } = plan;
        live.change(|state| {
            let (v4, v6) = allocate(definition, attachment, state)?;
            check_mac(definition, attachment, state)?;
            let namespace = match open(state) {
                Some(namespace) => NetworkNamespace::enter(&namespace, definition)?,
                None => NetworkNamespace::make(definition)?,
            };
            let endpoint = object_id::random_id()?;
            let member = NetworkMember {
                container: identity.id.clone(),
                name: identity.name.clone(),
                names: identity.names(attachment),
                v4,
                v6,
                mac: attachment.mac.unwrap_or_else(|| mac_address(v4, &endpoint)),
                endpoint,
                interface,
                dns: identity.dns.clone(),
                has_uplink: identity.has_uplink,
                holder: ProcessId::ourselves()?,
                namespace: namespace.namespace.as_raw_fd(),
                shared: Vec::new(),
            };
            state.name = definition.name.to_string();
            state.subnets = definition.subnets.iter().map(|subnet| subnet.prefix).collect();
            state.dns_servers.clone_from(&definition.dns_servers);
            state.members.push(member.clone());
            let namespace = Some(namespace);
            Ok(Self { definition: definition.clone(), member, live: live.clone(), namespace })
        })
    }

    fn connect(&self, pid: i32, netlink: &NetlinkSocket) -> Result<()> {
        let name = &self.definition.name;
        let Some(namespace) = &self.namespace else { fail!("network {name} has no sockets") };
        let interface = &self.member.interface;
        let connect = || -> std::io::Result<()> {
            let socket = &namespace.netlink;
            let options = &self.definition.options;
            let port = self.member.port();
            let request = VethRequest {
                port: &port,
                bridge: link::index(socket, self.definition.options.bridge_name())?,
                members: options.members,
                name: interface,
                mac: self.member.mac,
                pid,
                mtu: options.mtu,
            };
            link::make_veth(socket, &request)?;
            let index = link::index(netlink, interface)?;
            link::set_up(netlink, index)?;
            for address in self.member.addresses() {
                let address = with_prefix(&self.definition, address);
                link::add_address(netlink, index, address)?;
                log::debug!("network {name}: {interface} {address} {}", self.member.mac);
            }
            Ok(())
        };
        connect().context(|| format!("cannot connect {interface} to network {name}"))
    }

    /// Removes the pair of interfaces.
    fn disconnect(&self) {
        let Some(namespace) = &self.namespace else { return };
        if let Err(error) = link::remove(&namespace.netlink, &self.member.port()) {
            log::debug!("network {}: {error}", self.definition.name);
        }
    }

    fn leave(&self) {
        let left = self.live.change(|state| {
            state.members.retain(|member| member.endpoint != self.member.endpoint);
            Ok(())
        });
        if let Err(error) = left {
            log::debug!("network {}: {error}", self.definition.name);
        }
    }
}

/// Leaves the network. The live file is changed before the namespace is closed.
impl Drop for NetworkEndpoint {
    fn drop(&mut self) {
        if self.namespace.is_some() {
            self.leave();
        }
    }
}

fn network_setting(definition: &NetworkDefinition) -> Phrase {
    Setting::Network.with(definition.name.to_string())
}

/// Chooses the name of the next interface: docker's numbers, from 0 on for each prefix.
fn interface(plan: &JoinPlan, taken: &[&str]) -> String {
    if let Some(name) = &plan.attachment.interface {
        return name.clone();
    }
    let prefix = plan.definition.options.interface_prefix.as_deref().unwrap_or("eth");
    let is_free = |name: &String| !taken.contains(&name.as_str());
    (0..).map(|number| format!("{prefix}{number}")).find(is_free).unwrap_or_default()
}

/// Chooses the names of a container's interfaces. Those that the user asked for go to no other network by their number.
fn interfaces(plans: &[JoinPlan]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for plan in plans {
        let mut taken = asked_interfaces(plans);
        taken.extend(names.iter().map(String::as_str));
        let name = interface(plan, &taken);
        names.push(name);
    }
    names
}

fn asked_interfaces(plans: &[JoinPlan]) -> Vec<&str> {
    plans.iter().filter_map(|plan| plan.attachment.interface.as_deref()).collect()
}

fn with_prefix(definition: &NetworkDefinition, address: IpAddr) -> InterfaceAddress {
    let subnet = if address.is_ipv4() { definition.v4() } else { definition.v6() };
    InterfaceAddress { address, prefix: subnet.map_or(32, |subnet| subnet.prefix.prefix_len()) }
}

/// Opens the namespace of a network through its first member that has it.
fn open(state: &LiveNetwork) -> Option<OwnedFd> {
    state.members.iter().find_map(NetworkMember::open_namespace)
}

/// Chooses addresses that no member has. Errors: an asked address is taken, or there is no subnet for it.
fn allocate(
    definition: &NetworkDefinition,
    attachment: &NetworkAttachment,
    state: &LiveNetwork,
) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
    let taken: BTreeSet<IpAddr> = state.members.iter().flat_map(NetworkMember::addresses).collect();
    let choose = |subnet, asked: Option<IpAddr>| match (subnet, asked) {
        (Some(subnet), asked) => ipam::allocate(subnet, &taken, asked).map(Some),
        (None, Some(asked)) => {
            Err(Error::invalid(format!("{asked}: the network has no subnet of this family")))
        }
        (None, None) => Ok(None),
    };
    let v4 = choose(definition.v4(), attachment.ip.map(IpAddr::V4))?;
    let v6 = choose(definition.v6(), attachment.ip6.map(IpAddr::V6))?;
    let v4 = v4.and_then(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let v6 = v6.and_then(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    Ok((v4, v6))
}

/// Checks that no member has the hardware address that the user asked for: a bridge would take the two for one.
fn check_mac(
    definition: &NetworkDefinition,
    attachment: &NetworkAttachment,
    state: &LiveNetwork,
) -> Result<()> {
    let Some(mac) = attachment.mac else { return Ok(()) };
    let other = match state.members.iter().find(|member| member.mac == mac) {
        Some(other) => other.names.first().unwrap_or(&other.container).as_str(),
        None if mac == definition.bridge_mac() => "the gateway",
        None => return Ok(()),
    };
    Err(Error::conflict(format!("{mac} is the hardware address of {other} already"))
        .hint("choose another address"))
}

/// Makes a hardware address. The hardware address comes from the IPv4 address, as docker's did. A container that gets
/// the IPv4 address later has the same hardware address: no neighbour's cache is wrong.
fn mac_address(v4: Option<Ipv4Addr>, endpoint: &str) -> MacAddress {
    let random = || {
        let byte = |at: usize| u8::from_str_radix(endpoint.get(at..at + 2)?, 16).ok();
        [8, 10, 12, 14].map(|at| byte(at).unwrap_or_default())
    };
    let [a, b, c, d] = v4.map_or_else(random, |address| address.octets());
    MacAddress([0x02, 0x42, a, b, c, d])
}
