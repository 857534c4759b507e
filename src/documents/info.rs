//! Documents of `usnea info`: podman's, and the fields of docker's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::go::GoSet;
use super::version::ProgramVersion;

/// Facts about this machine, its stores, and the defaults for containers, in podman's shape.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InfoDocument {
    pub host: HostInfo,
    pub store: StoreInfo,
    pub log: LogInfo,
    pub plugins: PluginsInfo,
    pub registries: RegistriesInfo,
    pub version: ProgramVersion,
}

/// Facts about this machine. Memory in bytes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostInfo {
    pub arch: String,
    /// Controllers that are delegated to the user.
    pub cgroup_controllers: Vec<String>,
    pub cgroup_manager: &'static str,
    pub cgroup_version: &'static str,
    pub cpus: usize,
    pub distribution: DistributionInfo,
    pub event_logger: &'static str,
    pub hostname: String,
    pub id_mappings: IdMappingsInfo,
    pub kernel: String,
    pub log_driver: &'static str,
    pub mem_free: u64,
    pub mem_total: u64,
    pub network_backend: &'static str,
    pub oci_runtime: RuntimeInfo,
    pub os: String,
    pub pasta: HelperInfo,
    pub remote_socket: SocketInfo,
    pub security: SecurityInfo,
    pub service_is_remote: bool,
    pub slirp4netns: HelperInfo,
    pub swap_free: u64,
    pub swap_total: u64,
    pub uptime: String,
    pub user: String,
}

/// Distribution, in the words of os-release(5).
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DistributionInfo {
    pub distribution: String,
    pub variant: String,
    pub version: String,
}

/// ID maps of the base user namespace.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMappingsInfo {
    pub gidmap: Vec<IdMapInfo>,
    pub uidmap: Vec<IdMapInfo>,
}

/// Line of an ID map.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IdMapInfo {
    pub container_id: u32,
    pub host_id: u32,
    pub size: u32,
}

/// OCI runtime: this program.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeInfo {
    pub name: &'static str,
    pub path: String,
    pub version: &'static str,
}

/// Program that connects a network namespace.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelperInfo {
    /// Path of the program; empty where it is missing.
    pub executable: String,
}

/// Socket for remote clients: none.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketInfo {
    pub exists: bool,
    pub path: &'static str,
}

/// Security modules, and the defaults for containers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityInfo {
    pub apparmor_enabled: bool,
    /// Default capabilities, between commas.
    pub capabilities: String,
    pub rootless: bool,
    pub seccomp_enabled: bool,
    pub seccomp_profile_path: String,
    pub selinux_enabled: bool,
}

/// Facts about the store. Sizes in bytes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreInfo {
    /// Settings of the user; null without a home.
    pub config_file: Option<String>,
    pub container_store: ContainerCounts,
    pub graph_driver_name: &'static str,
    pub graph_options: GoSet,
    pub graph_root: String,
    pub graph_root_allocated: u64,
    pub graph_root_used: u64,
    pub image_copy_tmp_dir: String,
    pub graph_status: GraphStatus,
    pub image_store: ImageCounts,
    /// Image stores of others.
    pub image_stores: Vec<String>,
    /// Store of pulled images on a disk of this machine; null without one.
    pub node_cache: Option<NodeCacheInfo>,
    pub run_root: String,
    pub volume_path: String,
}

/// Store of pulled images on a disk of this machine.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCacheInfo {
    pub path: String,
    pub number: usize,
    /// Bytes of the images.
    pub bytes: u64,
    /// Bytes from which on images are removed.
    pub limit: u64,
}

/// Number of containers, by state.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerCounts {
    pub number: u64,
    pub paused: u64,
    pub running: u64,
    pub stopped: u64,
}

/// File system of the store, and the reason for the driver.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GraphStatus {
    #[serde(rename = "Backing Filesystem")]
    pub backing_filesystem: String,
    #[serde(rename = "Reason")]
    pub reason: String,
}

/// Number of images in all stores.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageCounts {
    pub number: usize,
}

/// Default log of containers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogInfo {
    pub driver: &'static str,
    /// Largest size of a file in bytes; null without a limit.
    pub max_size: Option<u64>,
    pub max_file: u32,
}

