//! config.json of the OCI runtime specification 1.3, property by property, through the engine alone: what a property
//! does is read inside the container.
//!
//! The specification's MUSTs that concern config.json, each with its test:
//!
//! ```text
//!  1 ociVersion is SemVer; 1.x is compatible               spec::parse: a_version_is_one_of_the_first_series
//!  2 unknown properties are ignored                        spec::parse: unknown_fields_are_fine_however_deep_and_long
//!  3 a value that is invalid is an error                   spec::parse: an_error_is_a_line_that_names_the_path
//!  4 unknown capabilities are a warning                    spec::parse: an_unknown_capability_is_left_out
//!  5 annotation keys are not empty                         config_checks: a_contradiction_is_refused_by_its_path
//!  6 process.cwd is absolute                               config_checks: a_contradiction_is_refused_by_its_path
//!  7 a second rlimit of one type is an error               config_checks: a_contradiction_is_refused_by_its_path
//!  8 a second namespace of one type is an error            config_checks: a_contradiction_is_refused_by_its_path
//!  9 namespace paths are absolute                          config_checks: a_contradiction_is_refused_by_its_path
//! 10 a path to a namespace of another type is an error     a_namespace_of_another_kind_is_refused
//! 11 a namespace without a path is new                     namespaces_are_new_where_listed_and_the_hosts_where_not
//! 12 a namespace that is not listed is the runtime's       namespaces_are_new_where_listed_and_the_hosts_where_not
//! 13 root.path is a folder; relative to the bundle         a_root_that_is_no_folder_is_refused; all others
//! 14 root.readonly makes the root read-only                the_root_is_read_only_where_asked
//! 15 mounts are made in their order                        mounts_are_made_in_their_order
//! 16 a relative destination is meant from /                a_relative_path_is_taken_from_its_top
//! 17 a relative source of a bind is in the bundle          a_relative_path_is_taken_from_its_top
//! 18 mount options of runc's list take effect              options_of_mounts_take_effect
//! 19 default devices and links are there                   devices_are_there_or_refused
//! 20 linux.devices are available; one that differs is an
//!    error                                                 devices_are_there_or_refused
//! 21 process.user, umask, capabilities, rlimits,
//!    oomScoreAdj, noNewPrivileges                          the_process_has_its_attributes
//! 22 process.scheduler, ioPriority                         the_process_is_scheduled_as_asked
//! 23 linux.memoryPolicy                                    the_process_is_scheduled_as_asked
//! 24 process.terminal, consoleSize                         a_terminal_has_the_size_of_the_config
//! 25 hostname, domainname                                  names_are_set
//! 26 linux.timeOffsets                                     clocks_have_their_offsets
//! 27 linux.sysctl, of the container's namespaces alone     parameters_are_set; config_checks
//! 28 linux.rootfsPropagation                               the_root_has_its_propagation
//! 29 linux.maskedPaths, readonlyPaths                      paths_are_masked_and_read_only
//! 30 linux.personality; its flags are empty                the_process_has_its_attributes; config_checks
//! 31 linux.intelRdt, netDevices, labels: carried out or an
//!    error                                                 settings_that_need_root_are_refused_with_their_path; config_checks
//! 32 IDs that are not mapped are an error                  an_id_that_is_not_mapped_is_refused
//! 33 hooks                                                 oci_hooks
//! ```

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::library;
use crate::support::{Place, Ran, finish};

/// A config of a container with the host's programs, whose root is this user.
pub fn config(script: &str) -> Value {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let programs = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
    let programs = programs.into_iter().filter(|path| Path::new(path).exists());
    let programs = programs.map(|path| {
        json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"] })
    });
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] }),
    ];
    mounts.extend(programs);
    let namespaces = ["pid", "mount", "ipc", "uts", "network", "user"];
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", script],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "mounts": mounts,
        "linux": { "namespaces": namespaces, "uidMappings": map(uid), "gidMappings": map(gid) },
    })
}

/// Runs the bundle of a place, or explains it, with a changed config.
pub fn bundle(place: &Place, mode: &str, config: &Value) -> Ran {
    place.folder("bundle/rootfs");
    place.write("bundle/config.json", config.to_string());
    finish(Command::new(library::example()).arg(mode).arg(place.path("bundle")), "")
}

