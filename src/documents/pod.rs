//! Documents of pods in podman's shape: `usnea pod inspect`, and the rows of `usnea pod ps`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Document of a pod: podman's fields.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodDocument {
    pub id: String,
    pub name: String,
    /// podman's old namespaces of pods: always empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub created: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_command: Vec<String>,
    pub exit_policy: &'static str,
    pub state: &'static str,
    pub hostname: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// True for a cgroup of the pod: members have cgroups of their own.
    pub create_cgroup: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_parent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_path: String,
    /// True for a container that holds the namespaces: always false.
    pub create_infra: bool,
    #[serde(rename = "InfraContainerID")]
    pub infra_container_id: String,
    /// Network of the members; null: each has its own.
    pub infra_config: Option<PodNetworkConfig>,
    pub shared_namespaces: Vec<&'static str>,
    pub num_containers: usize,
    pub containers: Vec<PodMember>,
    /// Volumes of all members, as typed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    pub restart_policy: String,
    /// podman's number of a lock: always 0.
    pub lock_number: u32,
}

/// Network of a pod: podman's `InfraConfig`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodNetworkConfig {
    pub port_bindings: BTreeMap<String, Vec<PodPort>>,
    pub host_network: bool,
    #[serde(rename = "StaticIP")]
    pub static_ip: String,
    #[serde(rename = "StaticMAC")]
    pub static_mac: String,
    pub no_manage_resolv_conf: bool,
    #[serde(rename = "DNSServer")]
    pub dns_server: Vec<String>,
    #[serde(rename = "DNSSearch")]
    pub dns_search: Vec<String>,
    #[serde(rename = "DNSOption")]
    pub dns_option: Vec<String>,
    pub no_manage_hosts: bool,
    pub host_add: Vec<String>,
    pub networks: Vec<String>,
    /// Options of the networks: null.
    pub network_options: Option<BTreeMap<String, Vec<String>>>,
    #[serde(rename = "userns")]
    pub userns: String,
}

/// Published port of a pod.
#[derive(Clone, Debug, Serialize)]
pub struct PodPort {
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    #[serde(rename = "HostPort")]
    pub host_port: String,
}

/// Member of a pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodMember {
    pub id: String,
    pub name: String,
    pub state: &'static str,
}

/// Row of `usnea pod ps`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodRow {
    pub cgroup: String,
    pub containers: Vec<PodMemberRow>,
    pub created: String,
    #[serde(rename = "CreatedHuman")]
    pub created_human: String,
    pub id: String,
    /// ID, shortened for tables.
    #[serde(rename = "ID")]
    pub short_id: String,
    pub infra_id: String,
    pub name: String,
    pub namespace: String,
    pub networks: Vec<String>,
    pub status: &'static str,
    pub labels: BTreeMap<String, String>,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
    pub number_of_containers: usize,
    pub container_ids: String,
    pub container_names: String,
    pub container_statuses: String,
    pub restart: String,
}

/// Member of a pod in its row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodMemberRow {
    pub id: String,
    pub names: String,
    pub status: &'static str,
    pub restart_count: u32,
}
