//! `usnea exec`: another command in a container that runs.

use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Place, Ran, Started, finish, has_subids, need, need_no_subids, need_subids, processes_with,
    within,
};
use crate::terminal::Screen;

const LIMIT: Duration = Duration::from_secs(20);

/// A container that sleeps, called `box`.
fn sleeping(place: &Place, options: &[&str]) {
    place.run_kept(&[&["-d", "--name", "box"], options].concat(), "exec sleep 1000").works();
}

fn exec(place: &Place, words: &[&str]) -> Ran {
    place.usnea(&[&["exec"], words].concat())
}

fn sh(place: &Place, options: &[&str], script: &str) -> Ran {
    exec(place, &[options, &["box", "sh", "-c", script]].concat())
}

/// How long something sleeps in this run of the tests, so that it can be told from what another has left.
fn span(number: u32) -> String {
    format!("{number}.{}", std::process::id())
}

/// How many processes are `sleep` for such a span, not those that run it.
fn sleeps(number: u32) -> usize {
    let mark = format!("sleep {}", span(number));
    let all = processes_with(&mark);
    all.iter().filter(|process| process.text("cmdline").starts_with(&mark)).count()
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn the_status_is_the_commands_and_dockers_where_there_is_none() {
    let place = Place::new();
    sleeping(&place, &[]);
    assert_eq!(sh(&place, &[], "echo out; exit 7").exits(7), "out");
    assert_eq!(sh(&place, &[], "kill -KILL $$").status, 137);
    exec(&place, &["box", "no-such-program"]).fails_with(127, &["no-such-program", "No such file"]);
    exec(&place, &["box", "/etc"]).fails_with(126, &["/etc", "Permission denied"]);
    // podman with crun; toolbox tells by it that the folder is missing.
    exec(&place, &["-w", "/nowhere", "box", "true"]).fails_with(127, &["/nowhere"]);
    exec(&place, &["-w", "/etc/passwd", "box", "true"]).fails_with(126, &["/etc/passwd"]);
    exec(&place, &["-w", "etc", "box", "true"]).fails_with(125, &["absolute"]);
    exec(&place, &["box"]).fails_with(125, &["no command"]);
    exec(&place, &["nobox", "true"]).fails_with(125, &["nobox"]);
    exec(&place, &["-e", "=x", "box", "true"]).fails_with(125, &["name"]);
    place.usnea(&["container", "exec", "box", "true"]).works();
    clean(&place);
}

#[test]
fn an_exec_command_is_in_all_namespaces_of_the_container() {
    let place = Place::new();
    let kinds =
        "for kind in user mnt pid net uts ipc cgroup time; do readlink /proc/$of/ns/$kind; done";
    let of = |whose: &str| kinds.replace("$of", whose);
    for options in [
        &[][..],
        &["--network", "none"],
        &["--network", "host"],
        &["--userns", "keep-id"],
        &["--hostname", "other"],
    ] {
        sleeping(&place, options);
        let own = sh(&place, &[], &of("self"));
        let first = sh(&place, &[], &of("1"));
        assert_eq!(own.works(), first.works(), "{options:?}");
        assert_eq!(own.stdout.lines().count(), 8, "{options:?}");
        clean(&place);
    }
}

#[test]
fn environment_folder_and_streams_are_what_was_asked_for() {
    let place = Place::new();
    sleeping(&place, &["-e", "A=1", "-e", "B=2", "-w", "/etc"]);
    let file = place.write("variables", "C=3\n");
    let options = ["-e", "B=4", "--env-file", file.to_str().unwrap()];
    assert_eq!(sh(&place, &options, "echo $A$B$C; pwd").works(), "143\n/etc");
    assert_eq!(sh(&place, &["-w", "/tmp"], "pwd; umask").works(), "/tmp\n0022");
    let ran = finish(&mut place.command(&["exec", "-i", "box", "cat"]), "typed");
    assert_eq!(ran.works(), "typed");
    let ran = finish(&mut place.command(&["exec", "box", "cat"]), "not asked for");
    assert_eq!(ran.works(), "");
    let ran = sh(&place, &[], "echo out; echo err >&2");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    clean(&place);
}

#[test]
fn the_user_is_looked_up_in_the_container_as_it_is_now() {
    let place = Place::new();
    sleeping(&place, &[]);
    let said = |options: &[&str]| {
        sh(&place, options, "id -u; id -g; echo $HOME").works().replace('\n', " ")
    };
    assert_eq!(said(&[]), "0 0 /root");
    assert_eq!(said(&["-u", "root"]), "0 0 /root");
    sh(&place, &["-u", "late"], "true")
        .fails_with(125, &["-u late", "not in the image's /etc/passwd"]);
    sh(&place, &[], "echo late:x:0:0::/srv:/bin/sh >> /etc/passwd").works();
    assert_eq!(said(&["-u", "late"]), "0 0 /srv");
    assert_eq!(said(&["-u", "late", "-e", "HOME=/x"]), "0 0 /x");
    clean(&place);
}

#[test]
fn another_user_has_its_groups_and_none_of_roots_powers() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    sleeping(&place, &["--cap-add", "net_admin"]);
    let script = "id -u; id -g; id -G; echo $HOME; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | tr -d '\\t'";
    let run = place.run(&["--cap-add", "net_admin", "-u", "worker"], script);
    let ran = sh(&place, &["-u", "worker"], script);
    assert_eq!(ran.works(), run.works());
    assert!(ran.stdout.starts_with("1000\n1001\n1001 1002\n/tmp\n"), "{ran:?}");
    assert!(ran.stdout.contains("CapEff:0000000000001000"), "{ran:?}");
    assert!(sh(&place, &["-u", "1000:1002"], "id -g; id -G").works().starts_with("1002\n1002"));
    sh(&place, &["-u", "4000000000"], "true").fails_with(125, &["-u 4000000000", "not mapped"]);
    clean(&place);
}

