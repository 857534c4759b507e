//! Row of `usnea ps`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Row of `usnea ps`: docker's fields, and those that podman adds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerRow {
    #[serde(rename = "ID")]
    pub id: String,
    /// ID in podman's spelling: always whole.
    #[serde(rename = "Id")]
    pub whole_id: String,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    pub created: String,
    pub created_at: String,
    pub created_human: String,
    pub running_for: String,
    pub started_at: i64,
    pub status: String,
    pub state: &'static str,
    pub exited: bool,
    pub exited_at: i64,
    pub exit_code: u8,
    pub ports: String,
    pub exposed_ports: String,
    pub names: String,
    pub labels: String,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
    pub mounts: String,
    pub networks: String,
    pub local_volumes: String,
    /// Disk space of the container; empty unless requested, because counting reads all files.
    pub size: String,
    pub pid: i32,
    pub restarts: u32,
    pub auto_remove: bool,
    #[serde(rename = "CIDFile")]
    pub cid_file: String,
    pub is_infra: bool,
    pub pod: String,
    pub pod_name: String,
    pub namespaces: NamespaceIds,
    #[serde(flatten)]
    pub own_namespaces: NamespaceIds,
}

/// Namespaces of a running container, by their numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NamespaceIds {
    #[serde(rename = "CGROUPNS")]
    pub cgroup: String,
    #[serde(rename = "IPC")]
    pub ipc: String,
    #[serde(rename = "MNT")]
    pub mount: String,
    #[serde(rename = "NET")]
    pub network: String,
    #[serde(rename = "PIDNS")]
    pub pid: String,
    #[serde(rename = "USERNS")]
    pub user: String,
    #[serde(rename = "UTS")]
    pub uts: String,
}

impl NamespaceIds {
    /// Fields of namespaces that templates may use.
    pub const FIELDS: [&str; 8] =
        ["Namespaces", "CGROUPNS", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS"];
}
