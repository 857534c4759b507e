//! Limits, pause and what goes with a cgroup: on the machine of tests/vm, where a login session has a systemd user manager
//! with cpu, memory and pids; and what is said where there is no cgroup to be had.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Place, finish, not_applicable, processes_with, within};

const LIMIT: Duration = Duration::from_secs(60);
/// A container that says that it goes on.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done";

fn own_cgroup() -> String {
    std::fs::read_to_string("/proc/self/cgroup").unwrap()
}

/// Whether this is a session of that machine.
fn has_cgroups() -> bool {
    let is = std::env::var("USNEA_TEST_MACHINE").is_ok_and(|kind| kind == "vm")
        && own_cgroup().trim_end().ends_with(".scope");
    if !is {
        not_applicable("it is for a session on the machine of tests/vm");
    }
    is
}

/// Whether there is no cgroup of version 2 here that hands down controllers.
fn has_none() -> bool {
    !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn told(place: &Place, container: &str, field: &str) -> String {
    place.usnea(&["inspect", "-f", field, container]).works().to_owned()
}

fn cgroup_of(place: &Place, field: &str) -> PathBuf {
    let pid = told(place, "box", field);
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.trim_end().strip_prefix("0::/").unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

fn run(place: &Place, options: &[&str], script: &str) -> PathBuf {
    let words = [&["run", "-d", "--name", "box"], options].concat();
    place.usnea(&place.kept(&words, script)).works();
    cgroup_of(place, "{{.State.Pid}}")
}

fn setting(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap().trim().to_owned()
}

/// Whether the user's systemd can give a controller away.
fn delegates(controller: &str) -> bool {
    let uid = rustix::process::getuid().as_raw();
    let folder = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service");
    setting(Path::new(&folder), "cgroup.controllers").split(' ').any(|name| name == controller)
}

fn lines(place: &Place) -> usize {
    place.usnea(&["logs", "box"]).works().lines().count()
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error_before_anything_runs() {
    if !has_none() {
        return not_applicable("there are cgroups of version 2 here");
    }
    let place = Place::new();
    for (flag, value, file) in [
        ("--memory", "64m", "memory.max"),
        ("--cpus", "0.5", "cpu.max"),
        ("--pids-limit", "10", "pids.max"),
        ("--cgroup-conf", "memory.high=1", "memory.high"),
    ] {
        let ran = place.run(&[flag, value], "echo ran");
        ran.fails_with(125, &[&format!("cannot set {file}: no cgroup")]);
        ran.hints();
    }
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "sleep 1000")).works();
    for words in [&["pause", "box"][..], &["update", "--memory", "64m", "box"]] {
        let refused = place.usnea(words);
        refused.fails_with(1, &["box", "cgroup"]);
        refused.hints();
    }
    place.usnea(&["unpause", "box"]).fails_with(1, &["is not paused: it is running"]);
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    place.nothing_is_left();
}

/// The test in the place of the user's systemd: gives each client this answer to its first words after a while.
fn manager_that_says(runtime: &Path, answer: &'static [u8], after: Duration) {
    use std::io::{Read, Write};
    let socket = runtime.join("systemd/private");
    std::fs::create_dir_all(socket.parent().expect("a folder")).expect("a folder");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 256]);
            std::thread::sleep(after);
            let _ = client.write_all(answer);
        }
    });
}

#[test]
fn a_user_manager_that_refuses_hangs_up_or_answers_late_is_named_and_nothing_runs() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    for (name, answer, after) in [
        ("refuses", &b"REJECTED EXTERNAL\r\n"[..], Duration::ZERO),
        ("late", b"REJECTED EXTERNAL\r\n", Duration::from_secs(3)),
        ("odd", b"\0\x01nonsense", Duration::ZERO),
        ("silent", b"", Duration::ZERO),
    ] {
        let runtime = place.folder(name);
        // A folder that others may write to would be passed over.
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&runtime, closed).expect("a closed folder");
        manager_that_says(&runtime, answer, after);
        let options = ["--cgroup-parent", "it.slice", "--memory", "64m"];
        let arguments = place.arguments(&options, &["echo", "ran"]);
        let mut command = place.command(&arguments);
        let ran = finish(command.env("XDG_RUNTIME_DIR", &runtime), "");
        ran.fails_with(125, &["from the systemd user manager", "systemd/private"]);
        assert_eq!(ran.stdout, "", "{name}");
        std::fs::remove_dir_all(&runtime).expect("a folder");
    }
    place.nothing_is_left();
}

