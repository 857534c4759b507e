//! docker's `HostConfig`: resources that the host gives a container, and their limits.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use oci_spec::runtime::{
    Linux, LinuxBlockIo, LinuxCpu, LinuxIdMapping, LinuxMemory, LinuxNamespaceType, LinuxResources,
    LinuxThrottleDevice, Mount, Process, Spec,
};
use serde::Serialize;

use super::document::Nothing;
use super::mounts::of_user;
use super::network::{self, HostPort};
use crate::container::volumes::Used;
use crate::host;
use crate::monitor::record::{LogDriver, Record};
use crate::security;
use crate::spec::RUN_INIT;

/// Resources that the host gives a container. 0 is docker's word for no limit.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    pub binds: Vec<String>,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    pub network_mode: &'static str,
    pub port_bindings: BTreeMap<String, Vec<HostPort>>,
    pub publish_all_ports: bool,
    pub restart_policy: RestartPolicy,
    pub auto_remove: bool,
    pub auto_remove_image: bool,
    pub volume_driver: String,
    pub volumes_from: Vec<String>,
    pub console_size: [u16; 2],
    /// Capabilities beyond the default set.
    pub cap_add: Vec<String>,
    /// Capabilities of the default set that are missing.
    pub cap_drop: Vec<String>,
    /// Capabilities of the bounding set, without `CAP_`.
    pub capabilities: Vec<String>,
    pub cgroupns_mode: &'static str,
    /// Cgroup namespace under podman's name: a copy of `cgroupns_mode`.
    pub cgroup_mode: &'static str,
    /// Manager of the cgroup: `systemd`, `cgroupfs`, or `none` for a container without a cgroup.
    pub cgroup_manager: &'static str,
    pub cgroup: String,
    pub cgroups: &'static str,
    pub cgroup_parent: String,
    pub dns: Vec<std::net::IpAddr>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub group_add: Vec<String>,
    pub ipc_mode: &'static str,
    pub links: Vec<String>,
    pub oom_score_adj: i32,
    pub pid_mode: &'static str,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Vec<String>,
    pub storage_opt: BTreeMap<String, String>,
    /// Options of the tmpfs at each mount point.
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    pub uts_mode: &'static str,
    pub userns_mode: &'static str,
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
    pub devices: Vec<Device>,
    pub device_cgroup_rules: Vec<String>,
    pub device_requests: Vec<Nothing>,
    pub ulimits: Vec<Ulimit>,
    #[serde(flatten)]
    pub limits: Limits,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    pub r#type: &'static str,
    pub config: BTreeMap<String, String>,
    /// File of the log; with tag and largest size, podman's own fields.
    pub path: String,
    pub tag: String,
    pub size: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    pub name: String,
    pub maximum_retry_count: u32,
}

/// Lines of `CONTAINER:HOST:COUNT`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdMappings {
    pub uid_map: Vec<String>,
    pub gid_map: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Device {
    pub path_on_host: String,
    pub path_in_container: String,
    pub cgroup_permissions: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// Bytes or operations a second of a disk.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rate {
    pub path: String,
    pub rate: u64,
}

/// Limits, which `update` changes too.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Limits {
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
    pub blkio_weight_device: Vec<Rate>,
    pub blkio_device_read_bps: Vec<Rate>,
    pub blkio_device_write_bps: Vec<Rate>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<Rate>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<Rate>,
    pub disk_quota: u64,
    pub cgroup_conf: HashMap<String, String>,
}

fn has_shared_memory(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|mount| mount.destination() == Path::new("/dev/shm"))
}