fn run(script: &str, change: impl FnOnce(&mut Value)) -> Ran {
    let mut config = config(script);
    change(&mut config);
    bundle(&Place::new(), "--bundle", &config)
}

fn add(list: &mut Value, items: &[Value]) {
    list.as_array_mut().expect("a list").extend_from_slice(items);
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

#[test]
fn a_namespace_of_another_kind_is_refused() {
    for path in ["/proc/self/ns/uts", "/etc/passwd", "/nowhere"] {
        let ran = run("true", |config| config["linux"]["namespaces"][2]["path"] = path.into());
        ran.fails_with(125, &["config.json: ", path]);
    }
}

#[test]
fn namespaces_are_new_where_listed_and_the_hosts_where_not() {
    let script = "readlink /proc/self/ns/ipc /proc/self/ns/uts";
    let host = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        link.display().to_string()
    };
    let ran = run(script, |config| {
        config["linux"]["namespaces"].as_array_mut().expect("a list").remove(2);
    });
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines[0], host("ipc"));
    assert_ne!(lines[1], host("uts"));
}

#[test]
fn a_root_that_is_no_folder_is_refused() {
    for path in ["nowhere", "/etc/passwd", "/nowhere"] {
        let ran = run("true", |config| config["root"]["path"] = path.into());
        ran.fails_with(125, &["config.json: root.path: ", path]);
    }
    run("true", |config| drop(config.as_object_mut().expect("an object").remove("root")))
        .fails_with(125, &["config.json: root: missing"]);
}

#[test]
fn the_root_is_read_only_where_asked() {
    let script = "touch /file && echo made";
    run(script, |_| {}).works();
    let ran = run(script, |config| config["root"]["readonly"] = true.into());
    assert!(ran.exits(1).is_empty() && ran.stderr.contains("Read-only"), "{ran:?}");
}

#[test]
fn mounts_are_made_in_their_order() {
    let ran = run("ls /a/b; ls /a", |config| {
        add(&mut config["mounts"], &[tmpfs("/a/b", &[]), tmpfs("/a", &[])]);
    });
    assert!(ran.exits(0).is_empty() && ran.stderr.contains("/a/b"), "{ran:?}");
    let ran = run("ls /a", |config| {
        add(&mut config["mounts"], &[tmpfs("/a", &[]), tmpfs("/a/b", &[])]);
    });
    assert_eq!(ran.works(), "b");
}

#[test]
fn a_relative_path_is_taken_from_its_top() {
    let place = Place::new();
    place.write("bundle/files/one", "of the bundle");
    let mut config = config("cat /top/one");
    add(&mut config["mounts"], &[bind("files", "top", &["rbind"])]);
    assert_eq!(bundle(&place, "--bundle", &config).works(), "of the bundle");
    add(&mut config["mounts"], &[bind("missing", "/x", &["rbind"])]);
    let index = config["mounts"].as_array().expect("a list").len() - 1;
    let path = format!("config.json: mounts[{index}].source: ");
    bundle(&place, "--bundle", &config).fails_with(125, &[&path, "bundle/missing"]);
}