#[test]
fn limits_are_the_kernels_and_change_while_it_runs() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let limits = ["-m", "64m", "--memory-swap", "96m", "--pids-limit", "40"];
    // systemd delegates cpu to users since 252.
    let cpu = ["--cpus", "0.5", "--cpu-shares", "512"];
    let cpu = if delegates("cpu") { &cpu[..] } else { &[] };
    let folder = run(&place, &[&limits[..], cpu].concat(), "sleep 1000");
    let now = |file: &str| setting(&folder, file);
    assert_eq!(now("memory.max"), (64 << 20).to_string());
    assert_eq!(now("memory.swap.max"), (32 << 20).to_string());
    if delegates("cpu") {
        assert_eq!((now("cpu.max").as_str(), now("cpu.weight").as_str()), ("50000 100000", "20"));
    }
    assert_eq!(now("pids.max"), "40");
    // Who watches is beside it, not in it.
    let monitor = cgroup_of(&place, "{{.State.MonitorPid}}");
    assert_eq!(monitor.parent(), folder.parent());
    assert_ne!(monitor, folder);

    place
        .usnea(&["update", "-m", "80m", "--memory-swap", "-1", "--pids-limit", "-1", "box"])
        .works();
    assert_eq!((now("memory.max"), now("memory.swap.max")), ((80 << 20).to_string(), "max".into()));
    assert_eq!(now("pids.max"), "max");
    let stats = place.usnea(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "box"]);
    assert!(stats.works().ends_with("/ 83.9MB"), "{stats:?}");

    let field = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}";
    assert_eq!(told(&place, "box", field), format!("{} -1 -1", 80 << 20));

    // What was changed is so at the next start too.
    place.usnea(&["restart", "-t", "0", "box"]).works();
    let folder = cgroup_of(&place, "{{.State.Pid}}");
    assert_eq!(setting(&folder, "memory.max"), (80 << 20).to_string());
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    assert!(within(LIMIT, || !folder.exists() && !folder.parent().unwrap().exists()));
}

/// Ticks of the processor that a process has had (proc_pid_stat(5)).
fn ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum()
}

/// How many of a hundred parts of what both have had is the first one's, over eight seconds of one processor.
fn share(pids: &[String; 2]) -> u64 {
    let start = pids.each_ref().map(|pid| ticks(pid));
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = [0, 1].map(|at| ticks(&pids[at]) - start[at]);
        if now.iter().sum::<u64>() > 800 {
            return now[0] * 100 / (now[0] + now[1]);
        }
    }
}

#[test]
fn shares_count_between_containers() {
    if !has_cgroups() || !delegates("cpu") {
        return;
    }
    let place = Place::new();
    let run = |name: &str, shares: &str| {
        let words = ["run", "-d", "--name", name, "--cpu-shares", shares];
        place.usnea(&place.kept(&words, "while :; do :; done")).works();
        let pid = told(&place, name, "{{.State.Pid}}");
        let mut pinned = Command::new("taskset");
        finish(pinned.args(["-p", "-c", "0", &pid]), "").works();
        pid
    };
    let pids = [run("low", "512"), run("high", "1024")];
    let low = share(&pids);
    assert!((31..=36).contains(&low), "{low} of 100");
    place.usnea(&["update", "--cpu-shares", "3072", "low"]).works();
    let low = share(&pids);
    assert!((72..=78).contains(&low), "{low} of 100");
    place.usnea(&["rm", "-f", "-t", "0", "low", "high"]).works();
}

#[test]
fn many_starts_at_once_with_a_limit_all_succeed() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let start = |_| place.command(&place.arguments(&["-m", "64m"], &["true"])).spawn().unwrap();
    let started: Vec<_> = (0..16).map(start).collect();
    for mut one in started {
        assert!(one.wait().unwrap().success());
    }
    place.nothing_is_left();
}

