//! Flags of `run`, `create`, `stop` and `logs` that are docker's and podman's own, one by one.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::fault_registry::{FaultRegistry, answer};
use crate::support::{Place, binary, finish, has_subids, need_subids, text, within};

fn field(place: &Place, container: &str, template: &str) -> String {
    place.usnea(&["inspect", "--format", template, container]).works().to_owned()
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "-t", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn a_container_is_killed_when_its_timeout_is_over() {
    let place = Place::new();
    let begin = Instant::now();
    let patient = "trap '' TERM INT; sleep 60";
    assert_eq!(place.run(&["--timeout", "1"], patient).status, 137);
    place.run_kept(&["-d", "--name", "limited", "--timeout", "1"], patient).works();
    assert_eq!(place.usnea(&["wait", "limited"]).works(), "137");
    assert_eq!(field(&place, "limited", "{{.Config.Timeout}}"), "1");
    // Each start has the time anew.
    assert_eq!(place.usnea(&["start", "-a", "limited"]).status, 137);
    assert!(begin.elapsed() < Duration::from_secs(55));
    assert_eq!(place.run(&["--timeout", "60"], "exit 3").status, 3);
    assert_eq!(place.run(&["--timeout", "0"], "exit 4").status, 4);
    clean(&place);
}

#[test]
fn the_domain_name_is_in_the_kernel_and_in_hosts() {
    let place = Place::new();
    let flags = ["--hostname", "web", "--domainname", "example.org"];
    let look = "cat /proc/sys/kernel/domainname /proc/sys/kernel/hostname /etc/hostname; grep -c 'web.example.org web$' /etc/hosts";
    assert_eq!(place.run(&flags, look).works(), "example.org\nweb\nweb\n1");
    place.run_kept(&[&["--name", "kept"], &flags[..]].concat(), look).works();
    assert_eq!(field(&place, "kept", "{{.Config.Domainname}}"), "example.org");
    let ran = place.run(&["--uts", "host", "--domainname", "a"], "true");
    ran.fails_with(125, &["--domainname and --uts host"]);
    clean(&place);
}

#[test]
fn the_monitor_s_number_is_written_to_a_file() {
    let place = Place::new();
    let file = place.path("monitor.pid");
    let flags = ["-d", "--name", "watched", "--conmon-pidfile", text(&file)];
    place.run_kept(&flags, "sleep 60").works();
    let number = place.read("monitor.pid");
    assert_eq!(number.trim(), field(&place, "watched", "{{.State.ConmonPid}}"));
    clean(&place);
}

#[test]
fn the_personality_is_that_of_all_commands() {
    let place = Place::new();
    let flags = ["-d", "--name", "old", "--personality", "LINUX32"];
    place.run_kept(&flags, "cat /proc/self/personality; sleep 60").works();
    let logged = || place.usnea(&["logs", "old"]).works().to_owned();
    assert!(within(Duration::from_secs(20), || logged() == "00000008"), "{}", logged());
    let look = ["cat", "/proc/self/personality"];
    assert_eq!(place.usnea(&[&["exec", "old"], &look[..]].concat()).works(), "00000008");
    assert_eq!(
        place.run(&["--personality", "LINUX"], "cat /proc/self/personality").works(),
        "00000000"
    );
    assert!(
        place
            .usnea(&["run", "--explain", "--personality", "LINUX32", &place.image(), "true"])
            .works()
            .contains("setarch linux32")
    );
    clean(&place);
}

#[test]
fn ipc_none_has_no_shared_memory() {
    let place = Place::new();
    let look = "readlink /proc/self/ns/ipc; ls -d /dev/shm 2>/dev/null || echo none";
    let host = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    let shown = place.run(&["--ipc", "none"], look).works().to_owned();
    assert!(shown.ends_with("\nnone") && !shown.starts_with(text(&host)), "{shown}");
    place.run_kept(&["--name", "kept", "--ipc", "none"], "true").works();
    assert_eq!(field(&place, "kept", "{{.HostConfig.IpcMode}}"), "none");
    for mode in ["private", "shareable", "host"] {
        let shown = place.run(&["--ipc", mode], look).works().to_owned();
        assert!(shown.ends_with("/dev/shm"), "{mode}: {shown}");
        assert_eq!(shown.starts_with(text(&host)), mode == "host", "{mode}: {shown}");
    }
    clean(&place);
}

#[test]
fn descriptors_are_handed_over_by_number() {
    let place = Place::new();
    let image = place.image();
    let from_shell = |words: &str| {
        let script =
            format!("exec 5<<E\nfive\nE\nexec 7<<E\nseven\nE\n'{}' {words}", text(&binary()));
        let mut command = Command::new("bash");
        command.args(["-c", &script]);
        place.prepare(&mut command);
        finish(&mut command, "")
    };
    let look = "sh -c 'cat <&7; cat <&5 2>/dev/null || echo closed'";
    let ran = from_shell(&format!("run --rm --preserve-fd 7 {image} {look}"));
    assert_eq!(ran.works(), "seven\nclosed", "{}", ran.stderr);
    let ran = from_shell(&format!("run --rm --preserve-fd 5,7 {image} {look}"));
    assert_eq!(ran.works(), "seven\nfive", "{}", ran.stderr);
    place.run_kept(&["-d", "--name", "box"], "sleep 60").works();
    let ran = from_shell(&format!("exec --preserve-fd 7 box {look}"));
    assert_eq!(ran.works(), "seven\nclosed", "{}", ran.stderr);
    let ran = from_shell(&format!("run --rm --preserve-fd 9 {image} true"));
    ran.fails_with(125, &["--preserve-fd: descriptor 9"]);
    let ran = from_shell(&format!("run -d --preserve-fd 7 {image} true"));
    ran.fails_with(125, &["--preserve-fd"]);
    clean(&place);
}

#[test]
fn stop_and_restart_send_the_signal_that_is_asked_for() {
    let place = Place::new();
    let script =
        "trap 'echo hup; exit 5' HUP; trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done";
    let up = |times: usize| {
        let logged = || {
            place.usnea(&["logs", "web"]).works().matches("up").count()
                - place.usnea(&["logs", "web"]).works().matches("hup").count()
        };
        assert!(within(Duration::from_secs(20), || logged() == times));
    };
    place.run_kept(&["-d", "--name", "web"], script).works();
    up(1);
    place.usnea(&["restart", "--signal", "HUP", "web"]).works();
    up(2);
    place.usnea(&["stop", "-s", "SIGHUP", "web"]).works();
    assert_eq!(place.usnea(&["wait", "web"]).works(), "5");
    assert_eq!(place.usnea(&["logs", "web"]).works().matches("hup").count(), 2);
    place.usnea(&["stop", "--signal", "NONE", "web"]).fails_with(125, &["'NONE' is no signal"]);
    clean(&place);
}

#[test]
fn create_records_the_streams_that_start_attaches() {
    let place = Place::new();
    let script = "echo out; echo err >&2";
    let create = |words: &[&str]| place.usnea(&place.kept(&[&["create"], words].concat(), script));
    create(&["--name", "both", "-a", "stdout", "--attach", "STDERR"]).works();
    create(&["--name", "errors", "-a", "stderr"]).works();
    let ran = place.usnea(&["start", "-a", "both"]);
    assert_eq!((ran.works(), ran.stderr.trim()), ("out", "err"));
    let ran = place.usnea(&["start", "-a", "errors"]);
    assert_eq!((ran.works(), ran.stderr.trim()), ("", "err"));
    let template = "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}";
    assert_eq!(field(&place, "both", template), "false true true");
    assert_eq!(field(&place, "errors", template), "false false true");
    clean(&place);
}

// The command's streams, not those of usnea: errors of its own are shown in any case.
#[test]
fn only_the_streams_that_attach_names_are_attached() {
    let place = Place::new();
    let script = "cat; echo out; echo err >&2";
    for (attached, expected) in [
        (&["-a", "stdout"][..], ("out", "")),
        (&["-a", "stderr"], ("", "err")),
        (&["-a", "stdout", "-a", "stderr"], ("out", "err")),
        (&["-i", "-a", "stdin", "-a", "stdout"], ("in\nout", "")),
        (&["-i", "-a", "stdin", "-a", "stderr"], ("", "err")),
        (&["-i", "-a", "stdin"], ("", "")),
        (&["-i", "-a", "stdout"], ("out", "")),
        (&["-i"], ("in\nout", "err")),
    ] {
        let kept = [attached, &["--name", "kept"]].concat();
        let kept = place.kept(&[&["run"][..], &kept].concat(), script);
        let disposable = place.kept(&[&["run", "--rm"][..], attached].concat(), script);
        for words in [kept, disposable] {
            let ran = finish(&mut place.command(&words), "in\n");
            assert_eq!((ran.works(), ran.stderr.trim()), expected, "{words:?}");
        }
        clean(&place);
    }
    place.run(&["-a", "stdout", "-v", "/none:/n"], "true").fails_with(125, &["/none"]);
}

#[test]
fn logs_color_the_lines_of_each_container() {
    let place = Place::new();
    place.run_kept(&["--name", "one"], "echo a; echo b").works();
    place.run_kept(&["--name", "two"], "echo c").works();
    let shown = |words: &[&str]| place.usnea(&[&["logs"], words].concat()).stdout;
    let colored = "\x1b[31ma\x1b[0m\n\x1b[31mb\x1b[0m\n\x1b[32mc\x1b[0m\n";
    assert_eq!(shown(&["--color", "one", "two"]), colored);
    assert_eq!(shown(&["--color", "--names", "two"]), "\x1b[31mtwo c\x1b[0m\n");
    assert_eq!(shown(&["--details", "one"]), " a\n b\n");
    clean(&place);
}

#[test]
fn exec_has_the_groups_of_the_accounts_as_they_are_now() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    let flags = ["-d", "--name", "box", "--user", "worker", "--group-add", "77"];
    place.run_kept(&flags, "sleep 60").works();
    let groups = || place.usnea(&["exec", "box", "id", "-G"]).works().to_owned();
    let add = "echo late:x:1003:worker >> /etc/group";
    let sorted = |text: String| {
        let mut all: Vec<u32> = text.split(' ').map(|gid| gid.parse().unwrap()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(sorted(groups()), [77, 1001, 1002]);
    place.usnea(&["exec", "-u", "0", "box", "sh", "-c", add]).works();
    assert_eq!(sorted(groups()), [77, 1001, 1002, 1003]);
    // A user who is gone from the accounts is who it was.
    place.usnea(&["exec", "-u", "0", "box", "sh", "-c", "echo > /etc/passwd"]).works();
    assert_eq!(place.usnea(&["exec", "box", "id", "-u"]).works(), "1000");
    clean(&place);
}

#[test]
fn annotations_time_zones_and_network_names_are_taken() {
    let place = Place::new();
    let flags = ["--name", "noted", "--annotation", "org.example.a=1", "--annotation", "b"];
    place.run_kept(&flags, "true").works();
    let template = "{{index .Config.Annotations \"org.example.a\"}}";
    assert_eq!(field(&place, "noted", template), "1");
    let ran = place.run(&["--annotation", "usnea.init=true"], "true");
    ran.fails_with(125, &["--annotation usnea.init=true"]);

    if std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        let zone = place.run(&["--tz", "Asia/Tokyo"], "cmp /etc/localtime /zone && echo same");
        assert_ne!(zone.status, 0, "nothing is at /zone");
        let flags = ["--tz", "Asia/Tokyo", "-v", "/usr/share/zoneinfo:/zones:ro"];
        let same = "cmp /etc/localtime /zones/Asia/Tokyo && echo same";
        assert_eq!(place.run(&flags, same).works(), "same");
    }
    for wrong in ["No/Where", "../../etc/passwd", "/etc/passwd", ""] {
        let ran = place.run(&[&format!("--tz=./{wrong}")], "true");
        ran.fails_with(125, &["--tz", "no such time zone"]);
    }

    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap();
    for name in ["bridge", "default", "private"] {
        let ran = place.run(&["--network", name], "readlink /proc/self/ns/net; ip -o link");
        let shown = ran.works();
        assert!(!shown.starts_with(text(&namespace)), "{name}: {shown}");
        assert_eq!(shown.lines().count(), 3, "{name}: {shown}");
    }
    clean(&place);
}

#[test]
fn accounts_have_the_lines_that_were_asked_for() {
    let place = Place::new();
    let look = "grep -h -e 4321 -e ^me: /etc/passwd /etc/group; echo $HOME";
    let lines = |options: &[&str]| {
        place.run(options, look).works().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let entries = ["--passwd-entry", "web-$USERNAME:x:$UID:$GID:$NAME:$HOME:/bin/no"];
    let group = ["--group-entry", "$GROUPNAME:x:$GID:$USERLIST"];
    if has_subids() {
        let options = [&["-u", "4321:4322"], &entries[..], &group].concat();
        let said = ["web-4321:x:4321:4322:4321:/:/bin/no", "4321:x:4322:4321", "/"];
        assert_eq!(lines(&options), said);
        assert_eq!(lines(&[&["-u", "4321", "--passwd=false"], &entries[..]].concat()), ["/"]);
        assert_eq!(lines(&["-u", "4321:4322"]), ["/"]);
    }
    // keep-id adds the caller without being asked.
    let kept = ["--userns", "keep-id:uid=4321,gid=4321"];
    if has_subids() {
        assert_eq!(lines(&kept).len(), 3);
        assert_eq!(lines(&[&kept[..], &["--passwd=false"]].concat()).len(), 1);
        let own = lines(&[&kept[..], &["--passwd-entry", "me:x:$UID:$GID::/srv:/bin/sh"]].concat());
        assert_eq!(
            (own[0].as_str(), own.last().map(String::as_str)),
            ("me:x:4321:4321::/srv:/bin/sh", Some("/srv"))
        );
        for (flag, value) in [("--passwd-entry", "me:x"), ("--group-entry", "a:b:c:d:e")] {
            let ran = place.run(&[&kept[..], &[flag, value]].concat(), "true");
            ran.fails_with(125, &[flag, "fields"]);
        }
    }
    place.nothing_is_left();
}

#[test]
fn hosts_begin_with_the_lines_of_another_file() {
    let place = Place::new();
    let file = place.write("hosts", "192.0.2.7 seven # eight\n127.0.0.1 localhost");
    let hosts = |options: &[&str]| place.run(options, "cat /etc/hosts").works().to_owned();
    let of_file = hosts(&["--hosts-file", text(&file), "--add-host", "more:192.0.2.8"]);
    assert!(of_file.starts_with("192.0.2.7 seven # eight\n127.0.0.1 localhost\n"), "{of_file}");
    assert!(of_file.contains("192.0.2.8\tmore"), "{of_file}");
    assert_eq!(of_file.matches("localhost").count(), 1, "{of_file}");
    // Names that a file lacks are added.
    let empty = hosts(&["--hosts-file", "none"]);
    assert!(empty.starts_with("127.0.0.1\tlocalhost\n"), "{empty}");
    std::fs::write(place.small_root().join("etc/hosts"), "192.0.2.9 of-image\n").expect("a file");
    assert!(!hosts(&[]).contains("of-image"));
    assert!(hosts(&["--hosts-file", "image"]).contains("192.0.2.9 of-image\n"));
    assert!(hosts(&["--network", "none", "--hosts-file", "image"]).contains("of-image"));
    // A restart has the same lines.
    let words = ["--name", "kept", "--hosts-file", text(&file)];
    place.run_kept(&words, "cat /etc/hosts").works();
    std::fs::remove_file(&file).expect("it is there");
    assert!(place.usnea(&["start", "-a", "kept"]).works().starts_with("192.0.2.7 seven"));
    place.run(&["--hosts-file", text(&file)], "true").fails_with(125, &["--hosts-file", "No such"]);
    place.run(&["--hosts-file", "relative"], "true").fails_with(125, &["absolute path"]);
    place
        .run(&["--hosts-file", "/dev/zero"], "true")
        .fails_with(125, &["--hosts-file", "too large"]);
    place.run(&["--hosts-file", "none", "--no-hosts"], "true").fails_with(125, &["--no-hosts"]);
    clean(&place);
}

#[test]
fn where_there_is_one_choice_it_is_taken_and_no_other() {
    let place = Place::new();
    let options = ["--isolation", "default", "--runtime", "usnea", "--volume-driver", "local"];
    assert_eq!(place.run(&options, "echo ran").works(), "ran");
    assert_eq!(place.run(&["--runtime=/usr/bin/usnea", "--isolation="], "echo ran").works(), "ran");
    for (flag, value, why) in [
        ("--isolation", "hyperv", "default"),
        ("--runtime", "crun", "starts containers itself"),
        ("--storage-opt", "size=10G", "quota"),
        ("--storage-opt", "colour=red", "no options"),
        ("--volume-driver", "nfs", "local"),
    ] {
        place.run(&[flag, value], "echo ran").fails_with(125, &[flag, value, why]);
    }
    place.nothing_is_left();
}

#[test]
fn a_pull_is_tried_as_often_as_was_asked_for() {
    let place = Place::new();
    let server = FaultRegistry::start(|_, _| answer("503 Service Unavailable", &[], b""));
    let image = format!("{}/a/b:1", server.host);
    for (retries, delay) in [("0", "1h"), ("2", "1ms"), ("9", "1ms")] {
        let before = server.heard().len();
        let flags = ["--tls-verify=false", "--retry", retries, "--retry-delay", delay];
        let words = [&["run", "--rm"], &flags[..], &[&image, "true"]].concat();
        place.usnea(&words).fails_with(125, &["503"]);
        let words = [&["pull"], &flags[..], &[&image]].concat();
        assert_ne!(place.usnea(&words).status, 0);
        let tries = retries.parse::<usize>().expect("a number") + 1;
        assert_eq!(server.heard().len() - before, 2 * tries, "{retries}");
    }
    let words = ["run", "--rm", "--retry-delay", "soon", &image, "true"];
    place.usnea(&words).fails_with(125, &["soon"]);
    place.nothing_is_left();
}
