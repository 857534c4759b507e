//! A container's own network, connected by a helper program (pasta, else slirp4netns). The helper enters the
//! container's network namespace and creates an interface there. Traffic goes over sockets of the user's own. The
//! helper also listens on the host's published ports.
//!
//! ```text
//! NetworkRequest   network settings, stored with the container
//!   decide   before the launch: available helpers, contents of /etc/hosts and /etc/resolv.conf
//! Network    the decision
//!   program  start of a helper beside the container, and its readiness:  pasta  slirp (their command lines)
//!   running  networks of a running container, changed while it runs
//!   helper_watch  the running helper: started again when it dies or cannot follow a change of host_network
//!   names    the two files
//!   membership    named networks: joined before the first process, connected when its network namespace exists
//!     definition  ipam   what the store has: the network, its subnets and addresses
//!     live        the members that run, in a file of the runtime folder
//!     namespace   the network's namespace with its bridge;  link  netlink: interfaces, addresses, routes
//!     name_service  dns  names of the members, answered by the members' own processes
//! ```
//!
//! The network inside is the same with either helper. `eth0` has the address 10.0.2.100, and the gateway is 10.0.2.2.
//! 10.0.2.3 answers for the host's name server, even if that server listens only on the loopback device. So the address
//! is known before the launch. Nor is it one of the host's own, which would then be unreachable.

mod addresses;
mod answer_watch;
pub mod definition;
pub mod dns;
mod helper_watch;
mod host_network;
pub mod host_ports;
pub mod ipam;
pub mod link;
pub mod live;
pub mod membership;
mod name_service;
mod names;
pub mod namespace;
pub mod netlink;
mod network_options;
mod pasta;
mod program;
mod running;
mod slirp;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use addresses::Addresses;
pub use definition::{NetworkDefinition, NetworkDriver, NetworkUplink};
pub use helper_watch::{
    FailedStart, HelperChange, HelperHandover, HelperNews, HelperWatch, Starting,
};
pub use host_network::HostNetwork;
pub use host_ports::HostPorts;
pub use ipam::{AddressRange, Subnet, allocate};
pub use live::{LiveFile, LiveNetwork, NetworkMember, ProcessNames};
pub use membership::{
    EndpointHandover, ExpectedEndpoint, JoinPlan, MemberIdentity, Membership, NetworkEndpoint,
};
pub use name_service::NameService;
pub use netlink::NetlinkSocket;
pub use network_options::{MemberTraffic, NetworkOptions};
pub use program::Helper;
pub use running::{NetworkChange, NetworkChangeKind, RunningNetwork, UplinkChange};

use crate::error::{Context, Error, Result, Setting};
use crate::forward::Forward;
use crate::host::hint::Hint;
use crate::host::network_helper::{self, NetworkHelper};
use crate::host_entry::HostEntry;
use crate::network_attachment::NetworkAttachment;
use crate::phrase;
use names::NameServers;

/// Helper's interface in a container on no named network.
const INTERFACE: &str = "eth0";
/// Helper's interface in a container on named networks, whose interfaces are eth0, eth1, ...
pub const UPLINK_INTERFACE: &str = "tap0";

/// Prefix of the network option that both helpers take from us.
const CIDR: &str = "cidr=";

/// Mode of a container's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No network but the loopback interface.
    #[default]
    None,
    /// The host's network.
    Host,
    /// A network of its own, connected by a helper.
    Helper,
    /// Named networks, shared with other containers, and a helper as the uplink.
    Named,
    /// The network namespace of another container, or one at a path.
    Joined,
}

/// Reason why a container has its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkOrigin {
    /// The user asked for the network, or published ports: without the network, the launch fails.
    #[default]
    Requested,
    /// The user asked for nothing: without a helper, the container has its loopback interface alone.
    Assumed,
}