#[test]
fn a_paused_container_stands_still_until_it_is_unpaused() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    run(&place, &[], COUNTS);
    assert!(within(LIMIT, || lines(&place) > 1));
    place.usnea(&["pause", "box"]).works();
    let before = lines(&place);
    let field = "{{.State.Status}} {{.State.Paused}} {{.State.Running}}";
    assert_eq!(told(&place, "box", field), "paused true true");
    let listed = place.usnea(&["ps", "--filter", "status=paused", "--format", "{{.Status}}"]);
    assert!(listed.works().ends_with("(Paused)"));
    place.usnea(&["exec", "box", "true"]).fails_with(125, &["it is paused"]);
    place.usnea(&["pause", "box"]).fails_with(1, &["is not running: it is paused"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(lines(&place), before);
    place.usnea(&["unpause", "box"]).works();
    assert!(within(LIMIT, || lines(&place) > before));
    // A stop reaches one that is paused.
    place.usnea(&["pause", "box"]).works();
    place.usnea(&["stop", "-t", "0", "box"]).works();
    assert_eq!(told(&place, "box", "{{.State.Status}}"), "exited");
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "container=box"];
    let events = place.usnea(&[&events[..], &["--format", "{{.Action}}"]].concat());
    let events: Vec<&str> = events.works().lines().filter(|word| word.ends_with("pause")).collect();
    assert_eq!(events, ["pause", "unpause", "pause"]);
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn an_out_of_memory_kill_is_reported() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let hog = "tail /dev/zero; echo survived $?";
    let words = ["run", "--name", "box", "-m", "32m", "--memory-swap", "32m"];
    let ran = place.usnea(&place.kept(&words, hog));
    assert!(ran.works().contains("survived 137"), "{ran:?}");
    assert_eq!(told(&place, "box", "{{.State.OOMKilled}}"), "true");
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=oom"];
    let events = place.usnea(&[&events[..], &["--format", "{{.Actor.Attributes.name}}"]].concat());
    assert_eq!(events.works(), "box");
    place.usnea(&["rm", "box"]).works();
    // The command itself.
    let ran = place.usnea(&place.kept(&words, "exec tail /dev/zero"));
    assert_eq!(ran.status, 137, "{ran:?}");
    assert_eq!(told(&place, "box", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    place.usnea(&["rm", "box"]).works();
    // Without a record too.
    let ran = place.run(&["-m", "32m", "--memory-swap", "32m"], hog);
    assert!(ran.works().contains("survived 137"), "{ran:?}");
    place.nothing_is_left();
}

#[test]
fn a_fork_bomb_hits_the_limit_and_a_command_in_it_counts() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let folder = run(&place, &["--pids-limit", "15"], "sleep 1000");
    let bomb = "bomb() { bomb | bomb & }; bomb 2> /dev/null; sleep 1; echo done";
    let ran = place.usnea(&["exec", "box", "sh", "-c", bomb]);
    assert!(ran.status != 125, "{ran:?}");
    let peak: u64 = setting(&folder, "pids.events").rsplit(' ').next().unwrap().parse().unwrap();
    assert!(peak > 0, "nothing was refused");
    let current: u64 = setting(&folder, "pids.current").parse().unwrap();
    assert!(current <= 15);
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    assert!(within(LIMIT, || !folder.exists()));
}

#[test]
fn exec_commands_are_in_the_container_s_cgroup_and_see_no_other() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let folder = run(&place, &[], "sleep 1000");
    let of = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    place.usnea(&["exec", "-d", "box", "sleep", "987654"]).works();
    let sleeps = || {
        let mut all = processes_with("sleep 987654");
        all.retain(|process| process.text("cmdline").starts_with("sleep"));
        all
    };
    assert!(within(LIMIT, || !sleeps().is_empty()));
    for process in sleeps() {
        let path = of(process.number);
        assert_eq!(Path::new("/sys/fs/cgroup").join(&path.trim_end()[4..]), folder);
    }
    let script = "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/mine 2> /dev/null || echo refused";
    let inside = place.usnea(&["exec", "box", "sh", "-c", script]);
    assert_eq!(inside.works(), "0::/\nrefused");
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    // The host's view, where it is asked for; and who is killed first.
    let words = ["--cgroupns", "host", "--oom-score-adj", "500"];
    let ran = place.run(&words, "cat /proc/self/oom_score_adj /proc/self/cgroup");
    let (score, path) = ran.works().split_once('\n').expect("two lines");
    assert_eq!(score, "500");
    assert!(path.contains("user.slice"), "{path}");
}

