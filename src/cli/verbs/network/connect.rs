//! `usnea network connect`: a network for a container that exists.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::container::{Usnea, find, networks};
use crate::error::Result;
use crate::network_attachment::{MacAddress, NetworkAttachment, checked_host_name};

/// Connect a container to a network
///
/// A running container gets another interface, and external connectivity if it had none. A container without any
/// network must be disconnected from network none first.
#[derive(clap::Args)]
pub struct Arguments {
    /// IPv4 address of the container on the network. Default: the next free one.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,

    /// IPv6 address of the container on the network. Default: the next free one.
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,

    /// Hardware address of the container's interface.
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<MacAddress>,

    /// Additional name of the container on the network.
    #[arg(long, value_name = "NAME", value_parser = checked_host_name)]
    alias: Vec<String>,

    /// Network name, or prefix of its ID.
    #[arg(value_name = "NETWORK")]
    network: String,

    /// Container name, or prefix of its ID.
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Connects the container.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let container = find(usnea, &arguments.container);
    let container = container.map_err(|error| error.exit_status(1))?;
    let attachment = NetworkAttachment {
        network: arguments.network,
        ip: arguments.ip,
        ip6: arguments.ip6,
        mac: arguments.mac_address,
        aliases: arguments.alias,
        interface: None,
    };
    networks::connect(&container, attachment).map_err(|error| error.exit_status(1))?;
    Ok(0)
}