#[test]
fn an_exec_command_has_the_rights_of_the_containers_own_unless_privileged() {
    let place = Place::new();
    sleeping(
        &place,
        &["--cap-drop", "all", "--cap-add", "chown", "--security-opt", "no-new-privileges"],
    );
    let script = "grep -E 'Cap|NoNewPrivs' /proc/$of/status | tr -d '\\t'";
    let own = sh(&place, &[], &script.replace("$of", "self"));
    assert_eq!(own.works(), sh(&place, &[], &script.replace("$of", "1")).works());
    assert!(own.stdout.contains("CapEff:0000000000000001"), "{own:?}");
    assert!(own.stdout.contains("NoNewPrivs:1"), "{own:?}");
    let all = sh(&place, &["--privileged"], &script.replace("$of", "self"));
    let effective = all.works().lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    assert!(u64::from_str_radix(effective, 16).unwrap().count_ones() >= 38, "{all:?}");
    clean(&place);
}

#[test]
fn limits_are_the_containers() {
    let place = Place::new();
    sleeping(&place, &["--ulimit", "nofile=123:234"]);
    assert_eq!(sh(&place, &[], "ulimit -n; ulimit -Hn").works(), "123\n234");
    clean(&place);
}

#[test]
fn a_terminal_is_made_for_it() {
    let place = Place::new();
    sleeping(&place, &[]);
    let words =
        |script: &str| ["exec", "-it", "box", "sh", "-c", script].map(str::to_owned).to_vec();
    let script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three; read line; echo \"<$line>\"; exit 6";
    let mut screen = Screen::start(&place, &words(script));
    screen.wait_for("three");
    screen.types("hello\r");
    let (status, shown) = screen.end();
    assert_eq!(status, 6, "{shown}");
    assert!(shown.contains("/dev/pts/0") && shown.contains("33 120"), "{shown}");
    assert!(shown.contains("<hello>"), "{shown}");

    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let mut screen = Screen::start(&place, &words(script));
    screen.wait_for("ready");
    screen.types("\x03");
    let (status, shown) = screen.end();
    assert_eq!(status, 4, "{shown}");

    exec(&place, &["-it", "box", "true"]).fails_with(125, &["not a terminal"]);
    assert_eq!(exec(&place, &["-t", "box", "tty"]).works(), "/dev/pts/0");
    clean(&place);
}

