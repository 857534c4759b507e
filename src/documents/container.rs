//! Document of a container: `usnea container inspect`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::go::GoSet;
use super::graph_driver::GraphDriver;
use super::host_config::HostConfig;
use super::network::NetworkSettings;
use crate::monitor::health::Check;
use crate::monitor::record::{Healthcheck, StartupCheck};

/// Document of a container.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDocument {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: StateDocument,
    /// Digest of the image's config.
    pub image: String,
    /// Digest of the image's manifest.
    pub image_digest: String,
    /// Image, as typed.
    pub image_name: String,
    /// Root directory, where the container is made from one.
    pub rootfs: String,
    pub pod: String,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    pub log_tag: String,
    /// Folder of the container in the store.
    pub static_dir: PathBuf,
    #[serde(rename = "OCIConfigPath")]
    pub oci_config_path: PathBuf,
    #[serde(rename = "OCIRuntime")]
    pub oci_runtime: &'static str,
    pub conmon_pid_file: String,
    pub pid_file: String,
    pub name: String,
    pub restart_count: u32,
    pub driver: &'static str,
    pub platform: &'static str,
    pub mount_label: String,
    pub process_label: String,
    pub app_armor_profile: String,
    pub effective_caps: Vec<String>,
    pub bounding_caps: Vec<String>,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Vec<String>,
    pub host_config: HostConfig,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<MountDocument>,
    pub dependencies: Vec<String>,
    pub network_settings: NetworkSettings,
    pub namespace: String,
    pub is_infra: bool,
    pub is_service: bool,
    pub config: ConfigDocument,
}

/// State of a container, and the end of its last run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StateDocument {
    pub oci_version: String,
    pub status: &'static str,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    /// Process ID of the command; 0 where the container does not run.
    pub pid: i32,
    pub monitor_pid: i32,
    /// Process ID of the monitor, under podman's name.
    pub conmon_pid: i32,
    pub exit_code: u8,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
    /// Results of the health checks; null without a check.
    pub health: Option<HealthDocument>,
    pub cgroup_path: String,
    pub stopped_by_user: bool,
}

/// Results of the health checks.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthDocument {
    pub status: &'static str,
    pub failing_streak: u32,
    pub log: Vec<Check>,
}

/// Mount that a user requested.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountDocument {
    pub r#type: &'static str,
    /// Name of the volume; empty for any other mount.
    pub name: String,
    pub source: String,
    pub destination: PathBuf,
    /// Driver of the volume; empty for any other mount.
    pub driver: &'static str,
    pub mode: String,
    pub options: Vec<String>,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: &'static str,
}

/// Secret of a container, in podman's shape: without its content.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSecretDocument {
    pub name: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "UID")]
    pub uid: u32,
    #[serde(rename = "GID")]
    pub gid: u32,
    /// Permissions of the file; 0 for an environment variable.
    pub mode: u32,
}

/// Command and its environment.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigDocument {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub exposed_ports: GoSet,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    /// Command without the entrypoint.
    pub cmd: Vec<String>,
    pub healthcheck: Option<Healthcheck>,
    pub healthcheck_on_failure_action: &'static str,
    pub startup_health_check: Option<StartupCheck>,
    pub health_log_destination: String,
    pub healthcheck_max_log_count: usize,
    pub healthcheck_max_log_size: usize,
    pub image: String,
    /// Mount points of volumes.
    pub volumes: GoSet,
    pub working_dir: PathBuf,
    pub entrypoint: Vec<String>,
    pub on_build: Vec<String>,
    /// Hardware address that was asked for.
    pub mac_address: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub stop_signal: String,
    pub stop_timeout: i64,
    pub create_command: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ContainerSecretDocument>,
    pub systemd_mode: bool,
    pub umask: String,
    pub timezone: String,
    pub timeout: u64,
    pub passwd: bool,
    #[serde(rename = "sdNotifyMode")]
    pub sd_notify_mode: &'static str,
}