/// Network settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRequest {
    /// Mode of the network.
    pub mode: Mode,
    /// Reason for the mode.
    pub origin: NetworkOrigin,
    /// Helper program; `None`: the first that works.
    pub program: Option<NetworkHelper>,
    /// Options of the helper, as typed.
    pub options: Vec<String>,
    /// True if a helper is named beside named networks: an uplink beside internal networks too. `has_own_exit` in files.
    #[serde(default, rename = "has_own_exit")]
    pub has_own_uplink: bool,
    /// Named networks of the container, in the order of its interfaces.
    pub attachments: Vec<NetworkAttachment>,
    /// Owner of a joined network namespace, as on the command line: `container:ID` or `ns:PATH`.
    pub joined: Option<String>,
    /// Published ports of the host.
    pub forwards: Vec<Forward>,
    /// Ports that the command is declared to listen on, such as `80/tcp`.
    pub exposed: Vec<String>,
    /// Settings of /etc/resolv.conf. `None`: the file is the image's, or the host's.
    pub resolver: Option<Resolver>,
    /// First lines of /etc/hosts; `None`: those of localhost, or the host's on its own network.
    pub hosts_base: Option<String>,
    /// Extra lines of /etc/hosts. `None`: the file is the image's, or the host's.
    pub hosts: Option<Vec<HostEntry>>,
    /// True if /etc/hostname is written; else the file is the image's.
    pub names_host: bool,
    /// True if no file is made in the root, which is a folder of the host. Files are mounted over existing ones.
    pub spares_root: bool,
}

/// Settings of name resolution. Empty lists stand for the host's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Addresses of name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; a single dot: none.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// File created in memory and mounted into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Path in the container.
    pub path: &'static str,
    /// Content of the file.
    pub content: String,
    /// Consequence of a root that has no place for the file.
    pub need: Need,
}

/// Need for a file in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The launch fails without the file, whose content the user requested.
    Required,
    /// The launch succeeds without the file, which exists by custom.
    Customary,
    /// The file replaces one of the root; where the root has none, nothing is made.
    Replacement,
}

/// Network part of a launch.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Reason for the network: the launch survives the failure of helpers that nobody asked for.
    pub origin: NetworkOrigin,
    /// Helpers to try, in this order. Empty: no helper is needed.
    pub helpers: Vec<Helper>,
    /// True if ports of the host are published.
    pub publishes: bool,
    /// Files to mount.
    pub files: Vec<GeneratedFile>,
    /// Ports at which the helper listens.
    pub ports: HostPorts,
    /// Named networks to join.
    pub joins: Vec<JoinPlan>,
    /// Identity of the container on these networks.
    pub identity: MemberIdentity,
    /// Reason why no helper can connect the default network here.
    pub offline: Option<Error>,
}

/// Container to be connected, and the places for what its network needs.
#[derive(Clone, Debug)]
pub struct ConnectionRequest<'a> {
    /// Identity of the container; the plan decides its uplink.
    pub identity: MemberIdentity,
    /// Short host name.
    pub hostname: &'a str,
    /// Definitions of the named networks of [`NetworkRequest::attachments`], in that order.
    pub definitions: Vec<NetworkDefinition>,
    /// Folder with the live files of networks.
    pub live: &'a Path,
    /// Published ports, and the file for the locks on them.
    pub ports: HostPorts,
    /// Folder for temporary files.
    pub tmp: &'a Path,
    /// Beginning of the names of temporary folders.
    pub prefix: &'static str,
    /// File that keeps the version of pasta until its program changes.
    pub note: Option<&'a Path>,
}

impl Network {
    /// True if the container's network namespace is connected from outside.
    pub fn is_connected(&self) -> bool {
        !self.helpers.is_empty() || !self.joins.is_empty()
    }

    /// Joins the named networks, as this process.
    pub fn join(&self) -> Result<Membership> {
        Membership::join(&self.joins, &self.identity)
    }
}

impl NetworkRequest {
    /// docker's `NetworkMode`.
    pub fn word(&self) -> &str {
        match (self.mode, self.program) {
            (Mode::None, _) => "none",
            (Mode::Host, _) => "host",
            // docker's name of the network that a container has by default.
            (Mode::Helper, None) => "bridge",
            (Mode::Joined, _) => self.joined.as_deref().unwrap_or("none"),
            (Mode::Helper, Some(program)) => program.name(),
            (Mode::Named, _) if self.attachments.is_empty() => "none",
            (Mode::Named, _) => {
                self.attachments.first().map_or("private", |first| first.network.as_str())
            }
        }
    }

