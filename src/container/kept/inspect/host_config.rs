//! docker's `HostConfig`: what the host gives a container, and what it takes from it.

use std::path::Path;

use oci_spec::runtime::{
    Linux, LinuxBlockIo, LinuxCpu, LinuxIdMapping, LinuxMemory, LinuxNamespaceType,
    LinuxThrottleDevice, Mount, Spec,
};
use serde_json::{Map, Value, json};

use super::super::super::volumes::Used;
use super::{network, of_user};
use crate::monitor::record::{LogDriver, Record};
use crate::spec::RUN_INIT;

pub(super) fn host_config(record: &Record, spec: &Spec, volumes: &[Used]) -> Value {
    let capabilities = spec.process().as_ref().and_then(|process| process.capabilities().clone());
    let bounding = capabilities.and_then(|all| all.bounding().clone()).unwrap_or_default();
    let mut bounding: Vec<String> = bounding.iter().map(ToString::to_string).collect();
    bounding.sort();
    let map = |of: fn(&Linux) -> &Option<Vec<LinuxIdMapping>>| -> Vec<String> {
        let lines = spec.linux().iter().flat_map(|linux| of(linux).iter().flatten());
        let line = |line: &LinuxIdMapping| {
            format!("{}:{}:{}", line.container_id(), line.host_id(), line.size())
        };
        lines.map(line).collect()
    };
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().clone());
    let shared = |kind: LinuxNamespaceType| {
        let is_own = namespaces.iter().flatten().any(|namespace| namespace.typ() == kind);
        if is_own { "private" } else { "host" }
    };
    let limits = spec.process().iter().flat_map(|process| process.rlimits().iter().flatten());
    let limits = limits
        .map(|limit| json!({ "Name": limit.typ(), "Soft": limit.soft(), "Hard": limit.hard() }));
    let resolver = record.network.resolver.clone().unwrap_or_default();
    let hosts = record.network.hosts.iter().flatten().map(ToString::to_string);
    let mut config = json!({
        "Binds": binds(spec, volumes),
        "NetworkMode": record.network.word(),
        "PortBindings": network::ports(&record.network),
        "Dns": resolver.servers,
        "DnsOptions": resolver.options,
        "DnsSearch": resolver.search,
        "ExtraHosts": hosts.collect::<Vec<_>>(),
        "LogConfig": { "Type": log_driver(record.log.driver), "Config": log_options(record) },
        "RestartPolicy": { "Name": record.restart.name(), "MaximumRetryCount": record.restart.attempts() },
        "AutoRemove": record.auto_remove,
        "ReadonlyRootfs": spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        "Capabilities": bounding,
        "UsernsMode": "private",
        "IDMappings": { "UidMap": map(|linux| linux.uid_mappings()), "GidMap": map(|linux| linux.gid_mappings()) },
        "CgroupnsMode": shared(LinuxNamespaceType::Cgroup),
        "IpcMode": shared(LinuxNamespaceType::Ipc),
        "PidMode": shared(LinuxNamespaceType::Pid),
        "UTSMode": shared(LinuxNamespaceType::Uts),
        "OomScoreAdj": spec.process().as_ref().and_then(|process| process.oom_score_adj()).unwrap_or(0),
        "Ulimits": limits.collect::<Vec<_>>(),
        "Init": spec.annotations().as_ref().is_some_and(|all| all.contains_key(RUN_INIT)),
        "Privileged": false,
    });
    if let (Some(all), Some(limits)) = (config.as_object_mut(), resources(spec).as_object_mut()) {
        all.append(limits);
    }
    config
}

fn log_driver(driver: LogDriver) -> &'static str {
    match driver {
        LogDriver::File => "file",
        LogDriver::Journald => "journald",
        LogDriver::None => "none",
        LogDriver::Passthrough => "passthrough",
    }
}

fn log_options(record: &Record) -> Value {
    let mut options = Map::new();
    let log = &record.log;
    options.extend(log.max_size.map(|size| ("max-size".to_owned(), json!(size.to_string()))));
    options.extend(log.max_file.map(|files| ("max-file".to_owned(), json!(files.to_string()))));
    options.extend(log.tag.as_ref().map(|tag| ("tag".to_owned(), json!(tag))));
    Value::Object(options)
}

fn binds(spec: &Spec, volumes: &[Used]) -> Value {
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

/// The limits, as `update` changes them too. docker's zero: none.
fn resources(spec: &Spec) -> Value {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    let resources = resources.unwrap_or_default();
    let memory =
        |of: fn(&LinuxMemory) -> Option<i64>| resources.memory().as_ref().and_then(of).unwrap_or(0);
    let cpu = resources.cpu().clone().unwrap_or_default();
    let list = |of: fn(&LinuxCpu) -> &Option<String>| of(&cpu).clone().unwrap_or_default();
    let io = resources.block_io().clone().unwrap_or_default();
    let rates = |of: fn(&LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>| -> Vec<Value> {
        let rate = |device: &LinuxThrottleDevice| {
            let number = (device.major(), device.minor());
            json!({ "Path": device_name(number), "Rate": device.rate() })
        };
        of(&io).iter().flatten().map(rate).collect()
    };
    json!({
        "Memory": memory(|memory| memory.limit()),
        "MemorySwap": memory(|memory| memory.swap()),
        "MemoryReservation": memory(|memory| memory.reservation()),
        "CpuShares": cpu.shares().unwrap_or(0),
        "CpuQuota": cpu.quota().unwrap_or(0),
        "CpuPeriod": cpu.period().unwrap_or(0),
        "CpusetCpus": list(|cpu| cpu.cpus()),
        "CpusetMems": list(|cpu| cpu.mems()),
        "PidsLimit": resources.pids().as_ref().map_or(0, |pids| pids.limit()),
        "BlkioWeight": io.weight().unwrap_or(0),
        "BlkioDeviceReadBps": rates(|io| io.throttle_read_bps_device()),
        "BlkioDeviceWriteBps": rates(|io| io.throttle_write_bps_device()),
        "BlkioDeviceReadIOps": rates(|io| io.throttle_read_iops_device()),
        "BlkioDeviceWriteIOps": rates(|io| io.throttle_write_iops_device()),
        "CgroupConf": resources.unified().clone().unwrap_or_default(),
    })
}

/// `/dev/sda`; the numbers, where the disk is gone.
fn device_name((major, minor): (i64, i64)) -> String {
    let name = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
    let name = name.ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.map_or_else(
        || format!("{major}:{minor}"),
        |name| Path::new("/dev").join(name).display().to_string(),
    )
}