/// Drivers that flags may name.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginsInfo {
    pub authorization: [&'static str; 0],
    pub log: [&'static str; 4],
    pub network: [&'static str; 6],
    pub volume: [&'static str; 1],
}

/// Registries for short names.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistriesInfo {
    pub search: Vec<String>,
}

/// docker's fields, for templates.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerInfo {
    pub architecture: String,
    pub cgroup_driver: &'static str,
    pub cgroup_version: String,
    pub client_info: DockerClientInfo,
    pub containers: u64,
    pub containers_paused: u64,
    pub containers_running: u64,
    pub containers_stopped: u64,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub debug: bool,
    pub default_runtime: &'static str,
    pub docker_root_dir: String,
    pub driver: &'static str,
    pub driver_status: [[String; 2]; 1],
    pub experimental_build: bool,
    pub http_proxy: &'static str,
    pub https_proxy: &'static str,
    #[serde(rename = "ID")]
    pub id: &'static str,
    pub images: usize,
    pub index_server_address: &'static str,
    pub init_binary: &'static str,
    pub isolation: &'static str,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    pub kernel_version: String,
    pub labels: [&'static str; 0],
    pub live_restore_enabled: bool,
    pub logging_driver: &'static str,
    pub mem_total: u64,
    pub memory_limit: bool,
    pub name: String,
    #[serde(rename = "NCPU")]
    pub ncpu: usize,
    pub no_proxy: &'static str,
    #[serde(rename = "OSType")]
    pub os_type: String,
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    pub oom_kill_disable: bool,
    pub operating_system: String,
    pub pids_limit: bool,
    pub runtimes: BTreeMap<&'static str, DockerRuntime>,
    pub security_options: Vec<String>,
    pub server_version: String,
    pub swap_limit: bool,
    pub swarm: DockerSwarm,
    pub system_time: String,
    pub warnings: [&'static str; 0],
}

/// docker's `ClientInfo`: this program.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerClientInfo {
    pub arch: String,
    pub build_time: String,
    pub context: &'static str,
    /// True if messages for debugging are logged.
    pub debug: bool,
    pub git_commit: String,
    pub go_version: String,
    pub os: String,
    pub plugins: [&'static str; 0],
    pub version: String,
    pub warnings: [&'static str; 0],
}

/// Runtime, as docker lists it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DockerRuntime {
    pub path: String,
}

/// docker's cluster: inactive.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerSwarm {
    pub local_node_state: &'static str,
    pub control_available: bool,
    #[serde(rename = "NodeID")]
    pub node_id: &'static str,
    pub node_addr: &'static str,
    pub error: &'static str,
}

impl DockerInfo {
    /// Returns docker's fields of the same facts, at the time `now`.
    pub fn new(info: &InfoDocument, now: Timestamp) -> Self {
        let (host, store) = (&info.host, &info.store);
        let has = |name: &str| host.cgroup_controllers.iter().any(|one| one == name);
        let distribution = &host.distribution;
        Self {
            architecture: host.arch.clone(),
            cgroup_driver: host.cgroup_manager,
            cgroup_version: host.cgroup_version.trim_start_matches('v').to_owned(),
            client_info: DockerClientInfo::new(&info.version),
            containers: store.container_store.number,
            containers_paused: store.container_store.paused,
            containers_running: store.container_store.running,
            containers_stopped: store.container_store.stopped,
            cpu_cfs_period: has("cpu"),
            cpu_cfs_quota: has("cpu"),
            cpu_shares: has("cpu"),
            cpu_set: has("cpuset"),
            debug: false,
            default_runtime: "usnea",
            docker_root_dir: store.graph_root.clone(),
            driver: store.graph_driver_name,
            driver_status: [[
                "Backing Filesystem".to_owned(),
                store.graph_status.backing_filesystem.clone(),
            ]],
            experimental_build: false,
            http_proxy: "",
            https_proxy: "",
            id: "",
            images: store.image_store.number,
            index_server_address: "https://index.docker.io/v1/",
            init_binary: "usnea",
            isolation: "",
            ipv4_forwarding: true,
            kernel_version: host.kernel.clone(),
            labels: [],
            live_restore_enabled: true,
            logging_driver: host.log_driver,
            mem_total: host.mem_total,
            memory_limit: has("memory"),
            name: host.hostname.clone(),
            ncpu: host.cpus,
            no_proxy: "",
            os_type: host.os.clone(),
            os_version: distribution.version.clone(),
            oom_kill_disable: false,
            operating_system: format!("{} {}", distribution.distribution, distribution.version),
            pids_limit: has("pids"),
            runtimes: [("usnea", DockerRuntime { path: host.oci_runtime.path.clone() })].into(),
            security_options: security_options(&host.security),
            server_version: info.version.version.clone(),
            swap_limit: has("memory"),
            swarm: DockerSwarm { local_node_state: "inactive", ..DockerSwarm::default() },
            system_time: now.to_string(),
            warnings: [],
        }
    }
}

impl DockerClientInfo {
    fn new(version: &ProgramVersion) -> Self {
        Self {
            arch: version.arch.clone(),
            build_time: version.build_time.clone(),
            context: "default",
            debug: log::log_enabled!(log::Level::Debug),
            git_commit: version.git_commit.clone(),
            go_version: version.go_version.clone(),
            os: version.os.clone(),
            plugins: [],
            version: version.version.clone(),
            warnings: [],
        }
    }
}

fn security_options(security: &SecurityInfo) -> Vec<String> {
    let profile = match security.seccomp_profile_path.as_str() {
        "" => "builtin",
        path => path,
    };
    let seccomp = format!("name=seccomp,profile={profile}");
    let options = [
        ("name=apparmor", security.apparmor_enabled),
        ("name=selinux", security.selinux_enabled),
        (&seccomp, security.seccomp_enabled),
        ("name=rootless", security.rootless),
        ("name=cgroupns", true),
    ];
    options.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| (*name).to_owned()).collect()
}