#[test]
fn a_paused_container_can_be_ended() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    for words in
        [&["kill", "box"][..], &["stop", "-t", "1", "box"], &["rm", "-f", "-t", "0", "box"]]
    {
        let folder =
            run(&place, &["--memory-reservation", "32m"], "trap 'exit 3' TERM; sleep 1000");
        assert_eq!(setting(&folder, "memory.low"), (32 << 20).to_string());
        place.usnea(&["pause", "box"]).works();
        place.usnea(words).works();
        assert!(within(LIMIT, || !folder.exists()), "{words:?}");
        if words[0] != "rm" {
            assert!(within(LIMIT, || told(&place, "box", "{{.State.Status}}") == "exited"));
            place.usnea(&["rm", "box"]).works();
        }
    }
    // And when its monitor is killed while it stands still.
    let folder = run(&place, &[], "sleep 1000");
    place.usnea(&["pause", "box"]).works();
    let monitor = told(&place, "box", "{{.State.MonitorPid}}");
    finish(Command::new("kill").args(["-9", &monitor]), "").works();
    assert!(within(LIMIT, || told(&place, "box", "{{.State.Status}}") == "exited"));
    assert!(within(LIMIT, || !folder.exists()));
    place.usnea(&["rm", "-f", "box"]).works();
}

#[test]
fn nothing_is_left_of_a_cgroup_whatever_dies() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    for field in ["{{.State.MonitorPid}}", "{{.State.Pid}}"] {
        let folder = run(&place, &["-m", "64m"], "sleep 1000");
        let pid = told(&place, "box", field);
        finish(Command::new("kill").args(["-9", &pid]), "").works();
        assert!(within(LIMIT, || !folder.parent().unwrap().exists()), "{field}");
        assert!(within(LIMIT, || told(&place, "box", "{{.State.Status}}") == "exited"));
        place.usnea(&["rm", "-f", "box"]).works();
    }
    // And of a run in the foreground.
    let mut command = place.command(&place.arguments(&["-m", "64m"], &["sleep", "1000"]));
    let mut child = command.spawn().unwrap();
    let scope = || {
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).ok()?;
        let path = Path::new("/sys/fs/cgroup").join(text.trim_end().strip_prefix("0::/")?);
        path.ends_with("usnea").then(|| path.parent().map(Path::to_owned))?
    };
    assert!(within(LIMIT, || scope().is_some()));
    let scope = scope().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(within(LIMIT, || !scope.exists()), "{}", scope.display());
    // Layers that are not in memory (before Linux 6.6) go with the next run.
    place.run(&[], "true").works();
    place.nothing_is_left();
}

#[test]
fn a_delegated_unit_is_where_its_containers_are() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let script = "cat /sys/fs/cgroup/memory.max";
    let arguments = place.arguments(&["-m", "64m"], &["sh", "-c", script]);
    let unit = |property: &str| {
        let mut command = Command::new("systemd-run");
        command.args(["--user", "--quiet", "--collect", "--wait", "--pipe", property]);
        command.arg(format!("--setenv=USNEA_ROOT={}", place.store().display()));
        command.arg(crate::support::binary()).args(&arguments);
        place.prepare(&mut command);
        finish(&mut command, "")
    };
    assert_eq!(unit("--property=Delegate=yes").works(), (64 << 20).to_string());
    // A service that is not is neither changed nor left.
    let refused = unit("--property=Delegate=no");
    refused.fails_with(125, &["cannot set memory.max: no cgroup is delegated to you here"]);
    refused.hints();
}

