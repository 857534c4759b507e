//! A container's own network, connected by a helper program (pasta, else slirp4netns). The helper enters the
//! container's network namespace and creates an interface there. Traffic goes over sockets of the user's own. The
//! helper also listens on the host's published ports.
//!
//! ```text
//! NetworkRequest   network settings, stored with the container
//!   decide   before the launch: available helpers, contents of /etc/hosts and /etc/resolv.conf
//! Network    the decision
//!   program  start of a helper beside the container, and its readiness:  pasta  slirp (their command lines)
//!   names    the two files
//! ```
//!
//! The network inside is the same with either helper. `eth0` has the address 10.0.2.100, and the gateway is 10.0.2.2.
//! 10.0.2.3 answers for the host's name server, even if that listens on the host's loopback device alone. So the
//! address is known before the launch. Nor is it one of the host's own, which would then be unreachable.

mod addresses;
pub mod definition;
pub mod ipam;
mod names;
mod network_options;
mod pasta;
mod program;
mod slirp;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use addresses::Addresses;
pub use definition::{NetworkDefinition, NetworkDriver, NetworkExit};
pub use ipam::{AddressRange, Subnet, allocate};
pub use network_options::{MemberTraffic, NetworkOptions};
pub use program::{Helper, HelperNamespaces, Starting};

use crate::error::{Context, Error, Result, Setting};
use crate::forward::Forward;
use crate::host::hint::Hint;
use crate::host::network_helper::{self, NetworkHelper};
use crate::host_entry::HostEntry;
use crate::network_attachment::NetworkAttachment;
use crate::phrase;

/// Network interface in the container.
const INTERFACE: &str = "eth0";

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
    /// Named networks, shared with other containers, and a helper for the way out.
    Named,
}

/// Network settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRequest {
    /// Mode of the network.
    pub mode: Mode,
    /// Helper program; `None`: the first that works.
    pub program: Option<NetworkHelper>,
    /// Options of the helper, as typed.
    pub options: Vec<String>,
    /// Named networks of the container, in the order of its interfaces.
    pub attachments: Vec<NetworkAttachment>,
    /// Published ports of the host.
    pub forwards: Vec<Forward>,
    /// Ports that the command is declared to listen on, such as `80/tcp`.
    pub exposed: Vec<String>,
    /// Settings of /etc/resolv.conf. `None`: the file is the image's, or the host's.
    pub resolver: Option<Resolver>,
    /// Extra lines of /etc/hosts. `None`: the file is the image's, or the host's.
    pub hosts: Option<Vec<HostEntry>>,
    /// True if /etc/hostname is written; else the file is the image's.
    pub names_host: bool,
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
}

/// Network part of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Helpers to try, in this order. Empty: no helper is needed.
    pub helpers: Vec<Helper>,
    /// Files to mount.
    pub files: Vec<GeneratedFile>,
}

impl NetworkRequest {
    /// docker's `NetworkMode`.
    pub fn word(&self) -> &str {
        match (self.mode, self.program) {
            (Mode::None, _) => "none",
            (Mode::Host, _) => "host",
            (Mode::Helper, None) => "private",
            (Mode::Helper, Some(program)) => program.name(),
            (Mode::Named, _) => {
                self.attachments.first().map_or("private", |first| first.network.as_str())
            }
        }
    }

    /// Returns the addresses inside. `None`: the container has no interface of its own. Errors: a malformed `cidr`
    /// option.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        if self.mode != Mode::Helper {
            return Ok(None);
        }
        let cidr = self.options.iter().find_map(|option| option.strip_prefix(CIDR));
        let addresses = cidr.map(|cidr| cidr.parse().map_err(Error::new)).transpose();
        Ok(Some(addresses.context(|| phrase!(Setting::Network, ": cidr"))?.unwrap_or_default()))
    }

    /// Decides how to connect a container with the name `hostname`, in full `full_name`. A helper with a socket uses a
    /// temporary folder in `tmp` whose name begins with `prefix`. Errors: invalid options, and a missing helper.
    pub fn decide(
        &self,
        hostname: &str,
        full_name: &str,
        tmp: &Path,
        prefix: &'static str,
    ) -> Result<Network> {
        let addresses = self.addresses()?;
        let custom = match self.mode {
            Mode::Helper | Mode::Named => Need::Required,
            Mode::None | Mode::Host => Need::Customary,
        };
        let mut files = Vec::new();
        if let Some(lines) = &self.hosts {
            let content = names::hosts(self.mode, lines, full_name, addresses.as_ref())?;
            let need = if lines.is_empty() { custom } else { Need::Required };
            files.push(GeneratedFile { path: "/etc/hosts", content, need });
        }
        if let Some(resolver) = &self.resolver {
            let content = names::resolv_conf(resolver, addresses.as_ref());
            let need = if *resolver == Resolver::default() { custom } else { Need::Required };
            files.push(GeneratedFile { path: "/etc/resolv.conf", content, need });
        }
        if self.names_host {
            let content = format!("{hostname}\n");
            files.push(GeneratedFile { path: "/etc/hostname", content, need: Need::Customary });
        }
        let helpers = match &addresses {
            Some(addresses) => self.helpers(addresses, slirp::SocketPlace { tmp, prefix })?,
            None => Vec::new(),
        };
        Ok(Network { helpers, files })
    }

    fn helpers(&self, addresses: &Addresses, place: slirp::SocketPlace<'_>) -> Result<Vec<Helper>> {
        let options: Vec<_> =
            self.options.iter().filter(|option| !option.starts_with(CIDR)).cloned().collect();
        let of_slirp = match self.program {
            Some(NetworkHelper::Slirp4netns) => slirp::flags(&options)?,
            _ => slirp::flags(&[])?,
        };
        let is_wanted =
            |program: &NetworkHelper| self.program.is_none_or(|wanted| wanted == *program);
        let here = NetworkHelper::ALL
            .into_iter()
            .filter(is_wanted)
            .filter_map(|one| Some((one, one.find()?)));
        let mut here: Vec<_> = here.collect();
        // pasta fails on a host without a default route, or (from 2024_10_30 on) takes addresses of its own.
        if let [(NetworkHelper::Pasta, pasta), _] = &here[..]
            && !(has_way_out() && network_helper::is_mature(&network_helper::version(pasta)))
        {
            here.reverse();
        }
        let found = here.into_iter().map(|(one, path)| match one {
            NetworkHelper::Pasta => {
                let arguments = pasta::arguments(addresses, &options, &self.forwards);
                Helper { program: one, path, arguments, api: None }
            }
            NetworkHelper::Slirp4netns => {
                let api = slirp::Api::of(&self.forwards, addresses, place);
                let arguments = slirp::arguments(addresses, &of_slirp);
                Helper { program: one, path, arguments, api }
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

/// True if the host has a default route.
fn has_way_out() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    // Destination and mask of the routes that are up (proc_net(5)).
    routes.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        words.nth(1) == Some("00000000") && words.nth(5) == Some("00000000")
    })
}