#[test]
fn the_keys_that_leave_a_terminal_leave_the_command_running() {
    let place = Place::new();
    sleeping(&place, &[]);
    let script = "echo ready; sleep 0.5; echo nobody reads; echo done > /tmp/done; exec sleep 1000";
    for keys in [&[][..], &["--detach-keys", "ctrl-a,x"]] {
        let words = [&["exec", "-it"], keys, &["box", "sh", "-c", script]].concat();
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let mut screen = Screen::start(&place, &words);
        screen.wait_for("ready");
        screen.types(if keys.is_empty() { "\x10\x11" } else { "\x01x" });
        assert_eq!(screen.end().0, 0);
        let is_done = || sh(&place, &[], "rm /tmp/done").status == 0;
        assert!(within(LIMIT, is_done), "it was ended: {keys:?}");
    }
    clean(&place);
}

#[test]
fn a_detached_exec_command_runs_on_and_ends_with_the_container() {
    let place = Place::new();
    sleeping(&place, &[]);
    let ran = sh(&place, &["-d"], &format!("echo $PPID > /tmp/parent; exec sleep {}", span(4321)));
    assert_eq!((ran.works(), ran.stderr.as_str()), ("", ""));
    assert!(within(LIMIT, || sh(&place, &[], "cat /tmp/parent").stdout.trim() == "1"));
    sh(&place, &["-dt"], &format!("tty > /tmp/tty; exec sleep {}", span(4322))).works();
    assert!(within(LIMIT, || sh(&place, &[], "cat /tmp/tty").stdout.starts_with("/dev/pts/")));
    assert!(within(LIMIT, || sleeps(4322) == 1));
    exec(&place, &["-d", "box", "no-such-program"]).fails_with(127, &["no-such-program"]);
    exec(&place, &["-d", "-i", "box", "true"]).fails_with(125, &["exclude each other"]);
    assert_eq!(sleeps(4321), 1);
    let attached = Started::new(&mut place.command(&["exec", "box", "sleep", &span(4323)]), "");
    assert!(within(LIMIT, || sleeps(4323) == 1));
    place.usnea(&["kill", "box"]).works();
    assert_eq!(attached.end().status, 137);
    assert!(within(LIMIT, || (4321..=4323).all(|number| sleeps(number) == 0)));
    clean(&place);
}

#[test]
fn without_a_pid_namespace_it_ends_with_the_container_too() {
    let place = Place::new();
    sleeping(&place, &["--pid", "host"]);
    sh(&place, &["-d"], &format!("exec sleep {}", span(5321))).works();
    let attached = Started::new(&mut place.command(&["exec", "box", "sleep", &span(5322)]), "");
    assert!(within(LIMIT, || sleeps(5321) + sleeps(5322) == 2));
    place.usnea(&["kill", "box"]).works();
    assert_eq!(attached.end().status, 137);
    assert!(within(LIMIT, || sleeps(5321) + sleeps(5322) == 0));
    clean(&place);
}

#[test]
fn a_signal_to_us_is_the_commands_and_our_death_its_own() {
    let place = Place::new();
    sleeping(&place, &[]);
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let words = ["exec", "box", "sh", "-c", script];
    let mut started = Started::new(&mut place.command(&words), "");
    started.wait_for("ready");
    started.signal(Signal::INT);
    let ran = started.end();
    assert_eq!((ran.status, ran.stdout.as_str()), (4, "caught\n"));
    let words = ["exec", "box", "sh", "-c", &format!("echo ready; exec sleep {}", span(6321))];
    let mut started = Started::new(&mut place.command(&words), "");
    started.wait_for("ready");
    started.signal(Signal::KILL);
    started.end();
    assert!(within(LIMIT, || sleeps(6321) == 0), "it outlived us");
    clean(&place);
}

