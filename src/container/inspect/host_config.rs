//! `HostConfig` of a container's document, from its spec and record.

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::{
    Linux, LinuxBlockIo, LinuxCpu, LinuxIdMapping, LinuxMemory, LinuxNamespaceType, LinuxResources,
    LinuxThrottleDevice, Mount, Process, Spec,
};

use super::mounts::of_user;
use super::network;
use crate::container::volumes::MountedVolume;
use crate::documents::host_config::{
    BlockDeviceRate, CapabilityChanges, CgroupSettings, DeviceDocument, HostConfig, IdMappings,
    LogConfig, NamespaceModes, ResourceLimits, RestartPolicyDocument, UlimitDocument,
};
use crate::host;
use crate::monitor::record::{LogDriver, Record};
use crate::seccomp_source::SeccompSource;
use crate::security;
use crate::security::landlock::LandlockRules;
use crate::spec::{JoinTarget, RUN_INIT};

pub(super) fn host_config(record: &Record, spec: &Spec, volumes: &[MountedVolume]) -> HostConfig {
    let process = spec.process().as_ref();
    let linux = spec.linux().as_ref();
    let resolver = record.network.resolver.clone().unwrap_or_default();
    let hosts = record.network.hosts.iter().flatten().map(ToString::to_string);
    let cidfile = record.cidfile.as_ref().map(|path| path.display().to_string());
    HostConfig {
        binds: binds(spec, volumes),
        container_id_file: cidfile.unwrap_or_default(),
        log_config: log_config(record),
        network_mode: record.network.word().to_owned(),
        port_bindings: network::bindings(&record.network),
        restart_policy: RestartPolicyDocument {
            name: record.restart.name().to_owned(),
            maximum_retry_count: record.restart.attempts(),
        },
        auto_remove: record.auto_remove,
        auto_remove_image: record.remove_image,
        volumes_from: record.volumes_from.clone(),
        capabilities: capabilities(record, bounding(process)),
        cgroup: cgroup_settings(linux),
        namespaces: namespace_modes(spec),
        dns: resolver.servers,
        dns_options: resolver.options,
        dns_search: resolver.search,
        extra_hosts: hosts.collect(),
        group_add: record.group_add.clone(),
        privileged: record.privileged,
        oom_score_adj: process.and_then(Process::oom_score_adj).unwrap_or(0),
        readonly_rootfs: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        security_opt: security_options(spec),
        tmpfs: tmpfs(spec),
        id_mappings: IdMappings {
            uid_map: id_map(linux, Linux::uid_mappings),
            gid_map: id_map(linux, Linux::gid_mappings),
        },
        shm_size: shm_size(spec),
        sysctls: linux.and_then(|linux| linux.sysctl().clone()).unwrap_or_default(),
        runtime: "usnea",
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        masked_paths: linux.and_then(|linux| linux.masked_paths().clone()).unwrap_or_default(),
        readonly_paths: linux.and_then(|linux| linux.readonly_paths().clone()).unwrap_or_default(),
        init: spec.annotations().as_ref().is_some_and(|all| all.contains_key(RUN_INIT)),
        devices: devices(spec),
        ulimits: ulimits(process),
        limits: limits(linux.and_then(|linux| linux.resources().as_ref())),
        ..HostConfig::default()
    }
}

fn namespace_modes(spec: &Spec) -> NamespaceModes {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().clone()).unwrap_or_default();
    let mode = |kind: LinuxNamespaceType| {
        let namespace = namespaces.iter().find(|namespace| namespace.typ() == kind);
        match namespace.map(|namespace| namespace.path().as_deref().map(JoinTarget::of_path)) {
            None => "host".to_owned(),
            Some(None) => "private".to_owned(),
            Some(Some(target)) => target.to_string(),
        }
    };
    let cgroup_mode = mode(LinuxNamespaceType::Cgroup);
    NamespaceModes {
        cgroupns_mode: cgroup_mode.clone(),
        cgroup_mode,
        ipc_mode: match mode(LinuxNamespaceType::Ipc) {
            word if word == "private" && !has_shared_memory(spec) => "none".to_owned(),
            word => word,
        },
        pid_mode: mode(LinuxNamespaceType::Pid),
        uts_mode: mode(LinuxNamespaceType::Uts),
        userns_mode: "private".to_owned(),
    }
}

fn has_shared_memory(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|mount| mount.destination() == Path::new("/dev/shm"))
}

fn cgroup_settings(linux: Option<&Linux>) -> CgroupSettings {
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    CgroupSettings {
        cgroup_manager: path.map_or("none", |_| host::cgroup::manager().0),
        cgroup: String::new(),
        cgroups: if path.is_some() { "default" } else { "disabled" },
        cgroup_parent: cgroup_parent(linux),
    }
}

fn bounding(process: Option<&Process>) -> Vec<String> {
    let capabilities = process.and_then(|process| process.capabilities().clone());
    let bounding = capabilities.and_then(|all| all.bounding().clone()).unwrap_or_default();
    let mut bounding: Vec<String> = bounding.iter().map(ToString::to_string).collect();
    bounding.sort();
    bounding
}

/// Returns the capabilities as docker shows them: the values of the options, and none for `--privileged` alone.
fn capabilities(record: &Record, bounding: Vec<String>) -> CapabilityChanges {
    let is_asked = record.privileged || !(record.cap_add.is_empty() && record.cap_drop.is_empty());
    match is_asked {
        true => CapabilityChanges {
            cap_add: record.cap_add.clone(),
            cap_drop: record.cap_drop.clone(),
            capabilities: bounding,
        },
        // A record of an older version has no options.
        false => capability_changes(bounding),
    }
}