#[test]
fn options_of_mounts_take_effect() {
    let place = Place::new();
    place.write("bundle/rootfs/data/one", "of the root");
    place.folder("bundle/files");
    symlink("/usr/bin/env", place.path("bundle/link")).expect("a link");
    let script = "cat /data/one; readlink /link; for at in /data /read /write /plain; do \
                  grep \" $at \" /proc/self/mountinfo | cut -d' ' -f5,6,7; done";
    let mut config = config(script);
    let options = ["tmpcopyup", "rnosuid", "noexec", "nosymfollow", "nodiratime", "rnoatime"];
    add(
        &mut config["mounts"],
        &[
            tmpfs("/data", &options),
            bind("files", "/read", &["rbind", "rro", "rnodev", "private", "loud"]),
            bind("files", "/write", &["rbind", "ro", "rrw", "unbindable"]),
            tmpfs("/plain", &["defaults", "async", "relatime", "rw", "size=64k"]),
            bind("link", "/link", &["bind", "copy-symlink"]),
        ],
    );
    let ran = bundle(&place, "--bundle", &config);
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines[0], "of the root/usr/bin/env");
    let words = "/data rw,nosuid,noexec,noatime,nodiratime,nosymfollow";
    assert!(lines[1].starts_with(words), "{ran:?}");
    assert!(lines[2].starts_with("/read ro,nodev"), "{ran:?}");
    assert!(lines[3].starts_with("/write rw,") && lines[3].ends_with("unbindable"), "{ran:?}");
    assert!(lines[4].starts_with("/plain rw,relatime"), "{ran:?}");
    for option in ["wild", "wild=1", "src-nofollow", "ridmap"] {
        let ran = run("true", |config| {
            add(&mut config["mounts"], &[bind("/usr", "/mnt", &["rbind", option])]);
        });
        let name = option.split('=').next().expect("a name");
        ran.fails_with(125, &["config.json: mounts[", "a bind mount has no option", name]);
    }
}

#[test]
fn devices_are_there_or_refused() {
    let script = "for at in null zero full random urandom tty; do test -c /dev/$at || echo $at; done; \
                  readlink /dev/fd /dev/stdin /dev/ptmx; test -p /pipe/fifo && stat -c %a /pipe/fifo; \
                  stat -c %t:%T /dev/nothing; echo x > /dev/nothing";
    let device =
        |path: &str, minor: u32| json!({ "path": path, "type": "c", "major": 1, "minor": minor });
    let ran = run(script, |config| {
        let fifo = json!({ "path": "/pipe/fifo", "type": "p", "fileMode": 0o640 });
        config["linux"]["devices"] =
            json!([device("/dev/nothing", 3), fifo, device("/dev/zero", 5)]);
    });
    assert_eq!(ran.works(), "/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n640\n1:3");
    for (device, phrase) in [
        (device("/dev/zero", 3), "linux.devices[0]: /dev/zero of every container"),
        (device("/dev/none", 4000), "linux.devices[0]: this machine has no node"),
        (device("dev/none", 3), "linux.devices[0].path: "),
        (
            json!({ "path": "/dev/null2", "type": "c", "major": 1, "minor": 3, "uid": 0 }),
            "linux.devices[0].uid: ",
        ),
    ] {
        let ran = run("true", |config| config["linux"]["devices"] = json!([device]));
        ran.fails_with(125, &["config.json: ", phrase]);
    }
}

#[test]
fn the_process_has_its_attributes() {
    let script = "umask; ulimit -c; cat /proc/self/oom_score_adj; uname -m | grep -c 64; \
                  grep '^Cap\\|^NoNewPrivs' /proc/self/status | tr -d '\\t\\n'";
    let ran = run(script, |config| {
        let process = &mut config["process"];
        process["user"]["umask"] = 0o27.into();
        process["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        process["oomScoreAdj"] = 777.into();
        process["noNewPrivileges"] = true.into();
        process["commandLine"] = "windows".into();
        process["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
        });
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    let zeros = "0".repeat(14);
    let sets = ["Inh", "Prm", "Eff"].map(|set| format!("Cap{set}:{zeros}20")).concat();
    let expected = format!("0027\n0\n777\n0\n{sets}CapBnd:{zeros}21CapAmb:{zeros}20NoNewPrivs:1");
    assert_eq!(ran.works(), expected);
}

#[test]
fn the_process_is_scheduled_as_asked() {
    let script = "chrt -p $$ | head -1; cut -d' ' -f19 /proc/self/stat; ionice -p $$";
    let change = |config: &mut Value| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    };
    let ran = run(script, change);
    let found = ran.works();
    assert!(found.ends_with("SCHED_BATCH\n7\nbest-effort: prio 6"), "{ran:?}");
    let place = Place::new();
    let mut explained = config("true");
    change(&mut explained);
    explained["process"]["oomScoreAdj"] = 10.into();
    let script = bundle(&place, "--explain", &explained);
    for line in [
        "chrt --batch --pid 0 $$",
        "renice -n 7 -p $$",
        "ionice -c 2 -n 6 -p $$",
        "choom -n 10 -p $$",
    ] {
        assert!(script.works().lines().any(|found| found == line), "{line}: {script:?}");
    }
    // Real time is for those with power over the host.
    run("true", |config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO", "priority": 1 });
    })
    .fails_with(125, &["config.json: process.scheduler: "]);
    run("true", |config| {
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_RT", "priority": 1 });
    })
    .fails_with(125, &["config.json: process.ioPriority: "]);
    if Path::new("/proc/self/numa_maps").exists() {
        let ran = run("head -1 /proc/self/numa_maps | cut -d' ' -f2", |config| {
            config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
        });
        assert_eq!(ran.works(), "bind:0");
    }
}