#[test]
fn nothing_runs_in_what_does_not_run() {
    let place = Place::new();
    place.usnea(&["create", "--name", "box", &place.image(), "sleep", "1000"]).works();
    sh(&place, &[], "true").fails_with(125, &["box", "not running", "created"]);
    sh(&place, &[], "true").hints();
    place.usnea(&["start", "box"]).works();
    sh(&place, &[], "true").works();
    place.usnea(&["stop", "--time", "0", "box"]).works();
    sh(&place, &[], "true").fails_with(125, &["box", "not running", "exited"]);
    clean(&place);
}

#[test]
fn with_our_reaper_as_process_1_it_is_where_the_command_is() {
    let place = Place::new();
    sleeping(&place, &["--init"]);
    assert_eq!(
        sh(&place, &[], "hostname; ls /bin | grep -c '^busybox$'").stdout.lines().nth(1),
        Some("1")
    );
    // The reaper is ours, and shows nothing of us.
    let ran = sh(&place, &[], "readlink /proc/1/exe || echo hidden; ls /proc/1/fd || echo hidden");
    assert_eq!(ran.works(), "hidden\nhidden");
    clean(&place);
}

#[test]
fn names_digits_and_the_last_one_are_found() {
    let place = Place::new();
    let id = place.run_kept(&["-d", "--name", "one"], "exec sleep 1000").works().to_owned();
    exec(&place, &[&id, "true"]).works();
    exec(&place, &[&id[..7], "true"]).works();
    place.run_kept(&["-d", "--name", "two", "-e", "WHO=two"], "exec sleep 1000").works();
    assert_eq!(exec(&place, &["--latest", "sh", "-c", "echo $WHO"]).works(), "two");
    exec(&place, &["-l", "true"]).works();
    clean(&place);
}

#[test]
fn owners_are_emulated_for_it_too() {
    if !need_no_subids() {
        return;
    }
    let place = Place::new();
    sleeping(&place, &["--root-emulation", "owners"]);
    let script = "touch /f && chown 33:34 /f && stat -c %u:%g /f";
    assert_eq!(sh(&place, &[], script).works(), "33:34");
    assert_eq!(sh(&place, &[], "stat -c %u:%g /f").works(), "33:34");
    // The one who answers stays as long as somebody asks.
    sh(&place, &["-d"], "sleep 0.3; chown 35 /f; exec sleep 1000").works();
    let is_given = || sh(&place, &[], "stat -c %u /f").stdout.trim() == "35";
    assert!(within(LIMIT, is_given));
    clean(&place);
}

#[test]
fn no_descriptor_of_the_host_comes_along_but_what_is_handed_on() {
    let place = Place::new();
    sleeping(&place, &[]);
    let list = "for fd in /proc/self/fd/*; do n=${fd##*/}; test $n -gt 2 && test -e $fd && echo $n; done; true";
    let folder = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&folder, rustix::io::FdFlags::empty()).unwrap();
    assert!(folder.as_raw_fd() > 2);
    assert_eq!(sh(&place, &[], list).works(), "");
    drop(folder);
    let mut command = Command::new("sh");
    place.prepare(&mut command);
    let usnea = crate::support::binary();
    let script = "exec 3</etc/hostname 4</; exec \"$0\" exec --preserve-fds 1 box sh -c \"$1\"";
    let ran = finish(command.args(["-c", script]).arg(&usnea).arg(list), "");
    assert_eq!(ran.works(), "3");
    // A working folder that leads out through a descriptor of ours (CVE-2024-21626).
    for number in 3..16 {
        let folder = format!("/proc/self/fd/{number}");
        let ran = sh(&place, &["-w", &folder], "ls");
        assert!([126, 127].contains(&ran.status), "{ran:?}");
    }
    // Our own program is none of the container's (CVE-2019-5736).
    exec(&place, &["box", "/proc/self/exe", "--version"]).fails_with(126, &["Permission denied"]);
    clean(&place);
}

