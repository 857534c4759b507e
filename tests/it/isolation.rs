//! The walls: namespaces, capabilities, descriptors, devices, what of /proc and /sys may be read or written, and that
//! nothing of the host can be seen.

use std::fs;

use crate::support::{Place, finish, text};

/// Docker's default set: chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw
/// sys_chroot mknod audit_write setfcap.
const DEFAULT_SET: &str = "00000000a80425fb";
const NO_CAPABILITIES: &str = "0000000000000000";

/// A line of the command's /proc/self/status.
fn status_line(place: &Place, options: &[&str], name: &str) -> String {
    let ran = place.run(options, &format!("grep ^{name}: /proc/self/status"));
    ran.works().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn capabilities_are_docker_s_default_set() {
    let place = Place::new();
    for (name, expected) in [
        ("CapEff", DEFAULT_SET),
        ("CapPrm", DEFAULT_SET),
        ("CapBnd", DEFAULT_SET),
        ("CapInh", NO_CAPABILITIES),
        ("CapAmb", NO_CAPABILITIES),
    ] {
        assert_eq!(status_line(&place, &[], name), expected, "{name}");
    }
}

#[test]
fn capabilities_are_added_and_dropped() {
    let place = Place::new();
    for (options, expected) in [
        (&["--cap-drop", "ALL"][..], 0_u32),
        (&["--cap-drop", "all", "--cap-add", "chown"], 1),
        (&["--cap-drop", "CAP_CHOWN"], 0xa804_25fa),
        (&["--cap-add", "SYS_ADMIN"], 0xa824_25fb),
        (&["--cap-add", "CAP_NET_ADMIN", "--cap-drop", "NET_RAW"], 0xa804_15fb),
    ] {
        assert_eq!(
            status_line(&place, options, "CapEff"),
            format!("{expected:016x}"),
            "{options:?}"
        );
        assert_eq!(
            status_line(&place, options, "CapBnd"),
            format!("{expected:016x}"),
            "{options:?}"
        );
    }
    let all = status_line(&place, &["--cap-add", "ALL"], "CapEff");
    let host = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("cap_last_cap");
    let count: u32 = host.trim().parse().expect("a number");
    assert_eq!(all, format!("{:016x}", (1_u64 << (count + 1)) - 1));
}

#[test]
fn no_new_privileges_is_set_on_request_alone() {
    let place = Place::new();
    assert_eq!(status_line(&place, &[], "NoNewPrivs"), "0");
    assert_eq!(status_line(&place, &["--security-opt", "no-new-privileges"], "NoNewPrivs"), "1");
    assert_eq!(
        status_line(&place, &["--security-opt", "no-new-privileges:true"], "NoNewPrivs"),
        "1"
    );
}

#[test]
fn the_namespaces_are_not_the_host_s() {
    let place = Place::new();
    for name in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        assert_ne!(namespace(&place, &[], name), host_namespace(name), "{name}");
    }
}

#[test]
fn a_namespace_is_the_host_s_when_asked_for() {
    let place = Place::new();
    for (options, name) in [
        (["--network", "host"], "net"),
        (["--pid", "host"], "pid"),
        (["--ipc", "host"], "ipc"),
        (["--uts", "host"], "uts"),
    ] {
        assert_eq!(namespace(&place, &options, name), host_namespace(name), "{options:?}");
    }
    for options in [["--pid", "private"], ["--network", "none"]] {
        assert_ne!(namespace(&place, &options, "pid"), host_namespace("pid"), "{options:?}");
    }
}

fn namespace(place: &Place, options: &[&str], name: &str) -> String {
    let ran = place.run(options, &format!("readlink /proc/self/ns/{name}"));
    assert!(ran.works().starts_with(&format!("{name}:[")), "{ran:?}");
    ran.works().to_owned()
}

fn host_namespace(name: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace");
    text(&link).to_owned()
}

#[test]
fn only_the_container_s_processes_are_seen() {
    let place = Place::new();
    let ran = place.run(&[], "sleep 50 & ls -d /proc/[0-9]*");
    let seen = ran.works().lines().count();
    assert!((2..=4).contains(&seen), "{ran:?}");
}