#[test]
fn a_terminal_has_the_size_of_the_config() {
    let ran = run("stty size", |config| {
        config["process"]["terminal"] = true.into();
        config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
        let options = ["newinstance", "ptmxmode=0666", "mode=0620"];
        let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options });
        add(&mut config["mounts"], &[devpts]);
    });
    assert_eq!(ran.works(), "33 77");
}

#[test]
fn names_are_set() {
    let ran = run("cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname", |config| {
        config["hostname"] = "one".into();
        config["domainname"] = "two".into();
    });
    assert_eq!(ran.works(), "one\ntwo");
}

#[test]
fn clocks_have_their_offsets() {
    let ran = run("cat /proc/self/timens_offsets | tr -s ' '", |config| {
        add(&mut config["linux"]["namespaces"], &[json!({ "type": "time" })]);
        config["linux"]["timeOffsets"] =
            json!({ "monotonic": { "secs": 1000 }, "boottime": { "secs": 2000, "nanosecs": 5 } });
    });
    assert_eq!(ran.works(), "monotonic 1000 0\nboottime 2000 5");
}

#[test]
fn parameters_are_set() {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax";
    let ran = run(script, |config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel/shmmax": "12345" });
    });
    assert_eq!(ran.works(), "1\n12345");
}

#[test]
fn the_root_has_its_propagation() {
    for (word, mark) in [("rshared", "shared:"), ("unbindable", "unbindable"), ("rprivate", "")] {
        let ran = run("head -1 /proc/self/mountinfo | cut -d' ' -f7-", |config| {
            config["linux"]["rootfsPropagation"] = word.into();
        });
        let marks = ran.works().split(" - ").next().expect("marks").trim_start_matches("- ");
        assert!(marks.starts_with(mark), "{word}: {ran:?}");
        assert!(!mark.is_empty() || !marks.contains("shared"), "{word}: {ran:?}");
    }
    run("true", |config| config["linux"]["rootfsPropagation"] = "wild".into())
        .fails_with(125, &["config.json: linux.rootfsPropagation: ", "wild"]);
}

#[test]
fn paths_are_masked_and_read_only() {
    let place = Place::new();
    place.write("bundle/rootfs/hidden/one", "");
    let mut config = config("ls /hidden; echo 1 > /proc/sys/net/ipv4/ip_forward");
    config["linux"]["maskedPaths"] = json!(["/hidden", "/nowhere"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let ran = bundle(&place, "--bundle", &config);
    assert_eq!(ran.stdout, "");
    assert!(ran.status != 0 && ran.stderr.contains("Read-only"), "{ran:?}");
}

#[test]
fn settings_that_need_root_are_refused_with_their_path() {
    for (name, value) in [
        ("intelRdt", json!({ "closID": "x" })),
        ("netDevices", json!({ "eth0": { "name": "eth1" } })),
    ] {
        let path = format!("config.json: linux.{name}: ");
        run("true", |config| config["linux"][name] = value).fails_with(125, &[&path, "needs root"]);
    }
}

#[test]
fn an_id_that_is_not_mapped_is_refused() {
    for (field, value) in [("uid", json!(5)), ("gid", json!(6)), ("additionalGids", json!([0, 7]))]
    {
        let path = format!("config.json: process.user.{field}");
        run("true", |config| config["process"]["user"][field] = value)
            .fails_with(125, &[&path, "is not in linux."]);
    }
}
