//! The default sandbox beside docker's and podman's: capabilities, hidden and read-only paths, devices, mounts and
//! namespaces. Each difference is in a table with its reason; one that is not fails the test, and so does a reason
//! without its difference.
//!
//! docker's side is data of its source (moby, daemon/pkg/oci/defaults.go and caps/defaults.go, 28.x). podman's is the
//! config.json that podman hands to its runtime here; ours is what the container itself sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::stocked::Stocked;
use crate::support::{Place, need, need_that, text};

/// A property of a sandbox, such as `hides /proc/kcore`.
type Sandbox = BTreeSet<String>;

const DOCKER: &[(&str, &str)] = &[
    (
        "capability",
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT \
         KILL AUDIT_WRITE",
    ),
    (
        "hides",
        "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
         /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware",
    ),
    ("read-only", "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
    ("device", "null zero full random urandom tty"),
    ("namespace", "mount network uts pid ipc cgroup"),
    ("nosuid", "/proc /dev /dev/pts /sys /dev/mqueue /dev/shm"),
    ("nodev", "/proc /sys /dev/mqueue /dev/shm"),
    ("noexec", "/proc /dev/pts /sys /dev/mqueue /dev/shm"),
    ("mount read-only", "/sys"),
];

/// Differences from docker: `+` what we have and docker has not, `-` the reverse.
const FROM_DOCKER: &[(&str, &str)] = &[
    ("+ namespace user", "without root there is no container without it"),
    ("+ namespace time", "boot times of the host are hidden where the kernel can (5.6)"),
];

/// Differences from podman (4.3 to 5.x).
const FROM_PODMAN: &[(&str, &str)] = &[
    (
        "+ capability AUDIT_WRITE",
        "docker's set; it reaches the kernel's audit only from the first user namespace",
    ),
    ("+ capability MKNOD", "docker's set; in a user namespace it makes no device"),
    (
        "+ capability NET_RAW",
        "docker's set, for ping; it reaches the container's own network alone",
    ),
    ("+ hides /proc/asound", "docker's list; podman makes it read-only"),
    ("+ hides /proc/interrupts", "docker's list: the times of interrupts tell what others type"),
    ("+ hides /sys/devices/virtual/powercap", "docker's list; podman has it since 4.7"),
    ("- hides /sys/dev/block", "docker shows it; the devices in it cannot be opened"),
    (
        "- hides /sys/fs/selinux",
        "docker shows it; the folder is empty in a sysfs of a user namespace",
    ),
    ("- read-only /proc/asound", "docker hides it, which is stricter"),
    ("- noexec /dev", "docker's options of /dev: some programs map its files executable"),
    ("+ namespace user", "podman makes it before its runtime, which is not told"),
    ("+ namespace cgroup", "podman leaves it out on cgroup version 1"),
    ("+ namespace time", "boot times of the host are hidden where the kernel can (5.6)"),
];

/// Differences that depend on the machine or on podman's version: a reason for each that may be there or not.
const MAY_DIFFER: &[&str] =
    &["+ hides /sys/devices/virtual/powercap", "+ namespace cgroup", "+ namespace time"];

fn of_table(table: &[(&str, &str)]) -> Sandbox {
    let lines = table.iter().flat_map(|(kind, names)| {
        names.split_whitespace().map(move |name| format!("{kind} {name}"))
    });
    lines.collect()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The properties of a sandbox that a runtime is asked for.
fn of_config(config: &Value) -> Sandbox {
    let mut all = Sandbox::new();
    let linux = &config["linux"];
    let capabilities = strings(&config["process"]["capabilities"]["bounding"]);
    all.extend(capabilities.map(|name| format!("capability {}", name.trim_start_matches("CAP_"))));
    all.extend(strings(&linux["maskedPaths"]).map(|path| format!("hides {path}")));
    all.extend(strings(&linux["readonlyPaths"]).map(|path| format!("read-only {path}")));
    // The runtime specification's own, which no config lists.
    all.extend(DOCKER[3].1.split(' ').map(|name| format!("device {name}")));
    for namespace in linux["namespaces"].as_array().into_iter().flatten() {
        all.insert(format!("namespace {}", namespace["type"].as_str().unwrap_or_default()));
    }
    for mount in config["mounts"].as_array().into_iter().flatten() {
        let place = mount["destination"].as_str().unwrap_or_default();
        let options: Vec<&str> = strings(&mount["options"]).collect();
        all.extend(of_mount(place, &options));
    }
    all
}

/// The properties of one of the system's mounts.
fn of_mount(place: &str, options: &[&str]) -> Vec<String> {
    let is_systems =
        ["/proc", "/dev", "/dev/pts", "/sys", "/dev/mqueue", "/dev/shm"].contains(&place);
    let names =
        [("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("ro", "mount read-only")];
    let has = names.iter().filter(|(option, _)| is_systems && options.contains(option));
    has.map(|(_, name)| format!("{name} {place}")).collect()
}

/// Sandbox of our container, as it sees it. Hidden paths that this kernel has not come from its config.
fn ours(place: &Place) -> Sandbox {
    let script = "grep CapBnd: /proc/self/status; cat /proc/self/mountinfo; \
                  for name in /dev/*; do [ -L $name ] || [ ! -c $name ] || echo device $name; done; \
                  for kind in /proc/self/ns/*; do echo namespace $kind $(readlink $kind); done";
    let ran = place.run(&[], script);
    let mut seen = Sandbox::new();
    let mut hosts = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/ns").expect("namespaces").flatten() {
        let target = fs::read_link(entry.path()).expect("a namespace");
        hosts.insert(entry.file_name(), target);
    }
    for line in ran.works().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["CapBnd:", mask] => {
                let mask = u64::from_str_radix(mask, 16).expect("a mask");
                let names = usnea::capability::IN_KERNEL_ORDER.iter().enumerate();
                let held = names.filter(|(number, _)| mask & (1 << number) != 0);
                seen.extend(held.map(|(_, name)| format!("capability {name}")));
            }
            ["device", path] => {
                seen.insert(format!("device {}", path.trim_start_matches("/dev/")));
            }
            ["namespace", path, target] => {
                let kind = path.trim_start_matches("/proc/self/ns/");
                let host = hosts.get(std::ffi::OsStr::new(kind));
                if host.is_some_and(|host| host.to_str() != Some(target)) {
                    let kind = match kind {
                        "mnt" => "mount",
                        "net" => "network",
                        kind => kind,
                    };
                    seen.insert(format!("namespace {kind}"));
                }
            }
            [_, _, _, root, target, options, ..] => {
                let options: Vec<&str> = options.split(',').collect();
                seen.extend(of_mount(target, &options));
                let is_guarded = target.starts_with("/proc/") || target.starts_with("/sys/");
                let is_hidden = root == "/null" || line.contains(" - tmpfs masked ");
                if is_guarded && is_hidden {
                    seen.insert(format!("hides {target}"));
                } else if is_guarded && options.contains(&"ro") {
                    seen.insert(format!("read-only {target}"));
                }
            }
            _ => panic!("{line}"),
        }
    }
    seen.retain(|line| !line.ends_with("_for_children"));
    let config = place.usnea(&["spec", &place.image(), "true"]);
    let config: Value = serde_json::from_str(config.works()).expect("JSON");
    let asked = of_config(&config);
    for (kind, path) in asked.iter().filter_map(|line| line.split_once(' ')) {
        let is_path = matches!(kind, "hides" | "read-only");
        if is_path && !fs::exists(path).unwrap_or(false) {
            seen.insert(format!("{kind} {path}"));
        }
    }
    assert_eq!(seen, asked, "the container is not what its config asks for");
    // docker has one for each processor where there are any; so have we.
    seen.retain(|line| !line.ends_with("/thermal_throttle"));
    seen
}

/// Prints the differences with their reasons, and fails where a reason or a difference is missing.
fn compare(ours: &Sandbox, theirs: &Sandbox, peer: &str, table: &[(&str, &str)]) {
    let more = ours.difference(theirs).map(|line| format!("+ {line}"));
    let less = theirs.difference(ours).map(|line| format!("- {line}"));
    let mut reasons: BTreeMap<&str, &str> = table.iter().copied().collect();
    let mut unexplained = Vec::new();
    for line in more.chain(less) {
        match reasons.remove(line.as_str()) {
            Some(reason) => println!("{peer}: {line}: {reason}"),
            None => unexplained.push(line),
        }
    }
    assert!(unexplained.is_empty(), "{peer}: differences without a reason: {unexplained:#?}");
    reasons.retain(|line, _| !MAY_DIFFER.contains(line));
    assert!(reasons.is_empty(), "{peer}: reasons without their difference: {reasons:#?}");
}

#[test]
fn the_sandbox_is_docker_s_but_for_differences_with_a_reason() {
    let place = Place::new();
    compare(&ours(&place), &of_table(DOCKER), "docker", FROM_DOCKER);
}

#[test]
fn the_sandbox_is_podman_s_but_for_differences_with_a_reason() {
    if !need("podman") || !need("buildah") {
        return;
    }
    let place = Stocked::new();
    let theirs = place.place.path("theirs.json");
    let script = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --bundle ] && cp \"$2/config.json\" {}; shift; done\nexit 1\n",
        text(&theirs)
    );
    let runtime = place.place.write("runtime", script);
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).expect("executable");
    // In buildah's user namespace, so that no process of podman's stays.
    let podman = format!(
        "buildah unshare podman --root $HOME/.local/share/containers/storage --runtime {} \
         run --rm --network none --rootfs {} sh || true",
        text(&runtime),
        text(&place.place.small_root())
    );
    let said = place.shell(&podman);
    if !need_that(theirs.exists(), "a podman that runs here") {
        println!("{said:?}");
        return;
    }
    let config = fs::read_to_string(&theirs).expect("podman's config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    compare(&ours(&place.place), &of_config(&config), "podman", FROM_PODMAN);
}