#[test]
fn the_loopback_is_up() {
    let place = Place::new();
    let ran = place.run(&[], "ls /sys/class/net; ip addr show lo");
    assert!(ran.works().lines().any(|line| line == "lo"), "{ran:?}");
    assert!(ran.stdout.contains("UP") && ran.stdout.contains("127.0.0.1/8"), "{ran:?}");
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let place = Place::new();
    let place_of_secret = place.write("secret", "secret");
    let words = place.arguments(&[], &["ls", "/proc/self/fd"]);
    let ran = finish(&mut with_descriptors(&place, &words, text(&place_of_secret)), "");
    // ls itself has the folder open while it reads it.
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn descriptors_are_preserved_as_many_as_asked() {
    let place = Place::new();
    let secret = place.write("secret", "content");
    let words = place.arguments(&["--preserve-fds", "1"], &["sh", "-c", "cat <&3; cat <&9"]);
    let ran = finish(&mut with_descriptors(&place, &words, text(&secret)), "");
    assert_eq!(ran.stdout, "content");
    assert_ne!(ran.status, 0, "descriptor 9 got in too: {ran:?}");
}

/// usnea under a shell that leaves `file` open as 3 and 9.
fn with_descriptors(place: &Place, words: &[String], file: &str) -> std::process::Command {
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", "exec 3<\"$0\" 9<\"$0\"; exec \"$@\"", file])
        .arg(crate::support::binary())
        .args(words);
    place.prepare(&mut command);
    command
}

#[test]
fn the_devices_are_the_usual_ones() {
    let place = Place::new();
    for (device, numbers) in [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ] {
        let ran = place.run(&[], &format!("stat -c '%t:%T %F' /dev/{device}"));
        assert_eq!(ran.works(), format!("{numbers} character special file"), "{device}");
    }
    let script = "echo x > /dev/null && test -c /dev/ptmx && test -d /dev/pts && touch /dev/shm/x && test -d /dev/mqueue \
                  && for link in fd stdin stdout stderr; do readlink /dev/$link; done";
    let links = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    assert_eq!(place.run(&[], script).works().lines().collect::<Vec<_>>(), links);
    let all = place.run(&[], "ls /dev");
    for name in all.works().lines() {
        let usual = "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert!(usual.split(' ').any(|known| known == name), "/dev/{name}");
    }
}

#[test]
fn no_device_can_be_made() {
    let place = Place::new();
    let off = ["--cap-add", "ALL", "--root-emulation", "off"];
    let ran = place.run(&off, "mknod /tmp/null c 1 3 && echo x > /tmp/null");
    assert_ne!(ran.status, 0, "{ran:?}");
    // Root emulation puts a file in its place, which keeps what is written to it.
    let on = ["--cap-add", "ALL", "--root-emulation", "seccomp"];
    let ran = place
        .run(&on, "mknod /tmp/null c 1 3; echo x > /tmp/null; test -f /tmp/null && cat /tmp/null");
    assert_eq!(ran.works(), "x");
}

#[test]
fn files_with_secrets_of_the_kernel_cannot_be_read() {
    let place = Place::new();
    // An empty file or folder stands in front of each, where the kernel has it at all.
    let script = "for file in /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/sched_debug; do \
                    test ! -e $file || head -c 1 $file; done; \
                  for folder in /proc/acpi /proc/scsi /sys/firmware; do test ! -e $folder || ls -A $folder; done; echo tried";
    let ran = place.run(&["--cap-add", "ALL"], script);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "tried\n"), "{ran:?}");
}

#[test]
fn files_that_control_the_kernel_cannot_be_written() {
    let place = Place::new();
    let script = "for file in /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger; do \
                    if test -e $file; then (echo 1 > $file) 2>&1 || echo refused; else echo refused; fi; done";
    let ran = place.run(&["--cap-add", "ALL"], script);
    assert_eq!(ran.stdout.matches("refused").count(), 3, "{ran:?}");
    for folder in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"] {
        let script = format!("test ! -d {folder} || grep ' {folder} ' /proc/self/mountinfo");
        let ran = place.run(&[], &script);
        let mount = ran.works();
        assert!(
            mount.is_empty() || mount.split(' ').nth(5).is_some_and(|o| o.starts_with("ro")),
            "{folder}: {mount}"
        );
    }
}

#[test]
fn the_old_root_is_gone() {
    let place = Place::new();
    let ran = place.run(&[], "cat /proc/self/mountinfo");
    let ours = ["/", "/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    assert!(ran.works().contains(" /proc "), "{ran:?}");
    for line in ran.stdout.lines() {
        let point = line.split(' ').nth(4).expect("a mount point");
        let below = ["/proc/", "/sys/", "/dev/"].iter().any(|top| point.starts_with(top));
        assert!(ours.contains(&point) || below, "{line}");
    }
    // No way up: neither by dots, nor by the working folder of process 1.
    let host_only = text(&place.path("root")).to_owned();
    let script = format!(
        "ls -d /../../..{host_only} /proc/1/cwd{host_only} /proc/1/root{host_only}; echo tried"
    );
    let ran = place.run(&[], &script);
    assert_eq!(ran.stdout, "tried\n", "{ran:?}");
}

#[test]
fn the_command_leads_a_session_of_its_own() {
    let place = Place::new();
    // Fields 5 and 6 of stat(5): the process group and the session. Process 1 leads both.
    let ran = place.run(&[], "awk '{ print $5, $6 }' /proc/1/stat");
    assert_eq!(ran.works(), "1 1");
}
