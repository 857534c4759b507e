//! Checks of config.json before any process is made: contradictions, and settings that need root. Each error names the
//! JSON path.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Process, Spec};

use crate::error::Result;
use crate::fail;
use crate::ids::{Id, IdLevel, IdMaps};
use crate::spec::Sysctl;

/// Checks a config. Errors: a contradiction, or a setting that this machine or an ordinary user cannot apply.
pub fn check(spec: &Spec) -> Result<()> {
    if spec.annotations().iter().flatten().any(|(name, _)| name.is_empty()) {
        fail!(Invalid: "config.json: annotations: an empty name");
    }
    if let Some(process) = spec.process() {
        check_process(process)?;
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check_lines(&format!("mounts[{index}].uidMappings"), mount.uid_mappings())?;
        check_lines(&format!("mounts[{index}].gidMappings"), mount.gid_mappings())?;
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    let kinds = namespace_kinds(linux)?;
    for (name, is_set) in
        [("hostname", spec.hostname().is_some()), ("domainname", spec.domainname().is_some())]
    {
        if is_set && !kinds.contains(&LinuxNamespaceType::Uts) {
            fail!(Invalid: "config.json: {name}: without a UTS namespace in linux.namespaces");
        }
    }
    refuse_root_settings(linux)?;
    check_maps(linux)?;
    check_time(linux, &kinds)?;
    check_sysctl(linux, &kinds)?;
    let lists = [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())];
    for (name, list) in lists {
        for (index, path) in list.iter().flatten().enumerate() {
            if !Path::new(path).is_absolute() {
                fail!(Invalid: "config.json: linux.{name}[{index}]: '{path}' is not absolute");
            }
        }
    }
    Ok(())
}

fn check_process(process: &Process) -> Result<()> {
    if !process.cwd().is_absolute() {
        fail!(Invalid: "config.json: process.cwd: '{}' is not absolute", process.cwd().display());
    }
    let mut seen = BTreeSet::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let name = limit.typ().to_string();
        if limit.soft() > limit.hard() {
            fail!(Invalid: "config.json: process.rlimits[{index}].soft: higher than hard");
        }
        if !seen.insert(name.clone()) {
            fail!(Invalid: "config.json: process.rlimits[{index}].type: a second {name}");
        }
    }
    let apparmor = process.apparmor_profile().as_deref().unwrap_or_default();
    let is_on = || {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        enabled.is_ok_and(|text| text.starts_with(b"Y"))
    };
    if !apparmor.is_empty() && !is_on() {
        fail!(Refused: "config.json: process.apparmorProfile: AppArmor is not on in this kernel");
    }
    refuse_without_selinux("process.selinuxLabel", process.selinux_label())
}

fn refuse_without_selinux(place: &str, label: &Option<String>) -> Result<()> {
    let is_asked = label.as_ref().is_some_and(|label| !label.is_empty());
    if is_asked && !Path::new("/sys/fs/selinux/enforce").exists() {
        fail!(Refused: "config.json: {place}: SELinux is not on in this kernel");
    }
    Ok(())
}

/// Returns the kinds of the namespaces. Errors: two namespaces of one kind; a relative path.
fn namespace_kinds(linux: &Linux) -> Result<HashSet<LinuxNamespaceType>> {
    let mut kinds = HashSet::new();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        if !kinds.insert(namespace.typ()) {
            let kind = namespace.typ().to_string();
            fail!(Invalid: "config.json: linux.namespaces[{index}].type: a second {kind} namespace");
        }
        if let Some(path) = namespace.path()
            && !path.is_absolute()
        {
            let path = path.display();
            fail!(Invalid: "config.json: linux.namespaces[{index}].path: '{path}' is not absolute");
        }
    }
    Ok(kinds)
}

fn refuse_root_settings(linux: &Linux) -> Result<()> {
    if linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
        fail!(Refused: "config.json: linux.netDevices: moving a device of the host needs root");
    }
    if linux.intel_rdt().is_some() {
        fail!(Refused: "config.json: linux.intelRdt: needs root");
    }
    let personality = linux.personality().as_ref().and_then(|one| one.flags().as_ref());
    if personality.is_some_and(|flags| !flags.is_empty()) {
        fail!(Invalid: "config.json: linux.personality.flags: the specification has no flags");
    }
    refuse_without_selinux("linux.mountLabel", linux.mount_label())
}

