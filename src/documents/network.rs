//! docker's `NetworkSettings`: ports and addresses of a container.

use std::collections::BTreeMap;

use serde::Serialize;

/// Port of the host that leads to a port of a container.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostPort {
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    #[serde(rename = "HostPort")]
    pub host_port: String,
}

/// Helper that forwards the published ports, and the peer that a program in the container sees.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PortForwarding {
    /// `pasta` or `slirp4netns`.
    #[serde(rename = "Helper")]
    pub helper: String,
    /// True if clients on other machines, and at other addresses than loopback, are seen by their own addresses.
    #[serde(rename = "KeepsSourceAddress")]
    pub keeps_source_address: bool,
    /// True if clients at the host's loopback are seen by their own addresses, and not as the gateway or the container.
    #[serde(rename = "KeepsLoopbackSourceAddress")]
    pub keeps_loopback_source_address: bool,
}

/// Addresses on one network.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EndpointAddresses {
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "Gateway")]
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
}

/// Addresses that the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestedAddresses {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
}

/// Network of a container.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EndpointSettings {
    #[serde(flatten)]
    pub endpoint: EndpointAddresses,
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Addresses that the user asked for; null: none.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<RequestedAddresses>,
    #[serde(rename = "Links")]
    pub links: Vec<String>,
    #[serde(rename = "Aliases")]
    pub aliases: Vec<String>,
    /// Names under which the container is found on a named network.
    #[serde(rename = "DNSNames")]
    pub dns_names: Vec<String>,
    #[serde(rename = "DriverOpts")]
    pub driver_opts: BTreeMap<String, String>,
}

/// docker's `NetworkSettings`. The addresses of a network that is not named are there twice, as in docker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NetworkSettings {
    #[serde(flatten)]
    pub endpoint: EndpointAddresses,
    #[serde(rename = "Bridge")]
    pub bridge: String,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    #[serde(rename = "SandboxKey")]
    pub sandbox_key: String,
    #[serde(rename = "HairpinMode")]
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Vec<String>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Vec<String>,
    /// Ports of the container; null for an exposed port that is not published.
    #[serde(rename = "Ports")]
    pub ports: BTreeMap<String, Option<Vec<HostPort>>>,
    /// Helper that leads to the published ports; null without a running one.
    #[serde(rename = "PortForwarding")]
    pub port_forwarding: Option<PortForwarding>,
    #[serde(rename = "Networks")]
    pub networks: BTreeMap<String, EndpointSettings>,
}