/// Returns the capabilities beyond the default set, and those missing from it, in podman's form: with `CAP_`.
fn capability_changes(bounding: Vec<String>) -> CapabilityChanges {
    let mut default = security::default_capabilities();
    default.iter_mut().for_each(|name| *name = name.trim_start_matches("CAP_").to_owned());
    default.sort();
    let less = |all: &[String], others: &[String]| -> Vec<String> {
        all.iter().filter(|one| !others.contains(one)).map(|one| format!("CAP_{one}")).collect()
    };
    CapabilityChanges {
        cap_add: less(&bounding, &default),
        cap_drop: less(&default, &bounding),
        capabilities: bounding,
    }
}

fn cgroup_parent(linux: Option<&Linux>) -> String {
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let parent = path.and_then(|path| path.parent()).filter(|parent| *parent != Path::new(""));
    parent.map(|parent| parent.display().to_string()).unwrap_or_default()
}

/// Returns the values of `--security-opt`, derived from the config. Masked paths are left out: they have a field of
/// their own.
fn security_options(spec: &Spec) -> Vec<String> {
    let process = spec.process().as_ref();
    let is_on = process.and_then(Process::no_new_privileges).unwrap_or(false);
    let mut all = Vec::new();
    let filter = security::seccomp::source_of(spec).filter(|it| *it != SeccompSource::Builtin);
    all.extend(filter.map(|it| format!("seccomp={it}")));
    all.extend(is_on.then(|| "no-new-privileges".to_owned()));
    let profile = process.and_then(|process| process.apparmor_profile().as_ref());
    all.extend(profile.map(|profile| format!("apparmor={profile}")));
    let sysctls = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    let limit = sysctls.and_then(|all| all.get("user.max_user_namespaces"));
    all.extend(limit.map(|_| "no-userns".to_owned()));
    let rules = LandlockRules::of_config(spec).ok().flatten();
    all.extend(rules.map(|rules| match rules == LandlockRules::of_root() {
        true => "landlock=on".to_owned(),
        false => "landlock=rules".to_owned(),
    }));
    all.extend(proc_options(spec).map(|options| format!("proc-opts={options}")));
    all
}

/// Returns the mount options of /proc, without the three that every container has.
fn proc_options(spec: &Spec) -> Option<String> {
    let mut mounts = spec.mounts().iter().flatten();
    let proc = mounts.find(|mount| mount.typ().as_deref() == Some("proc"))?;
    let options: Vec<&str> = proc.options().iter().flatten().skip(3).map(String::as_str).collect();
    (!options.is_empty()).then(|| options.join(","))
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

/// Returns the devices. They are bind mounts of device files of the host: an ordinary user may not make device files.
fn devices(spec: &Spec) -> Vec<DeviceDocument> {
    let mounts = spec.mounts().iter().flatten();
    let bound = mounts.filter(|mount| {
        let source = mount.source().as_ref();
        mount.destination().starts_with("/dev")
            && source.is_some_and(|source| source.starts_with("/dev"))
            && mount.options().iter().flatten().any(|option| option.ends_with("bind"))
    });
    let device = |mount: &Mount| DeviceDocument {
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

fn ulimits(process: Option<&Process>) -> Vec<UlimitDocument> {
    let limits = process.into_iter().flat_map(|process| process.rlimits().iter().flatten());
    let limit = |limit: &oci_spec::runtime::PosixRlimit| UlimitDocument {
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

fn binds(spec: &Spec, volumes: &[MountedVolume]) -> Vec<String> {
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

fn limits(resources: Option<&LinuxResources>) -> ResourceLimits {
    let resources = resources.cloned().unwrap_or_default();
    let memory =
        |of: fn(&LinuxMemory) -> Option<i64>| resources.memory().as_ref().and_then(of).unwrap_or(0);
    let cpu = resources.cpu().clone().unwrap_or_default();
    let list = |of: fn(&LinuxCpu) -> &Option<String>| of(&cpu).clone().unwrap_or_default();
    let io = resources.block_io().clone().unwrap_or_default();
    let rates =
        |of: fn(&LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>| -> Vec<BlockDeviceRate> {
            let rate = |device: &LinuxThrottleDevice| BlockDeviceRate {
                path: device_name(device),
                rate: device.rate(),
            };
            of(&io).iter().flatten().map(rate).collect()
        };
    let (quota, period) = (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0));
    ResourceLimits {
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
        ..ResourceLimits::default()
    }
}

fn nano_cpus(quota: i64, period: u64) -> i64 {
    let period = i128::from(period);
    match quota > 0 && period > 0 {
        true => i64::try_from(i128::from(quota) * 1_000_000_000 / period).unwrap_or(i64::MAX),
        false => 0,
    }
}

/// Returns the disk's path (`/dev/sda`), or `MAJOR:MINOR` for a missing disk.
fn device_name(device: &LinuxThrottleDevice) -> String {
    let (major, minor) = (device.major(), device.minor());
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
    fn capabilities_are_shown_as_changes_of_the_default() {
        let mut bounding = security::default_capabilities();
        bounding.iter_mut().for_each(|name| *name = name.trim_start_matches("CAP_").to_owned());
        let changes = capability_changes(bounding.clone());
        assert!(changes.cap_add.is_empty() && changes.cap_drop.is_empty());
        bounding.retain(|name| name != "CHOWN");
        bounding.push("SYS_PTRACE".to_owned());
        let changes = capability_changes(bounding);
        assert_eq!(
            (&*changes.cap_add, &*changes.cap_drop),
            (&["CAP_SYS_PTRACE".to_owned()][..], &["CAP_CHOWN".to_owned()][..])
        );
    }
}
