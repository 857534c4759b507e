//! `usnea network create`: writes a definition with free subnets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::config;
use crate::container::Usnea;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::routes;
use crate::monitor::events;
use crate::net::NetworkOptions;
use crate::net::definition::{self, NetworkDefinition, NetworkDriver, NetworkUplink};
use crate::net::ipam::{self, SubnetRequest, TakenSubnet};
use crate::network_name::NetworkName;

/// Settings of a new network.
#[derive(Clone, Debug)]
pub struct CreateNetwork {
    /// Name of the network.
    pub name: NetworkName,
    /// Subnets, gateways and address ranges.
    pub subnets: SubnetRequest,
    /// External connectivity of the members.
    pub uplink: NetworkUplink,
    /// True if a DNS server answers at the gateway addresses.
    pub dns: bool,
    /// DNS servers for all names but those of members. Empty: the host's.
    pub dns_servers: Vec<IpAddr>,
    /// True for docker's `attachable`.
    pub attachable: bool,
    /// Labels of the network.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: NetworkOptions,
    /// Rule for an existing network with the same name.
    pub existing: ExistingNetwork,
}

/// Rule for an existing network with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingNetwork {
    /// The creation fails.
    #[default]
    Fails,
    /// The existing network is kept as it is.
    Kept,
}

/// Creates a network. Errors: the name or a subnet is in use; invalid subnets; no free subnet.
pub fn create(usnea: &Usnea, request: &CreateNetwork) -> Result<NetworkDefinition> {
    let store = usnea.make_store()?;
    let name = &request.name;
    if !request.dns && !request.dns_servers.is_empty() {
        fail!(Invalid: "network {name}: without name service, there is no use for name servers");
    }
    let _lock = super::lock(store)?;
    if definition::path(store, name).exists() {
        if request.existing == ExistingNetwork::Kept
            && let Some(there) = definition::find(store, name)?
        {
            return Ok(there);
        }
        return Err(Error::conflict(format!("a network is called {name} already"))
            .hint("choose another name, or remove it first"));
    }
    let taken = definition::all(store)?.into_iter().flat_map(|network| {
        let owner = format!("network {}", network.name);
        let taken = move |prefix| TakenSubnet { owner: owner.clone(), prefix };
        network.subnets.into_iter().map(move |subnet| taken(subnet.prefix)).collect::<Vec<_>>()
    });
    let routes = routes::destinations();
    let subnets = ipam::subnets(&request.subnets, &taken.collect::<Vec<_>>(), &routes);
    let subnets = subnets.context(|| format!("network {name}"))?;
    warn_of_hidden(&request.subnets.subnets, &routes);
    let network = NetworkDefinition {
        id: crate::object_id::random_id()?,
        name: name.clone(),
        created: Timestamp::now(),
        driver: NetworkDriver::Bridge,
        subnets,
        uplink: request.uplink,
        dns: request.dns,
        dns_servers: request.dns_servers.clone(),
        attachable: request.attachable,
        labels: request.labels.clone(),
        options: request.options.clone(),
    };
    config::open_private(&definition::folder(store))?;
    definition::write(store, &network)?;
    log_event(store, &network, "create");
    Ok(network)
}

/// Logs an event of a network, in docker's shape.
pub(super) fn log_event(store: &std::path::Path, network: &NetworkDefinition, action: &str) {
    let attributes = [("name", network.name.to_string()), ("type", "bridge".to_owned())];
    events::of_other(store, "network", &network.id, action, &attributes);
}

/// Warns of requested subnets that overlap with a route of the host: members cannot reach those machines.
fn warn_of_hidden(asked: &[IpNet], routes: &[IpNet]) {
    for subnet in asked {
        if let Some(route) = routes.iter().find(|route| ipam::overlap(route, subnet)) {
            log::warn!(
                "{subnet} overlaps with {route}, to which the host has a route: containers of the network do not reach \
                 those machines"
            );
        }
    }
}
