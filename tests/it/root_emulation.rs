//! `--root-emulation`: other users, groups and owners for a user who has none. The tests with a Debian root are in
//! `debian`.

use std::path::Path;

use crate::support::{Place, Started, need_no_subids, text};

/// What is remembered of a file, as it is on disk.
fn remembered(path: &Path) -> Option<String> {
    let mut room = [0u8; 256];
    let length = rustix::fs::getxattr(path, "user.containers.override_stat", &mut room).ok()?;
    Some(String::from_utf8_lossy(&room[..length]).into_owned())
}

const SHOWN: [&str; 2] = ["--root-emulation", "owners"];

#[test]
fn a_root_without_other_ids_gives_files_away() {
    if !need_no_subids() {
        return;
    }
    let place = Place::new();
    let script =
        "touch f && chown 33:34 f && chown -h 5 /bin/sh && mknod n c 1 3 && test -e n && echo done";
    assert_eq!(place.run(&[], script).works(), "done");
    let off = place.run(&["--root-emulation", "off"], "touch f; chown 33:34 f");
    assert_eq!(off.status, 1, "{off:?}");
    assert!(off.stderr.contains("Invalid argument"), "{off:?}");
}

#[test]
fn owners_are_shown_to_every_process() {
    let place = Place::new();
    let script = "touch f && chown 33:34 f && chmod 4751 f && mkdir d && chown 7 d && \
        stat -c %u:%g:%a f && ln f g && (stat -c %u:%g:%a ./g) && mv g d/h && stat -c %u:%g d d/h && \
        chown 0:0 f && chmod 600 d/h && stat -c %u:%g:%a f";
    let ran = place.run(&SHOWN, script);
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines, ["33:34:4751", "33:34:4751", "7:0", "33:34", "0:0:600"]);
}

#[test]
fn owners_stay_with_the_files() {
    let place = Place::new();
    let script = "echo x > f; chown 33:34 f; chmod 640 f; mkdir d; chown 5:6 d; mknod n b 8 1; chown 0:0 /etc/passwd";
    for mode in ["seccomp", "owners"] {
        place.run(&["--rw-root", "--root-emulation", mode], script).works();
        let root = place.small_root();
        assert_eq!(remembered(&root.join("f")).as_deref(), Some("33:34:0640:file"));
        assert_eq!(remembered(&root.join("d")).as_deref(), Some("5:6:0755:dir"));
        assert_eq!(remembered(&root.join("n")).as_deref(), Some("0:0:0644:block-8-1"));
        assert_eq!(remembered(&root.join("etc/passwd")), None);
        let options = ["--rw-root", "--root-emulation", "owners"];
        let next = place.run(&options, "stat -c %u:%g:%a:%t:%T:%F f d n; rm -r f d n");
        let lines: Vec<&str> = next.works().lines().collect();
        assert_eq!(lines[0], "33:34:640:0:0:regular file");
        assert!(lines[1].starts_with("5:6:755:"), "{lines:?}");
        assert_eq!(lines[2], "0:0:644:8:1:block special file");
    }
}

#[test]
fn impossible_changes_of_ids_are_refused_with_root_emulation() {
    let place = Place::new();
    let script = "chown 5 /nowhere; chown 5 /bin/sh/x; mknod /bin/sh c 1 3; mknod /nowhere/n c 1 3; \
        chmod 600 /nowhere; stat /nowhere; stat /proc/self/fd/77; true";
    let ran = place.run(&SHOWN, script);
    ran.works();
    let said = |text: &str| ran.stderr.matches(text).count();
    assert_eq!(said("No such file or directory"), 5, "{ran:?}");
    assert_eq!(said("Not a directory"), 1, "{ran:?}");
    assert_eq!(said("File exists"), 1, "{ran:?}");
    let read_only =
        place.run(&["--read-only", "--root-emulation", "owners"], "chown 5 /etc/passwd");
    assert!(read_only.stderr.contains("Read-only file system"), "{read_only:?}");
}

#[test]
fn a_capability_that_is_not_there_is_not_emulated() {
    let place = Place::new();
    let options = ["--cap-drop", "chown", "--cap-drop", "mknod", "--root-emulation", "owners"];
    let ran = place.run(&options, "touch f; chown 33 f; mknod n c 1 3; stat -c %u f");
    assert_eq!(ran.works(), "0");
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
}

#[test]
fn nothing_of_the_host_is_marked() {
    let place = Place::new();
    let data = place.folder("data");
    let inside = place.write("data/file", "x");
    let outside = place.write("outside", "x");
    let up = "../".repeat(40);
    let script = format!(
        "ln -s {up}{0} link; ln -s {0} absolute; chown 33 /data /data/file; chown 33 link absolute {up}{0}; \
         mkdir -p jail/etc && cp /etc/passwd jail/etc && cd jail && ln -s /etc/passwd leads && \
         busybox chroot . /none 2>&1 | grep -c . ; cd /; stat -c %u /data/file",
        text(&outside)
    );
    let volume = format!("{}:/data", text(&data));
    let ran = place.run(&["-v", &volume, "--root-emulation", "owners"], &script);
    assert!(ran.works().ends_with('0'), "{ran:?}");
    for path in [&data, &inside, &outside] {
        assert_eq!(remembered(path), None, "{}", path.display());
    }
}