#[test]
fn a_controller_that_is_not_delegated_is_named() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    // In a unit that has them delegated, tests/vm/units sets them.
    for (flag, value, file) in [
        ("--blkio-weight", "500", "io.weight"),
        ("--device-read-bps", "/dev/vda:1mb", "io.max"),
        ("--device-write-iops", "/dev/vda:70", "io.max"),
        ("--cpuset-cpus", "0", "cpuset.cpus"),
        ("--cpuset-mems", "0", "cpuset.mems"),
    ] {
        let ran = place.run(&[flag, value], "echo ran");
        let controller = file.split('.').next().unwrap_or_default();
        let reason = format!("cannot set {file}: no cgroup with {controller} is delegated to you");
        ran.fails_with(125, &[&reason]);
        ran.hints();
    }
    place.run(&["--cgroups", "disabled", "-m", "64m"], "echo ran").fails_with(125, &["--cgroups"]);
    let parent = place.run(&["-m", "64m", "--cgroup-parent", "/system.slice"], "echo ran");
    parent.fails_with(125, &["--cgroup-parent /system.slice: the cgroup does not belong to you"]);
    let sliced = place.run(&["--cgroup-parent", "work.slice", "-m", "64m"], "echo ran");
    assert_eq!(sliced.works(), "ran");
}

/// Who answers its system calls beside it: limited as it is, and not stopped with it, since a process that waits for the
/// answer could not be stopped then.
#[test]
fn root_emulation_has_the_limits_of_its_container_and_lets_it_be_paused() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let calls = "while :; do mknod /tmp/$1 c 1 3; rm -f /tmp/$1; done";
    let script = format!("calls() {{ {calls}; }}; calls a & calls b & calls c & wait");
    let options = ["-m", "64m", "--cpus", "0.7", "--root-emulation", "seccomp"];
    let folder = run(&place, &options, &script);
    let beside = folder.with_file_name(format!(
        "{}.calls",
        folder.file_name().and_then(|name| name.to_str()).unwrap()
    ));
    assert_eq!(setting(&beside, "memory.max"), (64 << 20).to_string());
    assert_eq!(setting(&beside, "cpu.max"), "70000 100000");
    let supervisors = || setting(&beside, "cgroup.procs").lines().count();
    assert_eq!(supervisors(), 1);
    place.usnea(&["exec", "-d", "box", "sleep", "1000"]).works();
    assert!(within(LIMIT, || supervisors() == 2));
    for _ in 0..5 {
        place.usnea(&["pause", "box"]).works();
        assert_eq!(told(&place, "box", "{{.State.Status}}"), "paused");
        place.usnea(&["unpause", "box"]).works();
    }
    place.usnea(&["update", "-m", "80m", "--memory-swap", "-1", "box"]).works();
    assert_eq!(setting(&beside, "memory.max"), (80 << 20).to_string());
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    assert!(within(LIMIT, || !folder.exists() && !beside.exists()));
    // Nothing is limited: it has no group of its own.
    let folder = run(&place, &["--root-emulation", "seccomp"], "sleep 1000");
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
    assert!(!folder.with_file_name(name + ".calls").exists());
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    place.nothing_is_left();
}

#[test]
fn the_parent_cgroup_of_a_pod_is_that_of_members_without_their_own() {
    let place = Place::new();
    let words = ["pod", "create", "--network", "none", "--cgroup-parent", "work.slice", "shop"];
    if has_none() {
        place.usnea(&words).fails_with(125, &["--cgroup-parent work.slice: "]);
        assert_eq!(place.usnea(&["pod", "exists", "shop"]).status, 1);
        return;
    }
    if !has_cgroups() {
        return;
    }
    place.usnea(&words).works();
    let parent = place.usnea(&["pod", "inspect", "-f", "{{.CgroupParent}}", "shop"]);
    assert_eq!(parent.works(), "work.slice");
    let group = run(&place, &["--pod", "shop"], "sleep 1000");
    assert!(group.iter().any(|part| part == "work.slice"), "{}", group.display());
    assert_eq!(told(&place, "box", "{{.HostConfig.CgroupParent}}"), "work.slice");
    for (options, expected) in
        [(["--cgroup-parent", "own.slice"], "own.slice"), (["--cgroups", "disabled"], "")]
    {
        let words = [&["create", "--pod", "shop", "--name", "other"], &options[..]].concat();
        place.usnea(&place.kept(&words, "true")).works();
        assert_eq!(told(&place, "other", "{{.HostConfig.CgroupParent}}"), expected);
        place.usnea(&["rm", "other"]).works();
    }
    place.usnea(&["pod", "rm", "-f", "-t", "0", "shop"]).works();
    place.nothing_is_left();
}
