//! The command line as docker reads it: where options end, which words are taken, and what an error prints of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::Place;

/// Words that are options of `run` and `exec`, and their own of many programs.
const WORDS: [&str; 11] = [
    "--help",
    "-h",
    "-c",
    "max_connections=200",
    "-d",
    "/tf",
    "--network=host",
    "--rm=false",
    "--",
    "--name=",
    "",
];

#[test]
fn words_after_the_image_are_the_command_s() {
    let place = Place::new();
    let image = place.image();
    let script = "for word; do echo \"[$word]\"; done";
    let wanted: Vec<String> = WORDS.iter().map(|word| format!("[{word}]")).collect();
    let wanted = wanted.join("\n");
    for options in [&["--entrypoint", "sh"][..], &["--rm=true", "--name=", "--entrypoint=sh"]] {
        let ends: [&[&str]; 2] = [&[], &["--"]];
        for end in ends {
            let words = [&["run", "--rm"], options, end, &[&image, "-c", script, "sh"], &WORDS];
            assert_eq!(place.usnea(&words.concat()).works(), wanted, "{options:?} {end:?}");
        }
    }
    place.usnea(&["run", "--rm", "--nosuch", &image, "true"]).fails_with(125, &["--nosuch"]);
}

#[test]
fn words_after_the_container_are_the_command_s() {
    let place = Place::new();
    let image = place.image();
    let words = ["create", "--name", "cc", "--entrypoint", "sleep", &image, "1000"];
    place.usnea(&words).works();
    place.usnea(&["start", "cc"]).works();
    let script = "for word; do echo \"[$word]\"; done";
    let wanted: Vec<String> = WORDS.iter().map(|word| format!("[{word}]")).collect();
    for first in [&["-i=false", "cc"][..], &["--", "cc"], &["--latest=1"], &["-l", "--"]] {
        let words = [&["exec"], first, &["sh", "-c", script, "sh"], &WORDS].concat();
        assert_eq!(place.usnea(&words).works(), wanted.join("\n"), "{first:?}");
    }
    place.usnea(&["rm", "--force=true", "-f", "-t", "0", "cc"]).works();
    place.usnea(&["create", "--name=dd", &image, "sh", "--rm", "--", "-x"]).works();
    let shown = place.usnea(&["inspect", "-f", "A", "-f", "{{json .Args}}", "dd"]);
    assert_eq!(shown.works(), r#"["--rm","--","-x"]"#);
    place.usnea(&["rm", "dd"]).works();
}

#[test]
fn a_word_that_is_not_utf8_is_taken_or_refused_in_one_line() {
    let place = Place::new();
    let odd = OsStr::from_bytes(b"f\xfc\x07");
    let verbs = usnea::cli::command();
    let mut refused = 0;
    for verb in verbs.get_subcommands().map(clap::Command::get_name) {
        for words in [[OsStr::new(verb), odd, odd], [odd, OsStr::new(verb), odd]] {
            let ran = place.usnea(&words);
            assert!(![0, 101, 134].contains(&ran.status), "{verb}: {ran:?}");
            let lines = ran.stderr.lines().filter(|line| line.starts_with("usnea: ")).count();
            assert!(lines == 1 && !ran.stderr.contains('\u{7}'), "{verb}: {ran:?}");
            refused += 1;
        }
    }
    assert!(refused > 80, "{refused}");
}

#[test]
fn a_file_whose_name_is_not_utf8_is_copied() {
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "cc"], "true")).works();
    let name = OsStr::from_bytes(b"f\xfc:x");
    let file = place.folder("here").join(name);
    std::fs::write(&file, "odd").expect("a file");
    place.usnea(&[OsStr::new("cp"), file.as_os_str(), OsStr::new("cc:/tmp")]).works();
    let inside = OsStr::from_bytes(b"cc:/tmp/f\xfc:x");
    place.usnea(&[OsStr::new("cp"), inside, OsStr::new("back")]).works();
    assert_eq!(place.read("back"), "odd");
    place.usnea(&["rm", "cc"]).works();
}

