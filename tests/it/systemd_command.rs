//! `--systemd`: a container whose command is systemd gets the mounts, the variable and the stop signal that it needs.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Place, need_subids};

/// Mount points of `--systemd`, with the modes of the folders.
const FOLDERS: [(&str, &str); 4] =
    [("/run", "755"), ("/run/lock", "1777"), ("/tmp", "1777"), ("/var/log/journal", "755")];

/// Script that shows which of the folders are a tmpfs, and the variables.
fn look() -> String {
    let folders = FOLDERS.map(|(folder, _)| folder).join(" ");
    format!(
        "for folder in {folders}; do grep -c \" $folder tmpfs \" /proc/mounts; stat -c %a $folder; done; \
         echo $container $container_uuid"
    )
}

#[test]
fn the_folders_of_systemd_are_in_memory() {
    let place = Place::new();
    let root = place.small_root();
    std::fs::create_dir_all(root.join("run/lock")).expect("a folder");
    std::fs::create_dir_all(root.join("var/log/journal")).expect("a folder");
    std::fs::write(root.join("run/lock/of-image"), "kept").expect("a file");
    // The tmpfs begins as a copy of the image's folder.
    for folder in ["run/lock", "tmp"] {
        let mode = PermissionsExt::from_mode(0o1777);
        std::fs::set_permissions(root.join(folder), mode).expect("its mode");
    }
    let ran = place.run(&["--systemd=always"], &look());
    let lines: Vec<&str> = ran.works().lines().collect();
    let wanted: Vec<&str> = FOLDERS.iter().flat_map(|(_, mode)| ["1", *mode]).collect();
    assert_eq!(lines[..8], wanted, "{ran:?}");
    let (container, uuid) = lines[8].split_once(' ').expect("two words");
    assert_eq!(container, "usnea");
    assert!(uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uuid}");
    // Programs run there, and files of the image are there.
    let script = "cp /bin/true /run/true && /run/true && cat /run/lock/of-image";
    assert_eq!(place.run(&["--systemd=always"], script).works(), "kept");
    let small = ["--systemd=always", "--shm-size-systemd", "1m"];
    let size = "df -k /run | awk 'NR == 2 { print $2 }'";
    assert_eq!(place.run(&small, size).works(), "1024");
    // What the user mounts there has precedence.
    let file = place.write("mine/file", "mine");
    let volume = format!("{}:/run", file.parent().expect("a folder").display());
    let options = ["--systemd=always", "-v", &volume, "--tmpfs", "/tmp:size=2m"];
    let script = "cat /run/file; df -k /tmp | awk 'NR == 2 { print $2 }'";
    assert_eq!(place.run(&options, script).works(), "mine2048");
    for options in [&[][..], &["--systemd=false"], &["--systemd=true"]] {
        let ran = place.run(options, "grep -c ' /run tmpfs ' /proc/mounts; echo $container_uuid");
        assert_eq!(ran.works(), "0", "{options:?}");
    }
    place.nothing_is_left();
}

#[test]
fn only_the_command_of_systemd_is_prepared_for() {
    let place = Place::new();
    let root = place.small_root();
    std::fs::create_dir_all(root.join("usr/lib/systemd")).expect("a folder");
    std::fs::create_dir_all(root.join("sbin")).expect("a folder");
    let script = "#!/bin/sh\ngrep -c ' /run tmpfs ' /proc/mounts\n";
    for name in ["usr/lib/systemd/systemd", "sbin/init", "usr/lib/init"] {
        std::fs::write(root.join(name), script).expect("a file");
        let mode = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.join(name), mode).expect("its mode");
    }
    let run = |options: &[&str], command: &str| {
        place.usnea(&place.arguments(options, &[command])).stdout.trim().to_owned()
    };
    assert_eq!(run(&[], "/usr/lib/systemd/systemd"), "1");
    assert_eq!(run(&[], "/sbin/init"), "1");
    assert_eq!(run(&[], "/usr/lib/init"), "0");
    assert_eq!(run(&["--systemd", "always"], "/usr/lib/init"), "1");
    assert_eq!(run(&["--systemd", "false"], "/sbin/init"), "0");
    // Then it would not be process 1.
    assert_eq!(run(&["--init"], "/sbin/init"), "0");
    assert_eq!(run(&["--entrypoint", "/sbin/init"], "word"), "1");
    place.run(&["--systemd=perhaps"], "true").fails_with(125, &["perhaps"]);
    place.nothing_is_left();
}

#[test]
fn a_kept_container_is_stopped_as_systemd_wants_it() {
    let place = Place::new();
    let words = ["create", "--name", "box", "--systemd=always"];
    place.usnea(&place.kept(&words, "sleep 1000")).works();
    let field =
        |template: &str| place.usnea(&["inspect", "-f", template, "box"]).works().to_owned();
    assert_eq!(field("{{.Config.StopSignal}} {{.Config.SystemdMode}}"), "SIGRTMIN+3 true");
    let id = field("{{.Id}}");
    assert!(field("{{.Config.Env}}").contains(&format!("container_uuid={}", &id[..32])));
    place.usnea(&["container", "clone", "box", "twin"]).works();
    let twin = place.usnea(&["inspect", "-f", "{{.Id}} {{.Config.Env}}", "twin"]);
    let (id, env) = twin.works().split_once(' ').expect("two words");
    assert!(env.contains(&format!("container_uuid={}", &id[..32])), "{env}");
    let words = ["create", "--name", "other", "--systemd=always", "--stop-signal", "INT"];
    place.usnea(&place.kept(&words, "sleep 1000")).works();
    let words = ["inspect", "-f", "{{.Config.StopSignal}}", "other"];
    assert_eq!(place.usnea(&words).works(), "SIGINT");
    place.usnea(&["rm", "box", "twin", "other"]).works();
    place.nothing_is_left();
}

#[test]
fn without_a_cgroup_for_systemd_there_is_a_warning() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let none = ["--cgroups", "disabled", "--systemd", "always"];
    let ran = place.run(&none, "true");
    ran.works();
    assert!(ran.stderr.contains("--systemd: systemd may fail to boot"), "{ran:?}");
    assert!(!place.run(&["--cgroups", "disabled"], "true").stderr.contains("--systemd"));
}