#[test]
fn a_terminals_folder_that_is_none_is_refused() {
    let place = Place::new();
    let mounts = ["--cap-add", "sys_admin"];
    sleeping(&place, &mounts);
    sh(&place, &[], "mount -t tmpfs none /dev/pts && echo > /dev/pts/ptmx").works();
    exec(&place, &["-t", "box", "true"]).fails_with(125, &["terminal", "/dev/pts"]);
    clean(&place);
}

#[test]
fn the_life_of_an_exec_session_is_in_the_events() {
    let place = Place::new();
    sleeping(&place, &["--health-cmd", "true"]);
    sh(&place, &[], "exit 5").exits(5);
    exec(&place, &["box", "no-such-program"]).exits(127);
    place.usnea(&["healthcheck", "run", "box"]).works();
    let events = |filters: &[&str], format: &str| {
        let words = ["events", "--since", "0", "--stream=false", "--format", format];
        place.usnea(&[&words[..], filters].concat()).works().to_owned()
    };
    let told = events(&["-f", "container=box"], "{{.Action}}");
    let told: Vec<&str> = told.lines().filter(|line| line.starts_with("exec")).collect();
    assert_eq!(
        told,
        [
            "exec_create: sh -c exit 5",
            "exec_start: sh -c exit 5",
            "exec_die",
            "exec_create: no-such-program",
            "exec_start: no-such-program",
            "exec_die"
        ],
        "a check of health is none of them"
    );
    let died = events(&["--filter", "event=exec_die"], "{{.Attributes.exitCode}}");
    assert_eq!(died, "5\n127");
    let ids = ["exec_create", "exec_start", "exec_die"]
        .map(|event| events(&["--filter", &format!("event={event}")], "{{.Attributes.execID}}"));
    assert!(ids[0].lines().all(|id| id.len() == 64) && ids.iter().all(|all| *all == ids[0]));
    // One that is left alone: nobody stays to see its end.
    sh(&place, &["-d"], "exit 6").works();
    assert_eq!(events(&["--filter", "event=exec_start"], "{{.Name}}").lines().count(), 3);
    clean(&place);
}

#[test]
fn a_kernel_that_enters_namespaces_one_by_one_will_do() {
    if !need("strace") {
        return;
    }
    let place = Place::new();
    for options in [&[][..], &["--init"], &["--network", "none", "--userns", "keep-id"]] {
        // Whoever emulates root enters by other means, which strace(1) would spoil.
        sleeping(&place, &[options, &["--root-emulation", "off"]].concat());
        // Linux before 5.8 knows no setns(2) by a pidfd.
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "trace", "-e", "trace=setns"]);
        command.args(["-e", "inject=setns:error=EINVAL:when=1"]).arg(crate::support::binary());
        let script = "readlink /proc/self/ns/pid; hostname; echo $$";
        let user = match options.contains(&"keep-id") {
            true => rustix::process::geteuid().as_raw(),
            false => 0,
        };
        command.args(["exec", "-u", &user.to_string(), "box", "sh", "-c", script]);
        place.prepare(&mut command);
        let slow = finish(&mut command, "");
        let fast = sh(&place, &[], script);
        let words = |ran: &Ran| ran.works().lines().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&slow), words(&fast), "{options:?}");
        let trace = place.read("trace");
        // The processes that look up the user, that set up the command, and that become it.
        assert_eq!(trace.matches("(INJECTED)").count(), 3, "{trace}");
        assert!(trace.matches("= 0").count() >= 3, "{trace}");
        clean(&place);
    }
}