    /// docker's names of the container's networks, in the order of its interfaces.
    pub fn names(&self) -> Vec<&str> {
        match self.mode {
            Mode::Named => self.attachments.iter().map(|one| one.network.as_str()).collect(),
            Mode::None | Mode::Host | Mode::Joined | Mode::Helper => vec![self.word()],
        }
    }

    /// Returns the addresses inside that the helper gives. `None`: the container has no interface of its own. Errors: a
    /// malformed `cidr` option.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        match self.mode {
            Mode::Helper => self.helper_addresses(&[]).map(Some),
            Mode::None | Mode::Host | Mode::Joined | Mode::Named => Ok(None),
        }
    }

    /// Returns the addresses of the helper's interface: those of the option, else ones that none of the networks has.
    fn helper_addresses(&self, networks: &[NetworkDefinition]) -> Result<Addresses> {
        let cidr = self.options.iter().find_map(|option| option.strip_prefix(CIDR));
        match cidr.map(|cidr| cidr.parse().map_err(Error::new)).transpose() {
            Ok(Some(addresses)) => Ok(addresses),
            Ok(None) => Ok(Addresses::beside(networks)),
            Err(error) => Err(error).context(|| phrase!(Setting::Network, ": cidr")),
        }
    }

    /// Returns the content of resolv.conf on these networks. `None`: the file is the image's, or the host's. Errors: a
    /// malformed `cidr` option.
    pub fn resolv_conf(&self, networks: &[NetworkDefinition]) -> Result<Option<String>> {
        let uplink = match self.has_uplink(networks) {
            true => Some(self.helper_addresses(networks)?),
            false => None,
        };
        let servers = name_servers(networks, uplink.as_ref());
        Ok(self.resolver.as_ref().map(|resolver| names::resolv_conf(resolver, &servers)))
    }

    /// True if the container has an uplink.
    pub fn has_uplink(&self, networks: &[NetworkDefinition]) -> bool {
        match self.mode {
            Mode::None | Mode::Host | Mode::Joined => false,
            Mode::Helper => true,
            Mode::Named => {
                self.has_own_uplink || networks.iter().any(|network| !network.is_internal())
            }
        }
    }

    /// Decides how to connect a container. Errors: invalid options; no helper for a network that was asked for.
    pub fn decide(&self, request: ConnectionRequest<'_>) -> Result<Network> {
        let networks = &request.definitions;
        let mut uplink = match self.has_uplink(networks) {
            true => Some(self.helper_addresses(networks)?),
            false => None,
        };
        let place = slirp::SocketPlace { tmp: request.tmp, prefix: request.prefix };
        let (mut mode, mut offline) = (self.mode, None);
        let helpers = uplink.as_ref().map(|addresses| self.helpers(addresses, place, request.note));
        let helpers = helpers.transpose();
        let helpers = match helpers {
            Ok(helpers) => helpers.unwrap_or_default(),
            Err(error) if self.origin == NetworkOrigin::Assumed => {
                (mode, uplink, offline) = (Mode::None, None, Some(error));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        request.ports.check_limit()?;
        let files = self.files(mode, uplink.as_ref(), &request)?;
        let dns = self.resolver.as_ref().map(|resolver| resolver.servers.clone());
        let identity = MemberIdentity {
            has_uplink: uplink.is_some(),
            dns: dns.unwrap_or_default(),
            ..request.identity
        };
        let join = |(definition, attachment): (NetworkDefinition, &NetworkAttachment)| JoinPlan {
            live: LiveFile::of(request.live, &definition.id),
            attachment: attachment.clone(),
            definition,
        };
        let joins = request.definitions.into_iter().zip(&self.attachments).map(join).collect();
        let publishes = !self.forwards.is_empty();
        Ok(Network {
            origin: self.origin,
            helpers,
            publishes,
            files,
            ports: request.ports,
            joins,
            identity,
            offline,
        })
    }

    /// Returns the files of a container in this mode, with a helper's addresses.
    fn files(
        &self,
        mode: Mode,
        uplink: Option<&Addresses>,
        request: &ConnectionRequest<'_>,
    ) -> Result<Vec<GeneratedFile>> {
        let own = uplink.filter(|_| mode == Mode::Helper);
        let custom = match (mode, self.origin) {
            _ if self.spares_root => Need::Replacement,
            (Mode::Helper | Mode::Named, NetworkOrigin::Requested) => Need::Required,
            _ => Need::Customary,
        };
        let mut files = Vec::new();
        if let Some(lines) = &self.hosts {
            let hostname = &request.identity.hostname;
            let content = names::hosts(mode, self.hosts_base.as_deref(), lines, hostname, own)?;
            let need =
                if lines.is_empty() && self.hosts_base.is_none() { custom } else { Need::Required };
            files.push(GeneratedFile { path: HOSTS, content, need });
        }
        if let Some(resolver) = &self.resolver {
            let servers = name_servers(&request.definitions, uplink);
            let content = names::resolv_conf(resolver, &servers);
            let need = if *resolver == Resolver::default() { custom } else { Need::Required };
            files.push(GeneratedFile { path: RESOLV_CONF, content, need });
        }
        if self.names_host {
            let content = format!("{}\n", request.hostname);
            files.push(GeneratedFile { path: "/etc/hostname", content, need: Need::Customary });
        }
        Ok(files)
    }

    fn helpers(
        &self,
        addresses: &Addresses,
        place: slirp::SocketPlace<'_>,
        note: Option<&Path>,
    ) -> Result<Vec<Helper>> {
        let interface = match self.mode {
            Mode::Named => UPLINK_INTERFACE,
            Mode::Helper | Mode::None | Mode::Host | Mode::Joined => INTERFACE,
        };
        let options: Vec<_> =
            self.options.iter().filter(|option| !option.starts_with(CIDR)).cloned().collect();
        let of_slirp = match self.program {
            Some(NetworkHelper::Slirp4netns) => slirp::flags(&options)?,
            _ => slirp::flags(&[])?,
        };
        let here = network_helper::installed(self.program, note);
        let found = here.into_iter().map(|(one, path)| match one {
            NetworkHelper::Pasta => {
                let arguments = pasta::arguments(interface, addresses, &options, &self.forwards);
                let interface = interface.to_owned();
                Helper { program: one, path, interface, arguments, api: None }
            }
            NetworkHelper::Slirp4netns => {
                let api = slirp::Api::of(&self.forwards, place);
                let arguments = slirp::arguments(addresses, &of_slirp, &self.forwards);
                let interface = interface.to_owned();
                Helper { program: one, path, interface, arguments, api }
            }
        });
        let found: Vec<Helper> = found.collect();
        if found.is_empty() {
            let name = self.program.map_or("pasta or slirp4netns", NetworkHelper::name);
            let package = self.program.unwrap_or(NetworkHelper::Pasta).package();
            let error = Error::new(format!("no helper for the network is here: {name}"));
            return Err(error.hint(Hint::Install(package).to_string()));
        }
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context(|| "the network's helper needs /dev/net/tun")
            .hint(|| Hint::LoadModule("tun").to_string())?;
        Ok(found)
    }
}

/// Path of resolv.conf(5).
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Path of the file with the container's own names.
pub const HOSTS: &str = "/etc/hosts";

/// Returns the name servers that a container asks without options: the gateways of its networks, else the helper's.
/// A second gateway of a network, of IPv6, comes after the first ones of all.
fn name_servers(networks: &[NetworkDefinition], uplink: Option<&Addresses>) -> NameServers {
    let with_names = || networks.iter().filter(|network| network.dns);
    let first = with_names().filter_map(|network| network.v4().or(network.v6()));
    let second = with_names().filter_map(|network| network.v4().and(network.v6()));
    let gateways: Vec<IpAddr> = first.chain(second).map(|subnet| subnet.gateway).collect();
    match uplink {
        _ if !gateways.is_empty() => NameServers::Gateways(gateways),
        Some(addresses) => NameServers::Helper(addresses.resolver().into()),
        None => NameServers::Host,
    }
}
