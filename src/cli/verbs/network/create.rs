//! `usnea network create`: makes a network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::networks::{self, CreateNetwork, ExistingNetwork};
use crate::error::{Error, Result};
use crate::net::ipam::{AddressRange, Ipv6Use, SubnetRequest};
use crate::net::{NetworkOptions, NetworkUplink};
use crate::network_name::NetworkName;

/// Create a network
///
/// Containers of a network can reach each other, also by name, but no container of another network. Prints the ID of
/// the network.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the network.
    #[arg(value_name = "NAME")]
    name: NetworkName,

    /// Subnet, such as 10.5.0.0/24 or fd12::/64: at most one of IPv4 and one of IPv6. Default: a free one of IPv4.
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<IpNet>,

    /// Range of a subnet from which containers get addresses: CIDR or FIRST-LAST. Default: the whole subnet.
    #[arg(long, value_name = "RANGE")]
    ip_range: Vec<AddressRange>,

    /// Gateway address of a subnet. Default: the first address.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,

    /// Reserved address that no container gets, with a name for it.
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,

    /// Use IPv6, with a random subnet of fd00::/8 unless --subnet gives one.
    #[arg(long)]
    ipv6: bool,

    /// Restrict the containers to this network, without external connectivity.
    #[arg(long)]
    internal: bool,

    /// Do not resolve names of containers.
    #[arg(long)]
    disable_dns: bool,

    /// DNS server for all other names. Default: those of the host.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "disable_dns")]
    dns: Vec<IpAddr>,

    /// Driver of the network; only bridge is supported.
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,

    /// Driver option: mtu, isolate, com.docker.network.driver.mtu, com.docker.network.container_iface_prefix, or
    /// com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade or .host_binding_ipv4.
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,

    /// Name of the bridge in the network's own network namespace.
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,

    /// Set a label.
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Accepted for compatibility with docker: running containers can always be connected.
    #[arg(long)]
    attachable: bool,

    /// Do nothing if a network of this name exists.
    #[arg(long)]
    ignore: bool,
}

/// Makes a network, and prints its ID, as docker does.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.driver != "bridge" {
        let driver = arguments.driver.escape_debug();
        return Err(Error::invalid(format!("--driver {driver}: there is no such driver"))
            .hint("bridge: containers of one machine; --network host of a container is the host's own network"));
    }
    let request = CreateNetwork {
        subnets: subnets(&arguments)?,
        uplink: if arguments.internal { NetworkUplink::None } else { NetworkUplink::Helper },
        dns: !arguments.disable_dns,
        labels: labels(&arguments.label)?,
        options: options(&arguments)?,
        existing: match arguments.ignore {
            true => ExistingNetwork::Kept,
            false => ExistingNetwork::Fails,
        },
        name: arguments.name,
        dns_servers: arguments.dns,
        attachable: arguments.attachable,
    };
    print(&format!("{}\n", networks::create(usnea, &request)?.id))
}

fn subnets(arguments: &Arguments) -> Result<SubnetRequest> {
    let mut reserved = BTreeMap::new();
    for text in &arguments.aux_address {
        let invalid = |why| Error::invalid(format!("--aux-address {}: {why}", text.escape_debug()));
        let (name, address) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| invalid("it is NAME=ADDRESS"))?;
        let address = address.parse().map_err(|_| invalid("it has no valid address"))?;
        if reserved.insert(name.to_owned(), address).is_some() {
            return Err(invalid("another address has this name"));
        }
    }
    Ok(SubnetRequest {
        subnets: arguments.subnet.clone(),
        gateways: arguments.gateway.clone(),
        ranges: arguments.ip_range.clone(),
        reserved,
        ipv6: if arguments.ipv6 { Ipv6Use::Wanted } else { Ipv6Use::AsSubnets },
    })
}

fn labels(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let label = |label: &String| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match key {
            "" => Err(Error::invalid(format!("--label {}: it has no key", label.escape_debug()))),
            key => Ok((key.to_owned(), value.to_owned())),
        }
    };
    typed.iter().map(label).collect()
}

fn options(arguments: &Arguments) -> Result<NetworkOptions> {
    let mut options = BTreeMap::new();
    for text in &arguments.opt {
        let invalid = |why| Error::invalid(format!("--opt {}: {why}", text.escape_debug()));
        let (key, value) = text.split_once('=').ok_or_else(|| invalid("it is KEY=VALUE"))?;
        if options.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(invalid("the option is given twice"));
        }
    }
    let bridge = "com.docker.network.bridge.name";
    if let Some(name) = &arguments.interface_name {
        let is_same = |before: String| before == *name;
        if !options.insert(bridge.to_owned(), name.clone()).is_none_or(is_same) {
            let name = name.escape_debug();
            return Err(Error::invalid(format!("--interface-name {name}: --opt {bridge} differs")));
        }
    }
    options
        .try_into()
        .map_err(|error: String| Error::invalid(format!("--opt {}", error.escape_debug())))
}