pub(super) fn host_config(record: &Record, spec: &Spec, volumes: &[Used]) -> HostConfig {
    let process = spec.process().as_ref();
    let linux = spec.linux().as_ref();
    let bounding = bounding(process);
    let namespaces = linux.and_then(|linux| linux.namespaces().clone()).unwrap_or_default();
    let shared = |kind: LinuxNamespaceType| {
        let is_own = namespaces.iter().any(|namespace| namespace.typ() == kind);
        if is_own { "private" } else { "host" }
    };
    let resolver = record.network.resolver.clone().unwrap_or_default();
    let hosts = record.network.hosts.iter().flatten().map(ToString::to_string);
    let cgroup_mode = shared(LinuxNamespaceType::Cgroup);
    let (cap_add, cap_drop) = changed(&bounding);
    HostConfig {
        binds: binds(spec, volumes),
        container_id_file: record
            .cidfile
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        log_config: log_config(record),
        network_mode: record.network.word(),
        port_bindings: network::ports(&record.network),
        publish_all_ports: false,
        restart_policy: RestartPolicy {
            name: record.restart.name().to_owned(),
            maximum_retry_count: record.restart.attempts(),
        },
        auto_remove: record.auto_remove,
        auto_remove_image: record.remove_image,
        volume_driver: String::new(),
        volumes_from: record.volumes_from.clone(),
        console_size: [0, 0],
        cap_add,
        cap_drop,
        capabilities: bounding,
        cgroupns_mode: cgroup_mode,
        cgroup_mode,
        cgroup_manager: match linux.and_then(|linux| linux.cgroups_path().as_ref()) {
            Some(_) => host::cgroup::manager().0,
            None => "none",
        },
        cgroup: String::new(),
        cgroups: match linux.and_then(|linux| linux.cgroups_path().as_ref()) {
            Some(_) => "default",
            None => "disabled",
        },
        cgroup_parent: cgroup_parent(linux),
        dns: resolver.servers,
        dns_options: resolver.options,
        dns_search: resolver.search,
        extra_hosts: hosts.collect(),
        group_add: groups(process),
        ipc_mode: match shared(LinuxNamespaceType::Ipc) {
            "private" if !has_shared_memory(spec) => "none",
            word => word,
        },
        links: Vec::new(),
        oom_score_adj: process.and_then(Process::oom_score_adj).unwrap_or(0),
        pid_mode: shared(LinuxNamespaceType::Pid),
        privileged: false,
        readonly_rootfs: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        security_opt: security_options(process),
        storage_opt: BTreeMap::new(),
        tmpfs: tmpfs(spec),
        uts_mode: shared(LinuxNamespaceType::Uts),
        userns_mode: "private",
        id_mappings: IdMappings {
            uid_map: id_map(linux, Linux::uid_mappings),
            gid_map: id_map(linux, Linux::gid_mappings),
        },
        shm_size: shm_size(spec),
        sysctls: linux.and_then(|linux| linux.sysctl().clone()).unwrap_or_default(),
        runtime: "usnea",
        isolation: String::new(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        masked_paths: linux.and_then(|linux| linux.masked_paths().clone()).unwrap_or_default(),
        readonly_paths: linux.and_then(|linux| linux.readonly_paths().clone()).unwrap_or_default(),
        init: spec.annotations().as_ref().is_some_and(|all| all.contains_key(RUN_INIT)),
        devices: devices(spec),
        device_cgroup_rules: Vec::new(),
        device_requests: Vec::new(),
        ulimits: ulimits(process),
        limits: limits(linux.and_then(|linux| linux.resources().as_ref())),
    }
}

fn bounding(process: Option<&Process>) -> Vec<String> {
    let capabilities = process.and_then(|process| process.capabilities().clone());
    let bounding = capabilities.and_then(|all| all.bounding().clone()).unwrap_or_default();
    let mut bounding: Vec<String> = bounding.iter().map(ToString::to_string).collect();
    bounding.sort();
    bounding
}

/// Returns the capabilities beyond the default set, and those missing from it, in podman's form.
fn changed(bounding: &[String]) -> (Vec<String>, Vec<String>) {
    let mut default = security::default_capabilities();
    default.iter_mut().for_each(|name| *name = name.trim_start_matches("CAP_").to_owned());
    default.sort();
    let less = |all: &[String], others: &[String]| -> Vec<String> {
        all.iter().filter(|one| !others.contains(one)).map(|one| format!("CAP_{one}")).collect()
    };
    (less(bounding, &default), less(&default, bounding))
}

fn cgroup_parent(linux: Option<&Linux>) -> String {
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let parent = path.and_then(|path| path.parent()).filter(|parent| *parent != Path::new(""));
    parent.map(|parent| parent.display().to_string()).unwrap_or_default()
}

/// Returns the supplementary groups without the process's own.
fn groups(process: Option<&Process>) -> Vec<String> {
    let Some(user) = process.map(Process::user) else { return Vec::new() };
    let others = user.additional_gids().iter().flatten().filter(|gid| **gid != user.gid());
    others.map(ToString::to_string).collect()
}

fn security_options(process: Option<&Process>) -> Vec<String> {
    let is_on = process.and_then(Process::no_new_privileges).unwrap_or(false);
    if is_on { vec!["no-new-privileges".to_owned()] } else { Vec::new() }
}

fn tmpfs(spec: &Spec) -> BTreeMap<String, String> {
    let mounts = of_user(spec.mounts().as_ref());
    let mounts = mounts.filter(|mount| mount.typ().as_deref() == Some("tmpfs"));
    let line = |mount: &Mount| {
        let options = mount.options().clone().unwrap_or_default().join(",");
        (mount.destination().display().to_string(), options)
    };
    mounts.map(line).collect()
}

fn shm_size(spec: &Spec) -> u64 {
    let mut mounts = spec.mounts().iter().flatten();
    let shm = mounts.find(|mount| mount.destination() == Path::new("/dev/shm"));
    let options = shm.into_iter().flat_map(|mount| mount.options().iter().flatten());
    let mut sizes = options.filter_map(|option| option.strip_prefix("size="));
    let size = sizes.next().unwrap_or_default();
    let (number, unit) = match size.strip_suffix('k') {
        Some(number) => (number, 1024),
        None => (size, 1),
    };
    number.parse::<u64>().unwrap_or(0) * unit
}

/// Returns the devices: bind mounts from the host, where a user may not make device files.
fn devices(spec: &Spec) -> Vec<Device> {
    let mounts = spec.mounts().iter().flatten();
    let bound = mounts.filter(|mount| {
        let source = mount.source().as_ref();
        mount.destination().starts_with("/dev")
            && source.is_some_and(|source| source.starts_with("/dev"))
            && mount.options().iter().flatten().any(|option| option.ends_with("bind"))
    });
    let device = |mount: &Mount| Device {
        path_on_host: mount
            .source()
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        path_in_container: mount.destination().display().to_string(),
        cgroup_permissions: "rwm",
    };
    bound.map(device).collect()
}

fn ulimits(process: Option<&Process>) -> Vec<Ulimit> {
    let limits = process.into_iter().flat_map(|process| process.rlimits().iter().flatten());
    let limit = |limit: &oci_spec::runtime::PosixRlimit| Ulimit {
        name: limit.typ().to_string(),
        soft: limit.soft(),
        hard: limit.hard(),
    };
    limits.map(limit).collect()
}

fn id_map(linux: Option<&Linux>, of: fn(&Linux) -> &Option<Vec<LinuxIdMapping>>) -> Vec<String> {
    let lines = linux.into_iter().flat_map(|linux| of(linux).iter().flatten());
    let line = |line: &LinuxIdMapping| {
        format!("{}:{}:{}", line.container_id(), line.host_id(), line.size())
    };
    lines.map(line).collect()
}

fn log_config(record: &Record) -> LogConfig {
    let log = &record.log;
    LogConfig {
        r#type: log_driver(log.driver),
        config: log_options(record),
        path: String::new(),
        tag: log.tag.clone().unwrap_or_default(),
        size: log.max_size.map_or_else(|| "0B".to_owned(), |size| format!("{size}B")),
    }
}

fn log_driver(driver: LogDriver) -> &'static str {
    match driver {
        LogDriver::File => "file",
        LogDriver::Journald => "journald",
        LogDriver::None => "none",
        LogDriver::Passthrough => "passthrough",
    }
}

