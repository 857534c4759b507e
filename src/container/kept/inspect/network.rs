//! Ports and addresses of a container, in docker's shape.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::net::{Addresses, Wanted};

/// Each port of the container, and where it leads from.
pub(super) fn ports(network: &Wanted) -> Map<String, Value> {
    let mut ports = Map::new();
    for forward in &network.forwards {
        let from = json!({
            "HostIp": forward.address().to_string(),
            "HostPort": forward.host_port.to_string(),
        });
        let entry = ports.entry(forward.container_end()).or_insert_with(|| json!([]));
        if let Some(list) = entry.as_array_mut() {
            list.push(from);
        }
    }
    ports
}

/// What the command says it listens at, and what was published.
pub(super) fn exposed(network: &Wanted) -> Map<String, Value> {
    let published = network.forwards.iter().map(|forward| forward.container_end());
    let all = network.exposed.iter().cloned().chain(published);
    all.map(|port| (port, json!({}))).collect()
}

/// docker's `NetworkSettings`.
pub(super) fn settings(network: &Wanted) -> Result<Value> {
    let mut ports = ports(network);
    for port in &network.exposed {
        ports.entry(port.clone()).or_insert(Value::Null);
    }
    let addresses = network.addresses()?;
    let text = |of: fn(&Addresses) -> Ipv4Addr| {
        addresses.as_ref().map_or(String::new(), |addresses| of(addresses).to_string())
    };
    Ok(json!({
        "Ports": ports,
        "IPAddress": text(Addresses::container),
        "IPPrefixLen": addresses.as_ref().map_or(0, |addresses| addresses.prefix),
        "Gateway": text(Addresses::gateway),
    }))
}
