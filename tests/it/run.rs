//! Everyday `usnea run`: the command and its status, its words, environment, folder and streams, the layer that is
//! thrown away, limits and knobs.

use std::fs;

use crate::support::{Place, Started, finish, need_that, text, within};

#[test]
fn usnea_exits_with_the_command_s_status() {
    let place = Place::new();
    assert_eq!(place.run(&[], "exit 0").status, 0);
    assert_eq!(place.run(&["--rm"], "exit 7").status, 7);
}

#[test]
fn a_path_alone_is_a_root_directory() {
    let place = Place::new();
    let root = place.small_root();
    assert_eq!(place.usnea(&["run", "--rm", text(&root), "echo", "absolute"]).works(), "absolute");
    assert_eq!(place.usnea(&["run", "--rm", "./root", "echo", "relative"]).works(), "relative");
    assert_eq!(place.usnea(&["run", "--rm", "dir:root", "echo", "by name"]).works(), "by name");
}

#[test]
fn words_reach_the_command_as_they_are() {
    let place = Place::new();
    let words = ["printf", "<%s>", "a b", "", "--rm", "-e", "$HOME", "ü\n"];
    let ran = place.usnea(&place.arguments(&[], &words));
    assert_eq!(ran.works(), "<a b><><--rm><-e><$HOME><ü\n>");
}

#[test]
fn the_command_is_process_1_and_root() {
    let place = Place::new();
    let ran = place.run(&[], "echo $$ $(id -u) $(id -g)");
    assert_eq!(ran.works(), "1 0 0");
}

#[test]
fn the_hostname_is_the_asked_one_else_not_the_host_s() {
    let place = Place::new();
    assert_eq!(place.run(&["--hostname", "box.example"], "hostname").works(), "box.example");
    let host = rustix::system::uname();
    assert_ne!(place.run(&[], "hostname").works(), host.nodename().to_string_lossy());
}

#[test]
fn a_run_can_have_a_name() {
    let place = Place::new();
    assert_eq!(place.run(&["--name", "lichen"], "echo ok").works(), "ok");
    place.nothing_is_left();
    assert_eq!(place.run(&["--name", "lichen"], "echo again").works(), "again");
}

#[test]
fn the_entrypoint_takes_the_command_as_its_words() {
    let place = Place::new();
    let ran = place.usnea(&place.arguments(&["--entrypoint", "/bin/echo"], &["one", "two"]));
    assert_eq!(ran.works(), "one two");
}