#[test]
fn running_commands_are_listed_by_their_ids() {
    let place = Place::new();
    sleeping(&place, &[]);
    let ids = || {
        let shown = place.usnea(&["inspect", "-f", "{{json .ExecIDs}}", "box"]);
        serde_json::from_str::<Vec<String>>(shown.works()).expect("a list")
    };
    assert!(ids().is_empty());
    let script = format!("echo up; exec sleep {}", span(62));
    let mut attached = Started::new(&mut place.command(&["exec", "box", "sh", "-c", &script]), "");
    attached.wait_for("up");
    exec(&place, &["-d", "box", "sh", "-c", &format!("sleep {}; :", span(61))]).works();
    assert!(within(LIMIT, || sleeps(61) == 1 && ids().len() == 2), "{:?}", ids());
    let events =
        place.usnea(&["events", "--until", "0s", "--format", "{{json .Actor.Attributes}}"]);
    let of_events = events.works().to_owned();
    assert!(ids().iter().all(|id| of_events.contains(id.as_str())), "{of_events}");
    attached.signal(Signal::KILL);
    attached.end();
    assert!(within(LIMIT, || ids().len() == 1), "{:?}", ids());
    for process in processes_with(&format!("sleep {}", span(61))) {
        let pid = rustix::process::Pid::from_raw(process.number).expect("a process");
        rustix::process::kill_process(pid, Signal::KILL).expect("a kill");
    }
    assert!(within(LIMIT, || ids().is_empty()), "{:?}", ids());
    // A command that has ended in good order, and one that never ran.
    sh(&place, &[], "true").works();
    exec(&place, &["box", "no-such-program"]).exits(127);
    let left = place.store().join("containers").read_dir().expect("containers");
    let left =
        left.flatten().flat_map(|one| one.path().join("exec").read_dir().into_iter().flatten());
    assert_eq!(left.count(), 0);
    clean(&place);
}

#[test]
fn groups_of_exec_are_those_of_the_container_now_and_of_group_add() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    sleeping(&place, &["--group-add", "88"]);
    let said = |options: &[&str]| sh(&place, options, "id -G").works().to_owned();
    assert_eq!((said(&[]), said(&["-u", "0"])), ("0 88".to_owned(), "0 88".to_owned()));
    assert_eq!(said(&["-u", "worker"]), "1001 88 1002");
    sh(&place, &[], "echo added:x:77:root,worker >> /etc/group").works();
    for options in [&[][..], &["-u", "0"], &["-u", "root"]] {
        assert_eq!(said(options), "0 77 88", "{options:?}");
    }
    assert_eq!(said(&["-u", "worker"]), "1001 77 88 1002");
    assert_eq!(said(&["-u", "worker:1001"]), "1001 88");
    sh(&place, &[], "sed -i /^added/d /etc/group").works();
    assert_eq!((said(&[]), said(&["-u", "0"])), ("0 88".to_owned(), "0 88".to_owned()));
    let shown = place.usnea(&["inspect", "-f", "{{json .HostConfig.GroupAdd}}", "box"]);
    assert_eq!(shown.works(), r#"["88"]"#);
    clean(&place);
}

#[test]
fn a_container_that_ends_meanwhile_is_reported_as_ended() {
    let place = Place::new();
    for round in 0..8 {
        place.run_kept(&["-d", "--name", "box"], "exec sleep 0.2").works();
        let words: [&[&str]; 3] =
            [&["exec", "box", "true"], &["cp", "box:/etc/passwd", "-"], &["top", "box"]];
        let words = words[round % 3];
        let failed = within(LIMIT, || {
            let ran = place.usnea(words);
            if ran.status == 0 && words[0] == "cp" {
                // The files of a stopped container can be copied.
                let state = place.usnea(&["inspect", "-f", "{{.State.Running}}", "box"]);
                return state.works() == "false";
            }
            let said = ["has ended", "not running", "just ended"];
            let is_told = said.iter().any(|text| ran.stderr.contains(text));
            // 137: the command ran, and ended with the container.
            assert!(ran.status == 0 || ran.status == 137 || is_told, "{words:?}: {ran:?}");
            is_told
        });
        assert!(failed, "the container ends");
        clean(&place);
    }
}

#[test]
fn the_hint_of_a_container_without_root_does_not_advise_root() {
    let place = Place::new();
    let map = ["--userns", "keep-id:size=1"];
    let options = match has_subids() {
        true => &map[..],
        false => &["--userns", "keep-id"],
    };
    sleeping(&place, options);
    let ran = sh(&place, &["-u", "0"], "true");
    ran.fails_with(125, &["user ID 0 is not mapped"]);
    assert!(ran.stderr.contains("leave out -u") && !ran.stderr.contains("-u 0 runs"), "{ran:?}");
    clean(&place);
}
