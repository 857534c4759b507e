//! The way out of a container's own network: a helper program (pasta, else slirp4netns) that reaches into its network
//! namespace, makes an interface there, and carries what comes out of it over sockets of the user's own; and listens at the
//! host's ports that lead in.
//!
//! ```text
//! Wanted     what was asked for: kept with the container
//!   decide   before the launch: which helpers there are, and what /etc/hosts and /etc/resolv.conf say
//! Network    that
//!   program  how one is started beside the container, and when it is ready:  pasta  slirp (their command lines)
//!   names    the two files
//! ```
//!
//! Inside it looks the same whoever serves: `eth0` has the address 10.0.2.100, the way out is 10.0.2.2, and 10.0.2.3 answers
//! for the host's name server, also where that listens on the host's loopback device alone. So the address is known before
//! the launch, and is not one of the host's own, which would then be out of reach.

mod addresses;
mod names;
mod pasta;
mod program;
mod slirp;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use addresses::Addresses;
pub use program::{Helper, Namespaces, Starting};

use crate::error::{Context, Error, Result};
use crate::forward::Forward;
use crate::host::hint::Hint;
use crate::host::network_helper::{self, Program};
use crate::host_entry::HostEntry;

/// The interface inside.
const INTERFACE: &str = "eth0";

/// The option that both helpers take from us.
const CIDR: &str = "cidr=";

/// Where the network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nowhere.
    #[default]
    None,
    /// It is the host's.
    Host,
    /// Behind a helper.
    Helper,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Where the network is.
    pub mode: Mode,
    /// The helper; `None`: the first that serves.
    pub program: Option<Program>,
    /// Options of the helper, as they were written.
    pub options: Vec<String>,
    /// Ports of the host that lead in.
    pub forwards: Vec<Forward>,
    /// Ports that the command says it listens at, `80/tcp`.
    pub exposed: Vec<String>,
    /// `None`: /etc/resolv.conf is the image's, or the host's.
    pub resolver: Option<Resolver>,
    /// `None`: /etc/hosts is the image's, or the host's.
    pub hosts: Option<Vec<HostEntry>>,
    /// Whether /etc/hostname is written; else it is the image's.
    pub names_host: bool,
}

/// How names are looked up. What is empty is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Domains in which names are looked for; a dot alone: none.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// A file that is mounted into the container, made in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path in the container.
    pub path: &'static str,
    /// Content.
    pub content: String,
    /// Consequence of a root that has no place for it.
    pub need: Need,
}

/// Whether a container runs without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The launch fails: the file says what was asked for.
    Required,
    /// The root stays as it is: the file is there by custom.
    Customary,
}

/// What a launch does for the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Who is tried, in this order. None: there is no way out.
    pub helpers: Vec<Helper>,
    /// The files.
    pub files: Vec<File>,
}

impl Wanted {
    /// docker's `NetworkMode`.
    pub fn word(&self) -> &'static str {
        match (self.mode, self.program) {
            (Mode::None, _) => "none",
            (Mode::Host, _) => "host",
            (Mode::Helper, None) => "private",
            (Mode::Helper, Some(program)) => program.name(),
        }
    }

    /// The addresses inside. `None`: it has no interface of its own.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        if self.mode != Mode::Helper {
            return Ok(None);
        }
        let cidr = self.options.iter().find_map(|option| option.strip_prefix(CIDR));
        let addresses = cidr.map(|cidr| cidr.parse().map_err(Error::new)).transpose();
        Ok(Some(addresses.context(|| "--network: cidr")?.unwrap_or_default()))
    }

    /// Decides how a container with the name `hostname` is connected. In `tmp` a folder whose
    /// name begins with `prefix` is there meanwhile, where a helper has a socket. Errors: options that are none, and no
    /// helper where one is needed.
    pub fn decide(&self, hostname: &str, tmp: &Path, prefix: &'static str) -> Result<Network> {
        let addresses = self.addresses()?;
        let custom = match self.mode {
            Mode::Helper => Need::Required,
            Mode::None | Mode::Host => Need::Customary,
        };
        let mut files = Vec::new();
        if let Some(lines) = &self.hosts {
            let content = names::hosts(self.mode, lines, hostname, addresses.as_ref())?;
            let need = if lines.is_empty() { custom } else { Need::Required };
            files.push(File { path: "/etc/hosts", content, need });
        }
        if let Some(resolver) = &self.resolver {
            let content = names::resolv_conf(resolver, addresses.as_ref());
            let need = if *resolver == Resolver::default() { custom } else { Need::Required };
            files.push(File { path: "/etc/resolv.conf", content, need });
        }
        if self.names_host {
            let content = format!("{hostname}\n");
            files.push(File { path: "/etc/hostname", content, need: Need::Customary });
        }
        let helpers = match &addresses {
            Some(addresses) => self.helpers(addresses, (tmp, prefix))?,
            None => Vec::new(),
        };
        Ok(Network { helpers, files })
    }

    fn helpers(&self, addresses: &Addresses, folder: (&Path, &'static str)) -> Result<Vec<Helper>> {
        let options: Vec<_> =
            self.options.iter().filter(|option| !option.starts_with(CIDR)).cloned().collect();
        let of_slirp = match self.program {
            Some(Program::Slirp4netns) => slirp::flags(&options)?,
            _ => slirp::flags(&[])?,
        };
        let is_wanted = |program: &Program| self.program.is_none_or(|wanted| wanted == *program);
        let here =
            Program::ALL.into_iter().filter(is_wanted).filter_map(|one| Some((one, one.find()?)));
        let mut here: Vec<_> = here.collect();
        // pasta gives up on a host without a way out, or (from 2024_10_30 on) takes addresses of its own.
        if let [(Program::Pasta, pasta), _] = &here[..]
            && !(has_way_out() && network_helper::is_mature(&network_helper::version(pasta)))
        {
            here.reverse();
        }
        let found = here.into_iter().map(|(one, path)| match one {
            Program::Pasta => {
                let arguments = pasta::arguments(addresses, &options, &self.forwards);
                Helper { program: one, path, arguments, api: None }
            }
            Program::Slirp4netns => {
                let api = slirp::Api::of(&self.forwards, addresses, folder);
                let arguments = slirp::arguments(addresses, &of_slirp);
                Helper { program: one, path, arguments, api }
            }
        });
        let found: Vec<Helper> = found.collect();
        if found.is_empty() {
            let name = self.program.map_or("pasta or slirp4netns", Program::name);
            let package = self.program.unwrap_or(Program::Pasta).package();
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

/// Whether the host has a default route.
fn has_way_out() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    // The destination and the mask, of the routes that are up (proc_net(5)).
    routes.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        words.nth(1) == Some("00000000") && words.nth(5) == Some("00000000")
    })
}
