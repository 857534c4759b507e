//! `usnea network inspect`: the document of a network, with its running containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::builtin::BuiltinNetwork;
use super::known::KnownNetwork;
use super::usage;
use crate::container::{self, SizeCount, Usnea};
use crate::documents::network_definition::{
    AddressManagement, AddressPool, ConfigSource, EndpointResource, LeaseRange, NetworkDocument,
    SubnetDocument,
};
use crate::error::Result;
use crate::net::live::NetworkMember;
use crate::net::{Addresses, NetworkDefinition, Subnet};

/// Returns the document of a network. Errors: the containers cannot be listed.
pub fn inspect(usnea: &Usnea, network: &KnownNetwork) -> Result<NetworkDocument> {
    let containers = members(usnea, network)?;
    Ok(match network {
        KnownNetwork::Builtin(builtin) => NetworkDocument { containers, ..of_builtin(*builtin) },
        KnownNetwork::Named(network) => NetworkDocument { containers, ..of_definition(network) },
    })
}

fn of_definition(network: &NetworkDefinition) -> NetworkDocument {
    NetworkDocument {
        name: network.name.to_string(),
        id: network.id.clone(),
        created: network.created,
        scope: "local",
        driver: "bridge",
        enable_ipv4: network.v4().is_some(),
        enable_ipv6: network.v6().is_some(),
        ipam: AddressManagement {
            driver: "default",
            options: BTreeMap::new(),
            config: network.subnets.iter().map(pool).collect(),
        },
        internal: network.is_internal(),
        attachable: network.attachable,
        ingress: false,
        config_from: ConfigSource::default(),
        config_only: false,
        containers: BTreeMap::new(),
        options: network.options.text.clone(),
        labels: network.labels.clone(),
        network_interface: network.options.bridge_name().to_owned(),
        subnets: network.subnets.iter().map(subnet_document).collect(),
        ipv6_enabled: network.v6().is_some(),
        dns_enabled: network.dns,
        network_dns_servers: network.dns_servers.iter().map(ToString::to_string).collect(),
        ipam_options: [("driver".to_owned(), "host-local".to_owned())].into(),
    }
}

fn of_builtin(network: BuiltinNetwork) -> NetworkDocument {
    let addresses = (network == BuiltinNetwork::Bridge).then(Addresses::default);
    let cidr = addresses.as_ref().map(|addresses| (addresses.cidr(), addresses.gateway()));
    let pool = cidr.clone().map(|(subnet, gateway)| AddressPool {
        subnet,
        ip_range: String::new(),
        gateway: gateway.to_string(),
        auxiliary_addresses: BTreeMap::new(),
    });
    let subnet = cidr.map(|(subnet, gateway)| SubnetDocument {
        subnet,
        gateway: gateway.to_string(),
        lease_range: None,
    });
    NetworkDocument {
        name: network.name().to_owned(),
        id: network.id(),
        created: KnownNetwork::Builtin(network).created(),
        scope: "local",
        driver: network.driver(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: AddressManagement {
            driver: "default",
            options: BTreeMap::new(),
            config: pool.into_iter().collect(),
        },
        internal: false,
        attachable: false,
        ingress: false,
        config_from: ConfigSource::default(),
        config_only: false,
        containers: BTreeMap::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        network_interface: String::new(),
        subnets: subnet.into_iter().collect(),
        ipv6_enabled: false,
        dns_enabled: false,
        network_dns_servers: Vec::new(),
        ipam_options: BTreeMap::new(),
    }
}

fn pool(subnet: &Subnet) -> AddressPool {
    let reserved = subnet.reserved.iter();
    AddressPool {
        subnet: subnet.prefix.to_string(),
        ip_range: subnet.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: subnet.gateway.to_string(),
        auxiliary_addresses: reserved
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    }
}

fn subnet_document(subnet: &Subnet) -> SubnetDocument {
    SubnetDocument {
        subnet: subnet.prefix.to_string(),
        gateway: subnet.gateway.to_string(),
        lease_range: subnet.range.map(|range| LeaseRange {
            start_ip: range.first.to_string(),
            end_ip: range.last.to_string(),
        }),
    }
}

/// Returns the running containers of a network, by ID.
fn members(usnea: &Usnea, network: &KnownNetwork) -> Result<BTreeMap<String, EndpointResource>> {
    match network {
        KnownNetwork::Builtin(network) => members_of_builtin(usnea, *network),
        KnownNetwork::Named(network) => {
            let live = usage::live(usnea.store()?, &network.id).into_iter();
            Ok(live.map(|member| (member.container.clone(), endpoint(member, network))).collect())
        }
    }
}

fn endpoint(member: NetworkMember, network: &NetworkDefinition) -> EndpointResource {
    let address = |address: Option<IpAddr>| {
        let subnets = network.subnets.iter();
        let length = address.and_then(|address| {
            subnets.map(|subnet| subnet.prefix).find(|prefix| prefix.contains(&address))
        });
        match (address, length) {
            (Some(address), Some(prefix)) => format!("{address}/{}", prefix.prefix_len()),
            _ => String::new(),
        }
    };
    EndpointResource {
        ipv4_address: address(member.v4.map(IpAddr::V4)),
        ipv6_address: address(member.v6.map(IpAddr::V6)),
        mac_address: member.mac.to_string(),
        endpoint_id: member.endpoint,
        name: member.name.unwrap_or_default(),
    }
}

fn members_of_builtin(
    usnea: &Usnea,
    network: BuiltinNetwork,
) -> Result<BTreeMap<String, EndpointResource>> {
    let mut members = BTreeMap::new();
    for container in container::all(usnea)? {
        let is_running = container.status().is_ok_and(|status| status.is_running());
        if !is_running || !network.is_mode(container.record.network.mode) {
            continue;
        }
        // A container that ends this moment is no reason not to show the others.
        let Ok(document) = container::inspect(usnea, &container, SizeCount::Unknown) else {
            continue;
        };
        let Some(settings) = document.network_settings.networks.into_values().next() else {
            continue;
        };
        let endpoint = settings.endpoint;
        let resource = EndpointResource {
            name: container.record.name,
            endpoint_id: endpoint.endpoint_id,
            mac_address: endpoint.mac_address,
            ipv4_address: with_prefix(endpoint.ip_address, endpoint.ip_prefix_len),
            ipv6_address: with_prefix(
                endpoint.global_ipv6_address,
                endpoint.global_ipv6_prefix_len,
            ),
        };
        members.insert(container.record.id.to_string(), resource);
    }
    Ok(members)
}

fn with_prefix(address: String, length: u8) -> String {
    if address.is_empty() { address } else { format!("{address}/{length}") }
}