fn log_options(record: &Record) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let log = &record.log;
    options.extend(log.max_size.map(|size| ("max-size".to_owned(), size.to_string())));
    options.extend(log.max_file.map(|files| ("max-file".to_owned(), files.to_string())));
    options.extend(log.tag.as_ref().map(|tag| ("tag".to_owned(), tag.clone())));
    options
}

fn binds(spec: &Spec, volumes: &[Used]) -> Vec<String> {
    let bind = |mount: &Mount| {
        let options = mount.options().clone().unwrap_or_default();
        let source = mount
            .source()
            .as_ref()
            .filter(|_| options.iter().any(|option| option.ends_with("bind")))?;
        let mode = if options.iter().any(|option| option == "ro") { "ro" } else { "rw" };
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        let source =
            volume.map_or_else(|| source.display().to_string(), |used| used.name.to_string());
        Some(format!("{source}:{}:{mode}", mount.destination().display()))
    };
    of_user(spec.mounts().as_ref()).filter_map(bind).collect()
}

fn limits(resources: Option<&LinuxResources>) -> Limits {
    let resources = resources.cloned().unwrap_or_default();
    let memory =
        |of: fn(&LinuxMemory) -> Option<i64>| resources.memory().as_ref().and_then(of).unwrap_or(0);
    let cpu = resources.cpu().clone().unwrap_or_default();
    let list = |of: fn(&LinuxCpu) -> &Option<String>| of(&cpu).clone().unwrap_or_default();
    let io = resources.block_io().clone().unwrap_or_default();
    let rates = |of: fn(&LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>| -> Vec<Rate> {
        let rate = |device: &LinuxThrottleDevice| {
            let number = (device.major(), device.minor());
            Rate { path: device_name(number), rate: device.rate() }
        };
        of(&io).iter().flatten().map(rate).collect()
    };
    let (quota, period) = (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0));
    Limits {
        memory: memory(LinuxMemory::limit),
        memory_swap: memory(LinuxMemory::swap),
        memory_reservation: memory(LinuxMemory::reservation),
        memory_swappiness: -1,
        cpu_shares: cpu.shares().unwrap_or(0),
        cpu_quota: quota,
        cpu_period: period,
        nano_cpus: nano_cpus(quota, period),
        cpuset_cpus: list(LinuxCpu::cpus),
        cpuset_mems: list(LinuxCpu::mems),
        pids_limit: resources.pids().as_ref().map_or(0, |pids| pids.limit()),
        blkio_weight: io.weight().unwrap_or(0),
        blkio_device_read_bps: rates(LinuxBlockIo::throttle_read_bps_device),
        blkio_device_write_bps: rates(LinuxBlockIo::throttle_write_bps_device),
        blkio_device_read_iops: rates(LinuxBlockIo::throttle_read_iops_device),
        blkio_device_write_iops: rates(LinuxBlockIo::throttle_write_iops_device),
        cgroup_conf: resources.unified().clone().unwrap_or_default(),
        ..Limits::default()
    }
}

