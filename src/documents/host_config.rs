//! docker's `HostConfig`: resources that the host gives a container, and their limits.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::Serialize;

use super::go::Nothing;
use super::network::HostPort;

/// Resources that the host gives a container. 0 is docker's word for no limit.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    pub binds: Vec<String>,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    pub network_mode: String,
    pub port_bindings: BTreeMap<String, Vec<HostPort>>,
    pub publish_all_ports: bool,
    pub restart_policy: RestartPolicyDocument,
    pub auto_remove: bool,
    pub auto_remove_image: bool,
    pub volume_driver: String,
    pub volumes_from: Vec<String>,
    pub console_size: [u16; 2],
    #[serde(flatten)]
    pub capabilities: CapabilityChanges,
    #[serde(flatten)]
    pub cgroup: CgroupSettings,
    #[serde(flatten)]
    pub namespaces: NamespaceModes,
    pub dns: Vec<IpAddr>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub group_add: Vec<String>,
    pub links: Vec<String>,
    pub oom_score_adj: i32,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Vec<String>,
    pub storage_opt: BTreeMap<String, String>,
    /// Options of the tmpfs at each mount point.
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "IDMappings")]
    pub id_mappings: IdMappings,
    pub shm_size: u64,
    pub sysctls: HashMap<String, String>,
    pub runtime: &'static str,
    pub isolation: String,
    pub annotations: BTreeMap<String, String>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub init: bool,
    pub devices: Vec<DeviceDocument>,
    pub device_cgroup_rules: Vec<String>,
    pub device_requests: Vec<Nothing>,
    pub ulimits: Vec<UlimitDocument>,
    #[serde(flatten)]
    pub limits: ResourceLimits,
}

/// Capabilities of a container.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CapabilityChanges {
    /// Capabilities beyond the default set.
    pub cap_add: Vec<String>,
    /// Capabilities of the default set that are missing.
    pub cap_drop: Vec<String>,
    /// Capabilities of the bounding set, without `CAP_`.
    pub capabilities: Vec<String>,
}

/// Cgroup of a container.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CgroupSettings {
    /// Manager of the cgroup: `systemd`, `cgroupfs`, or `none` for a container without a cgroup.
    pub cgroup_manager: &'static str,
    pub cgroup: String,
    pub cgroups: &'static str,
    pub cgroup_parent: String,
}

/// Namespaces of a container: `private`, `host`, or docker's other words.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamespaceModes {
    pub cgroupns_mode: String,
    /// Cgroup namespace under podman's name: a copy of `cgroupns_mode`.
    pub cgroup_mode: String,
    pub ipc_mode: String,
    pub pid_mode: String,
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    pub userns_mode: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    pub r#type: &'static str,
    pub config: BTreeMap<String, String>,
    /// File of the log; with tag and largest size, podman's own fields.
    pub path: String,
    pub tag: String,
    pub size: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicyDocument {
    pub name: String,
    pub maximum_retry_count: u32,
}

/// Lines of `CONTAINER:HOST:COUNT`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdMappings {
    pub uid_map: Vec<String>,
    pub gid_map: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceDocument {
    pub path_on_host: String,
    pub path_in_container: String,
    pub cgroup_permissions: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UlimitDocument {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// Bytes or operations a second of a disk.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BlockDeviceRate {
    pub path: String,
    pub rate: u64,
}

/// Limits, which `update` changes too.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceLimits {
    pub memory: i64,
    pub memory_swap: i64,
    pub memory_reservation: i64,
    /// Swappiness; docker's -1 means the system's.
    pub memory_swappiness: i64,
    pub kernel_memory: i64,
    pub oom_kill_disable: bool,
    pub cpu_shares: u64,
    pub cpu_quota: i64,
    pub cpu_period: u64,
    pub cpu_realtime_period: u64,
    pub cpu_realtime_runtime: i64,
    /// Quota as processors, in units of 10^-9.
    pub nano_cpus: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub pids_limit: i64,
    pub blkio_weight: u16,
    pub blkio_weight_device: Vec<BlockDeviceRate>,
    pub blkio_device_read_bps: Vec<BlockDeviceRate>,
    pub blkio_device_write_bps: Vec<BlockDeviceRate>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<BlockDeviceRate>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<BlockDeviceRate>,
    pub disk_quota: u64,
    pub cgroup_conf: HashMap<String, String>,
}