#[test]
fn the_environment_is_what_was_asked_and_nothing_of_the_host_s() {
    let place = Place::new();
    place.write("environment", "# a comment\n\nFROM_FILE=a b\nFROM_HOST\nUNKNOWN_ON_HOST\n");
    let options =
        ["-e", "A=1", "-e", "ALSO_FROM_HOST", "--env-file", "environment", "--env", "EMPTY="];
    let mut command = place.command(&place.arguments(&options, &["env"]));
    command.envs([("FROM_HOST", "x"), ("ALSO_FROM_HOST", "y=z"), ("SECRET", "s")]);
    let ran = finish(&mut command, "");
    let lines: Vec<_> = ran.works().lines().collect();
    for line in
        ["A=1", "ALSO_FROM_HOST=y=z", "FROM_FILE=a b", "FROM_HOST=x", "EMPTY=", "HOME=/root"]
    {
        assert!(lines.contains(&line), "{line} is not in {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("PATH=")), "{lines:?}");
    for name in ["SECRET=", "UNKNOWN_ON_HOST", "USNEA_ROOT=", "XDG_RUNTIME_DIR="] {
        assert!(!lines.iter().any(|line| line.starts_with(name)), "{name} is in {lines:?}");
    }
}

#[test]
fn a_pattern_takes_the_variables_of_the_host_that_match() {
    let place = Place::new();
    let mut command =
        place.command(&place.arguments(&["-e", "SLURM_*", "-e", "PMI?RANK"], &["env"]));
    command.envs([
        ("SLURM_PROCID", "3"),
        ("SLURM_JOB_ID", "7"),
        ("PMI_RANK", "1"),
        ("PMIX_RANK", "2"),
    ]);
    let ran = finish(&mut command, "");
    let lines: Vec<_> = ran.works().lines().collect();
    for line in ["SLURM_PROCID=3", "SLURM_JOB_ID=7", "PMI_RANK=1"] {
        assert!(lines.contains(&line), "{line} is not in {lines:?}");
    }
    assert!(!lines.contains(&"PMIX_RANK=2"), "{lines:?}");
    let all = finish(
        place.command(&place.arguments(&["--env-host"], &["env"])).env("SLURM_PROCID", "3"),
        "",
    );
    assert!(all.works().lines().any(|line| line == "SLURM_PROCID=3"));
}

#[test]
fn a_flag_wins_over_the_env_file() {
    let place = Place::new();
    place.write("environment", "A=file\n");
    let ran = place.run(&["-e", "A=flag", "--env-file", "environment"], "echo $A");
    assert_eq!(ran.works(), "flag");
}

#[test]
fn the_working_folder_is_the_asked_one_else_the_top() {
    let place = Place::new();
    assert_eq!(place.run(&[], "pwd").works(), "/");
    assert_eq!(place.run(&["-w", "/tmp"], "pwd").works(), "/tmp");
    assert_eq!(
        place.run(&["--workdir", "/etc"], "cat passwd | head -n 1").works(),
        "root:x:0:0:root:/root:/bin/sh"
    );
}

#[test]
fn standard_input_comes_only_when_asked_for() {
    let place = Place::new();
    let with = finish(&mut place.command(&place.arguments(&["-i"], &["cat"])), "hello\n");
    assert_eq!(with.works(), "hello");
    let without = finish(&mut place.command(&place.arguments(&[], &["cat"])), "hello\n");
    assert_eq!(without.works(), "");
}

#[test]
fn the_two_outputs_stay_two() {
    let place = Place::new();
    let ran = place.run(&[], "echo out; echo err >&2");
    assert_eq!((ran.works(), ran.stderr.as_str()), ("out", "err\n"));
}

#[test]
fn much_output_comes_whole() {
    let place = Place::new();
    let ran = place.run(&[], "dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' x");
    assert_eq!((ran.status, ran.stdout.len()), (0, 160 * 65536));
}

#[test]
fn changes_of_the_root_are_discarded() {
    let place = Place::new();
    let root = place.small_root();
    let script = "echo new > /new; echo more >> /etc/passwd; rm /etc/group; mkdir /proc2; chown 0:0 /bin/sh; cat /new";
    assert_eq!(place.run(&[], script).works(), "new");
    assert!(
        !root.join("new").exists()
            && !root.join("proc2").exists()
            && root.join("etc/group").exists()
    );
    assert!(!place.read("root/etc/passwd").contains("more"));
    assert_eq!(place.run(&[], "ls /new /proc2 2>/dev/null; cat /etc/group | wc -l").exits(0), "3");
}

#[test]
fn rw_root_writes_to_the_root_itself() {
    let place = Place::new();
    place.run(&["--rw-root"], "echo kept > /kept").works();
    assert_eq!(place.read("root/kept"), "kept\n");
}

#[test]
fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    let place = Place::new();
    let ran = place.run(&["--read-only"], "touch /x");
    assert_ne!(ran.status, 0);
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    place
        .run(&["--read-only", "--tmpfs", "/scratch"], "touch /scratch/x && touch /dev/shm/x")
        .works();
}

#[test]
fn a_root_without_mount_points_gets_them_in_its_layer() {
    let place = Place::new();
    let root = place.small_root();
    for folder in ["proc", "sys", "dev", "tmp"] {
        fs::remove_dir(root.join(folder)).expect("an empty folder");
    }
    let script = "test -d /proc/self && test -c /dev/null && test -d /sys/class && echo all";
    assert_eq!(place.run(&[], script).works(), "all");
    assert!(!root.join("proc").exists(), "the root itself was written to");
}

#[test]
fn accounts_are_found_in_a_folder_that_may_be_searched_and_not_listed() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let etc = place.small_root().join("etc");
    let modes = |mode| fs::set_permissions(&etc, fs::Permissions::from_mode(mode));
    modes(0o311).expect("a folder of ours");
    let ran = place.run(&["--user", "root"], "echo found");
    modes(0o755).expect("a folder of ours");
    assert_eq!(ran.works(), "found");
}

