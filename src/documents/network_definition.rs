//! Documents of networks: `usnea network inspect`, and the rows of `usnea network ls`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// Document of a network: docker's fields, and those that podman adds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkDocument {
    pub name: String,
    pub id: String,
    pub created: Timestamp,
    pub scope: &'static str,
    pub driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub ipam: AddressManagement,
    /// True if the members have no uplink.
    pub internal: bool,
    pub attachable: bool,
    /// Field of networks of a cluster: always false.
    pub ingress: bool,
    pub config_from: ConfigSource,
    /// True for a template of networks: always false.
    pub config_only: bool,
    /// Running containers of the network, by ID.
    pub containers: BTreeMap<String, EndpointResource>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Bridge in the network namespace of the network; podman's field, as all that follow.
    #[serde(rename = "network_interface")]
    pub network_interface: String,
    #[serde(rename = "subnets")]
    pub subnets: Vec<SubnetDocument>,
    #[serde(rename = "ipv6_enabled")]
    pub ipv6_enabled: bool,
    #[serde(rename = "dns_enabled")]
    pub dns_enabled: bool,
    /// Name servers that are asked for names of other machines; empty: the host's.
    #[serde(rename = "network_dns_servers")]
    pub network_dns_servers: Vec<String>,
    #[serde(rename = "ipam_options")]
    pub ipam_options: BTreeMap<String, String>,
}

/// docker's `IPAM`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddressManagement {
    pub driver: &'static str,
    pub options: BTreeMap<String, String>,
    pub config: Vec<AddressPool>,
}

/// Subnet, as docker has it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddressPool {
    pub subnet: String,
    #[serde(rename = "IPRange")]
    pub ip_range: String,
    pub gateway: String,
    /// Addresses that no container gets, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// Network from which a network took its settings: none.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigSource {
    pub network: String,
}

/// Running container of a network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointResource {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    /// Address with the length of the network prefix; empty: none.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// Subnet, as podman has it.
#[derive(Clone, Debug, Serialize)]
pub struct SubnetDocument {
    pub subnet: String,
    pub gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
}

/// Range of addresses that containers get, as podman has it.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseRange {
    pub start_ip: String,
    pub end_ip: String,
}

/// Row of `usnea network ls`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkRow {
    pub created_at: String,
    pub driver: &'static str,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "IPv4")]
    pub ipv4: String,
    #[serde(rename = "IPv6")]
    pub ipv6: String,
    pub internal: String,
    pub labels: String,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
    pub name: String,
    pub scope: &'static str,
}