fn check_maps(linux: &Linux) -> Result<()> {
    let lists = [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())];
    for (name, list) in lists {
        check_lines(&format!("linux.{name}"), list)?;
    }
    let [(one, uids), (other, gids)] = lists;
    let is_empty = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
    match (is_empty(uids), is_empty(gids)) {
        (false, true) => fail!(Invalid: "config.json: linux.{other}: missing beside linux.{one}"),
        (true, false) => fail!(Invalid: "config.json: linux.{one}: missing beside linux.{other}"),
        _ => Ok(()),
    }
}

/// Checks that each line of a map has IDs, and none above the last one: 4294967295 is (uid_t) -1, which is no ID.
fn check_lines(place: &str, lines: &Option<Vec<LinuxIdMapping>>) -> Result<()> {
    for (index, line) in lines.iter().flatten().enumerate() {
        if line.size() == 0 {
            fail!(Invalid: "config.json: {place}[{index}].size: no IDs");
        }
        for (field, first) in [("containerID", line.container_id()), ("hostID", line.host_id())] {
            if first.checked_add(line.size()).is_none() {
                fail!(Invalid: "config.json: {place}[{index}].{field}: the range ends above the last ID");
            }
        }
    }
    Ok(())
}

fn check_time(linux: &Linux, kinds: &HashSet<LinuxNamespaceType>) -> Result<()> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|all| !all.is_empty()) else {
        return Ok(());
    };
    if let Some(clock) =
        offsets.keys().find(|clock| !["monotonic", "boottime"].contains(&clock.as_str()))
    {
        fail!(Invalid: "config.json: linux.timeOffsets.{clock}: the clocks are monotonic and boottime");
    }
    let mut namespaces = linux.namespaces().iter().flatten();
    let is_joined =
        namespaces.any(|one| one.typ() == LinuxNamespaceType::Time && one.path().is_some());
    if !kinds.contains(&LinuxNamespaceType::Time) || is_joined {
        fail!(Invalid: "config.json: linux.timeOffsets: without a new time namespace in linux.namespaces");
    }
    Ok(())
}

/// Refuses kernel parameters that do not belong to a namespace of the container.
fn check_sysctl(linux: &Linux, kinds: &HashSet<LinuxNamespaceType>) -> Result<()> {
    for (name, value) in linux.sysctl().iter().flatten() {
        let sysctl = match format!("{name}={value}").parse::<Sysctl>() {
            Ok(sysctl) => sysctl,
            Err(reason) => fail!(Invalid: "config.json: linux.sysctl.{name}: {reason}"),
        };
        let dotted = sysctl.name.as_str();
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| dotted.starts_with(prefix));
        let kind = if begins(&["net."]) {
            LinuxNamespaceType::Network
        } else if begins(&["kernel.shm", "kernel.msg", "fs.mqueue."]) || dotted == "kernel.sem" {
            LinuxNamespaceType::Ipc
        } else if dotted == "kernel.domainname" {
            LinuxNamespaceType::Uts
        } else if begins(&["user."]) {
            LinuxNamespaceType::User
        } else {
            fail!(Refused: "config.json: linux.sysctl.{name}: not namespaced, it would be set for the whole machine");
        };
        if !kinds.contains(&kind) {
            let kind = kind.to_string();
            fail!(Invalid: "config.json: linux.sysctl.{name}: without a {kind} namespace in linux.namespaces");
        }
    }
    Ok(())
}