#[test]
fn a_name_is_looked_up_from_the_caller_s_own_root() {
    let place = Place::new();
    let script = "mkdir -p jail/bin && cp bin/busybox jail/bin && echo x > jail/f && echo y > f && \
        ln -s /f jail/link && busybox chroot jail /bin/busybox sh -c \
        'busybox chown 44 /link /../../f; cd bin; busybox chown :45 ../../../f; busybox stat -c %u:%g /f' && \
        stat -c %u:%g jail/f f";
    let ran = place.run(&SHOWN, script);
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["44:45", "44:45", "0:0"], "{ran:?}");
}

#[test]
fn a_user_namespace_inside_has_ids_of_its_own() {
    let place = Place::new();
    // The default filter denies making one, as docker's does.
    let options = [&SHOWN[..], &["--security-opt", "seccomp=unconfined"]].concat();
    let ran = place.run(&options, "unshare -U sh -c 'id -u' && id -u");
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["65534", "0"], "{ran:?}");
}

#[test]
fn with_init_and_a_terminal_it_is_the_same() {
    let place = Place::new();
    for options in
        [&["--init"][..], &["-t"], &["--pid", "host"], &["--security-opt", "no-new-privileges"]]
    {
        let options = [options, &SHOWN].concat();
        let ran = place
            .run(&options, "touch f && chown 33 f && stat -c %u f; grep CapEff /proc/1/status");
        assert!(ran.works().starts_with("33"), "{ran:?}");
    }
    // What the filter needed for a moment is gone: nobody holds CAP_SYS_ADMIN (21).
    let ran = place.run(&["--init"], "sed -n s/CapEff:.//p /proc/1/status /proc/self/status");
    for held in ran.works().lines() {
        let held = u64::from_str_radix(held.trim(), 16).expect("a set of capabilities");
        assert_eq!(held & (1 << 21), 0, "{ran:?}");
    }
}

#[test]
fn the_end_of_usnea_ends_the_supervisor() {
    let place = Place::new();
    let arguments =
        place.arguments(&SHOWN, &["sh", "-c", "touch f; chown 3 f; echo ready; sleep 60"]);
    let mut started = Started::new(&mut place.command(&arguments), "");
    started.wait_for("ready");
    started.signal(rustix::process::Signal::KILL);
    started.end();
    place.nothing_is_left();
}

#[test]
fn the_filter_is_in_the_config_and_in_the_steps() {
    let place = Place::new();
    place.small_root();
    let image = place.image();
    let spec = place.usnea(&["spec", "--root-emulation", "owners", &image, "true"]);
    let spec: serde_json::Value = serde_json::from_str(spec.works()).expect("JSON");
    assert_eq!(spec["annotations"]["usnea.root-emulation"], "owners");
    // Another runtime has nobody who answers: what it reads is the default filter alone.
    let rules = spec["linux"]["seccomp"]["syscalls"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["action"] != "SCMP_ACT_NOTIFY"), "{rules:?}");
    let explained =
        place.usnea(&["run", "--explain", "--root-emulation", "seccomp", &image, "true"]);
    assert!(explained.works().contains("filter system calls, and emulate root"), "{explained:?}");
    let handed_over = explained.stdout.lines().filter(|line| line.contains("Notify: "));
    assert!(handed_over.clone().count() > 1, "{explained:?}");
    assert!(handed_over.clone().any(|line| line.contains(" fchownat")), "{explained:?}");
    let words = ["--root-emulation", "off", "--security-opt", "seccomp=unconfined", &image, "true"];
    let off = place.usnea(&[&["spec"], &words[..]].concat());
    assert!(!off.works().contains("seccomp"), "{off:?}");
    let off = place.usnea(&[&["run", "--explain"], &words[..]].concat());
    assert!(!off.works().contains("seccomp(2)"), "{off:?}");
}

#[test]
fn a_supervisor_that_is_gone_is_an_error_and_no_hang() {
    let place = Place::new();
    let script =
        "echo ready; while ! test -e /data/go; do sleep 0.1; done; chown 5 /etc/passwd; echo $?";
    let data = place.folder("data");
    let volume = format!("{}:/data", text(&data));
    let arguments =
        place.arguments(&["-v", &volume, "--root-emulation", "seccomp"], &["sh", "-c", script]);
    let mut started = Started::new(&mut place.command(&arguments), "");
    started.wait_for("ready");
    let supervisor = started
        .family()
        .into_iter()
        .find(|process| process.text("cmdline").starts_with("usnea: root emulation of"))
        .expect("a supervisor");
    let number = rustix::process::Pid::from_raw(supervisor.number).expect("a number");
    rustix::process::kill_process(number, rustix::process::Signal::KILL).expect("a kill");
    std::fs::write(data.join("go"), "").expect("the mark");
    let ran = started.end();
    // What the kernel answers where nobody listens any more (seccomp(2), ENOSYS), in the command's words.
    let nobody = std::io::Error::from_raw_os_error(libc::ENOSYS).to_string();
    let words = nobody.split(" (").next().expect("words");
    assert!(ran.stderr.contains(words), "{words}: {ran:?}");
}

/// Input of the supervisor is chosen in the container.
#[test]
fn the_supervisor_makes_no_program_socket_or_namespace() {
    let place = Place::new();
    let name = format!("emulated-{}", std::process::id());
    let options = ["run", "-d", "--name", &name, "--root-emulation", "owners"];
    place.usnea(&place.kept(&options, "sleep 100")).works();
    let title = format!("usnea: root emulation of {name}");
    let all = crate::support::processes();
    let supervisor = all.iter().find(|process| process.text("cmdline").contains(&title));
    let status = supervisor.expect("a supervisor").text("status");
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    place.usnea(&["rm", "-f", "-t", "0", &name]).works();
}