#[test]
fn quoted_text_in_an_error_cannot_control_a_terminal() {
    let place = Place::new();
    let odd = "no\u{7}\u{9b}31m\rsuch";
    let image = place.image();
    for words in [
        &["run", "--rm", &image, odd][..],
        &["run", "--rm", "--entrypoint", odd, &image],
        &["inspect", odd],
        &["run", "--rm", &format!("dir:/{odd}"), "true"],
        &["rmi", odd, odd],
        &[odd],
        &["run", &format!("--{odd}"), "x"],
    ] {
        let ran = place.usnea(words);
        assert_ne!(ran.status, 0, "{words:?}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stderr.contains(control), "{words:?}: {ran:?}");
    }
}

#[test]
fn an_unknown_flag_is_not_guessed_at() {
    let place = Place::new();
    let ran = place.usnea(&["run", "--gpuz", "all", "x"]);
    ran.fails_with(125, &["--gpuz"]);
    assert!(ran.stderr.contains("usnea run --help") && !ran.stderr.contains("--cpus"), "{ran:?}");
    assert!(place.usnea(&["strat", "x"]).stderr.contains("start"));
}

#[test]
fn what_is_so_already_is_accepted_by_its_docker_name() {
    let place = Place::new();
    for option in [
        "--security-opt=seccomp=unconfined",
        "--security-opt=label:disable",
        "--security-opt=apparmor=unconfined",
        "--privileged=false",
        "--disable-content-trust=false",
        "--memory=0",
        "--memory-swap=-1",
        "--cpus=0",
        "--pids-limit=-1",
        "--shm-size=0",
        "--ipc=shareable",
        "--cgroups=no-conmon",
        "--tmpfs=/t:relatime,rprivate",
        "--cap-add=net_admin,sys_admin",
    ] {
        assert_eq!(place.run(&[option], "echo ok").works(), "ok", "{option}");
    }
    let bound = format!("{}:/m:cached,ro", place.folder("bound").display());
    assert_eq!(place.run(&["-v", &bound], "echo ok").works(), "ok");
}

#[test]
fn a_privileged_container_has_all_capabilities_and_nothing_hidden() {
    let place = Place::new();
    let script = "grep -c 'proc/sys\\|proc/acpi' /proc/self/mounts; grep CapEff /proc/self/status; mkdir /m && mount -t tmpfs t /m && echo mounted";
    let ran = place.run(&["--privileged"], script);
    assert_eq!(ran.works().lines().next(), Some("0"), "{ran:?}");
    assert!(ran.stdout.ends_with("mounted\n"), "{ran:?}");
    let ran = place.run(&["--privileged=false"], script);
    assert_ne!(ran.stdout.lines().next(), Some("0"), "{ran:?}");
    for (options, count) in [
        (&["--security-opt=unmask=/proc/sys"][..], "0"),
        (&["--security-opt", "unmask=ALL"], "0"),
        (&["--security-opt", "unmask=/proc/bus"], "1"),
    ] {
        let ran = place.run(options, "grep -c ' /proc/sys ' /proc/self/mounts");
        assert_eq!(ran.stdout.trim(), count, "{options:?}: {ran:?}");
    }
}

#[test]
fn the_environment_and_the_mask_are_what_was_asked_for() {
    let place = Place::new();
    let mut command = place.command(&place.arguments(
        &["--env-host", "--env-merge", "FROM_HOST=${FROM_HOST}-x", "--umask", "0077"],
        &["sh", "-c", "echo $FROM_HOST; umask; touch /tmp/f; stat -c %a /tmp/f"],
    ));
    let ran = crate::support::finish(command.env("FROM_HOST", "y"), "");
    assert_eq!(ran.works(), "y-x\n0077\n600");
    assert_eq!(place.run(&["--unsetenv", "container"], "echo [$container]").works(), "[]");
    let words = place.arguments(&["--unsetenv-all", "-e", "A=b"], &["/bin/busybox", "env"]);
    let ran = place.usnea(&words);
    assert!(ran.works().contains("A=b") && !ran.stdout.contains("container="), "{ran:?}");
    assert_eq!(place.run(&["--attach", "stderr"], "echo out; echo err >&2").works(), "");
    let ran = place.run(&["-a", "STDOUT", "-a", "stderr"], "echo out; echo err >&2");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let read_only = ["--read-only", "--read-only-tmpfs"];
    assert_eq!(place.run(&read_only, "echo x >/tmp/x && echo x >/run/x && echo ok").works(), "ok");
    let ran = place.run(&["--no-hosts"], "grep -c localhost /etc/hosts");
    assert_ne!(ran.stdout.trim(), "2", "{ran:?}");
}

#[test]
fn a_root_directory_is_named_by_its_path() {
    let place = Place::new();
    let root = place.small_root();
    let root = root.display().to_string();
    let over = format!("{root}:O");
    place.usnea(&["run", "--rm", "--rootfs", &over, "touch", "/tmp/over"]).works();
    assert!(!std::path::Path::new(&root).join("tmp/over").exists());
    place.usnea(&["run", "--rm", "--rootfs", &root, "touch", "/tmp/written"]).works();
    assert!(std::path::Path::new(&root).join("tmp/written").exists());
}