/// Checks that the IDs of the process are mapped. `maps`: those of the container's user namespace.
pub fn check_ids<Inner: IdLevel, Outer: IdLevel>(
    process: &Process,
    maps: &IdMaps<Inner, Outer>,
) -> Result<()> {
    let user = process.user();
    if !maps.uids.has(Id::new(user.uid())) {
        fail!(Invalid: "config.json: process.user.uid: {} is not in linux.uidMappings", user.uid());
    }
    if !maps.gids.has(Id::new(user.gid())) {
        fail!(Invalid: "config.json: process.user.gid: {} is not in linux.gidMappings", user.gid());
    }
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        if !maps.gids.has(Id::new(*gid)) {
            fail!(Invalid: "config.json: process.user.additionalGids[{index}]: {gid} is not in linux.gidMappings");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn error(config: Value) -> String {
        let mut whole = json!({
            "ociVersion": "1.2.0",
            "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["true"] },
        });
        merge(&mut whole, config);
        let spec: Spec = serde_json::from_value(whole).unwrap();
        check(&spec).unwrap_err().to_string()
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn a_contradiction_is_refused_by_its_path() {
        let uts = json!([{ "type": "uts" }]);
        for (config, path) in [
            (json!({ "annotations": { "": "x" } }), "annotations"),
            (json!({ "process": { "cwd": "tmp" } }), "process.cwd"),
            (
                json!({ "process": { "rlimits": [
                    { "type": "RLIMIT_CORE", "soft": 1, "hard": 1 },
                    { "type": "RLIMIT_CORE", "soft": 1, "hard": 1 },
                ] } }),
                "process.rlimits[1].type",
            ),
            (
                json!({ "process": { "rlimits": [{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }] } }),
                "process.rlimits[0].soft",
            ),
            (json!({ "hostname": "x", "linux": {} }), "hostname"),
            (
                json!({ "domainname": "x", "linux": { "namespaces": [{ "type": "pid" }] } }),
                "domainname",
            ),
            (
                json!({ "linux": { "namespaces": [{ "type": "pid" }, { "type": "uts" }, { "type": "pid" }] } }),
                "linux.namespaces[2].type",
            ),
            (
                json!({ "linux": { "namespaces": [{ "type": "pid", "path": "proc/1/ns/pid" }] } }),
                "linux.namespaces[0].path",
            ),
            (json!({ "linux": { "netDevices": { "eth0": {} } } }), "linux.netDevices"),
            (json!({ "linux": { "intelRdt": {} } }), "linux.intelRdt"),
            (
                json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["x"] } } }),
                "linux.personality.flags",
            ),
            (
                json!({ "linux": { "uidMappings": [{ "containerID": 0, "hostID": 0, "size": 1 }] } }),
                "linux.gidMappings",
            ),
            (
                json!({ "linux": { "gidMappings": [{ "containerID": 0, "hostID": 0, "size": 0 }] } }),
                "linux.gidMappings[0].size",
            ),
            (
                json!({ "linux": { "uidMappings": [{ "containerID": 0, "hostID": 4294967295u32, "size": 2 }] } }),
                "linux.uidMappings[0].hostID",
            ),
            (
                json!({ "mounts": [{ "destination": "/", "uidMappings": [{ "containerID": 5, "hostID": 4294967290u32, "size": 6 }] }] }),
                "mounts[0].uidMappings[0].hostID",
            ),
            (
                json!({ "linux": { "gidMappings": [{ "containerID": 4294967295u32, "hostID": 0, "size": 1 }] } }),
                "linux.gidMappings[0].containerID",
            ),
            (
                json!({ "linux": { "namespaces": [{ "type": "time" }], "timeOffsets": { "realtime": {} } } }),
                "linux.timeOffsets.realtime",
            ),
            (json!({ "linux": { "timeOffsets": { "monotonic": {} } } }), "linux.timeOffsets"),
            (
                json!({ "linux": { "namespaces": uts, "sysctl": { "net.ipv4.ip_forward": "1" } } }),
                "linux.sysctl.net.ipv4.ip_forward",
            ),
            (
                json!({ "linux": { "sysctl": { "kernel.pid_max": "1" } } }),
                "linux.sysctl.kernel.pid_max",
            ),
            (json!({ "linux": { "sysctl": { "net/../vm/x": "1" } } }), "linux.sysctl.net/../vm/x"),
            (json!({ "linux": { "maskedPaths": ["/a", "b"] } }), "linux.maskedPaths[1]"),
            (json!({ "linux": { "readonlyPaths": ["a"] } }), "linux.readonlyPaths[0]"),
        ] {
            let text = error(config);
            assert!(text.starts_with(&format!("config.json: {path}: ")), "{path}: {text}");
        }
    }

    #[test]
    fn a_security_module_that_is_off_is_refused_by_the_path_that_needs_it() {
        if !Path::new("/sys/module/apparmor").exists() {
            let text = error(json!({ "process": { "apparmorProfile": "x" } }));
            assert!(text.starts_with("config.json: process.apparmorProfile: "), "{text}");
        }
        if !Path::new("/sys/fs/selinux").exists() {
            let text = error(json!({ "process": { "selinuxLabel": "x" } }));
            assert!(text.starts_with("config.json: process.selinuxLabel: "), "{text}");
            let text = error(json!({ "linux": { "mountLabel": "x" } }));
            assert!(text.starts_with("config.json: linux.mountLabel: "), "{text}");
        }
    }
}