#[test]
fn limits_on_resources_are_set() {
    let place = Place::new();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc";
    let ran = place.run(&["--ulimit", "nofile=64:128", "--ulimit", "core=0"], script);
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["64", "128", "0", "0"]);
}

#[test]
fn kernel_settings_of_the_namespaces_are_set() {
    let place = Place::new();
    let options =
        ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "net.ipv4.ping_group_range=0 0"];
    let ran = place
        .run(&options, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ping_group_range");
    assert_eq!(ran.works().split_whitespace().collect::<Vec<_>>(), ["1", "0", "0"]);
}

#[test]
fn shared_memory_has_the_asked_size_else_64_mb() {
    let place = Place::new();
    let script = "df -k /dev/shm | awk 'END { print $2 }'";
    assert_eq!(place.run(&[], script).works(), "65536");
    assert_eq!(place.run(&["--shm-size", "1m"], script).works(), "1024");
    let full = place.run(&["--shm-size", "1m"], "dd if=/dev/zero of=/dev/shm/x bs=65536 count=32");
    assert!(full.status != 0 && full.stderr.contains("No space left"), "{full:?}");
}

#[test]
fn a_device_is_there_when_asked_for() {
    let place = Place::new();
    let there = "test -c /dev/fuse && echo yes || echo no";
    assert_eq!(place.run(&[], there).works(), "no");
    let options = ["--device", "/dev/zero:/dev/nought"];
    assert_eq!(
        place.run(&options, "head -c 2 /dev/nought | od -An -tx1 | tr -d ' '").works(),
        "0000"
    );
    if need_that(std::path::Path::new("/dev/fuse").exists(), "/dev/fuse") {
        assert_eq!(place.run(&["--device", "/dev/fuse"], there).works(), "yes");
    }
}

#[test]
fn twenty_runs_at_once_do_not_meet() {
    let place = Place::new();
    place.small_root();
    let runs: Vec<_> = (0..20)
        .map(|number| {
            let script = format!("touch /mine-{number}; sleep 0.2; ls -d /mine-*");
            Started::new(&mut place.command(&place.arguments(&[], &["sh", "-c", &script])), "")
        })
        .collect();
    let ends: Vec<_> = runs.into_iter().map(Started::end).collect();
    for (number, ran) in ends.iter().enumerate() {
        assert_eq!(ran.works(), format!("/mine-{number}"));
    }
}

#[test]
fn debug_logs_the_steps_and_otherwise_nothing_is_logged() {
    let place = Place::new();
    assert_eq!(place.run(&[], "true").stderr, "");
    let ran = place.usnea(
        &[vec!["--log-level".into(), "debug".into()], place.arguments(&[], &["true"])].concat(),
    );
    ran.works();
    assert!(ran.stderr.contains("/proc") && ran.stderr.contains(" ms "), "{ran:?}");
}

#[test]
fn a_dead_run_s_leftovers_go_with_the_next_run() {
    let place = Place::new();
    let mut command = place.command(&place.arguments(&[], &["sh", "-c", "echo ready; sleep 100"]));
    let mut started = Started::new(&mut command, "");
    started.wait_for("ready");
    let family = started.family();
    started.signal(rustix::process::Signal::KILL);
    assert_eq!(started.end().status, -9);
    assert!(within(std::time::Duration::from_secs(20), || family.iter().all(|one| !one.runs())));
    place.run(&[], "true").works();
    place.nothing_is_left();
}