fn nano_cpus(quota: i64, period: u64) -> i64 {
    let period = i128::from(period);
    match quota > 0 && period > 0 {
        true => i64::try_from(i128::from(quota) * 1_000_000_000 / period).unwrap_or(i64::MAX),
        false => 0,
    }
}

/// Returns the disk's path (`/dev/sda`); its numbers, where the disk is missing.
fn device_name((major, minor): (i64, i64)) -> String {
    let name = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
    let name = name.ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.map_or_else(
        || format!("{major}:{minor}"),
        |name| Path::new("/dev").join(name).display().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_so_many_processors() {
        for (quota, period, nano) in
            [(150_000, 100_000, 1_500_000_000), (0, 100_000, 0), (-1, 100_000, 0), (5, 0, 0)]
        {
            assert_eq!(nano_cpus(quota, period), nano);
        }
    }

    #[test]
    fn capabilities_are_told_as_changes_of_the_default() {
        let mut bounding = security::default_capabilities();
        bounding.iter_mut().for_each(|name| *name = name.trim_start_matches("CAP_").to_owned());
        assert_eq!(changed(&bounding), (vec![], vec![]));
        bounding.retain(|name| name != "CHOWN");
        bounding.push("SYS_PTRACE".to_owned());
        assert_eq!(changed(&bounding), (vec!["CAP_SYS_PTRACE".into()], vec!["CAP_CHOWN".into()]));
    }
}
