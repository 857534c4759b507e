//! `usnea logs`: everything that was written, in its order, at once, within bounds; and clients whose output nobody reads.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Place, binary, finish, text, within};

const LIMIT: Duration = Duration::from_secs(60);

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

/// A script of sh with `$usnea` in it.
fn shell(place: &Place, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("usnea", binary());
    place.prepare(&mut command);
    command
}

#[test]
fn both_streams_come_in_the_order_of_the_log() {
    let place = Place::new();
    let script = "for i in 1 2 3 4 5; do echo o$i; sleep 0.1; echo e$i >&2; sleep 0.1; done";
    place.run_kept(&["--name", "both"], script).exits(0);
    let both = finish(&mut shell(&place, "$usnea logs both 2>&1"), "");
    assert_eq!(both.works(), "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5");
    let last = finish(&mut shell(&place, "$usnea logs --tail 3 both 2>&1"), "");
    assert_eq!(last.works(), "e4\no5\ne5");
    clean(&place);
}

#[test]
fn a_follower_sees_at_once_what_is_there() {
    let place = Place::new();
    place.run_kept(&["-d", "--name", "quiet"], "echo here; sleep 1000").works();
    assert!(within(LIMIT, || place.usnea(&["logs", "quiet"]).stdout == "here\n"));
    let mut follower = place.command(&["logs", "--follow", "quiet"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().expect("usnea");
    // Nothing else will ever be written: without a flush this line would not come.
    let mut line = String::new();
    BufReader::new(follower.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "here\n");
    follower.kill().and_then(|()| follower.wait()).expect("its end");
    clean(&place);
}

#[test]
fn output_before_the_start_of_logs_is_in_the_log() {
    let place = Place::new();
    let folder = place.folder("flags");
    let volume = format!("{}:/flags", text(&folder));
    let script = "i=0; while read i; do echo line $i; : > /flags/$i; done; sleep 1000";
    place.run_kept(&["-d", "-i", "--name", "writer", "-v", &volume], script).works();
    for number in 1..=30 {
        let flag = folder.join(number.to_string());
        let words = ["attach", "--sig-proxy=false", "writer"];
        // It leaves when its input ends without having waited for output.
        let mut client = place.command(&words);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("usnea");
        let mut input = client.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, format!("{number}\n").as_bytes()).expect("a line");
        assert!(within(LIMIT, || flag.exists()));
        let logged = place.usnea(&["logs", "writer"]);
        assert!(logged.stdout.ends_with(&format!("line {number}\n")), "{number}: {logged:?}");
        client.kill().and_then(|()| client.wait()).expect("its end");
    }
    clean(&place);
}

#[test]
fn a_client_with_unread_output_ends_and_its_container_stays() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 1000";
    let mut words = vec!["$usnea".to_owned()];
    words.extend(
        place
            .kept(&["run", "--name", "box"], script)
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''"))),
    );
    let status = place.path("status");
    let line = format!("{{ {}; echo $? > '{}'; }} | head -n 1", words.join(" "), text(&status));
    assert_eq!(finish(&mut shell(&place, &line), "").works(), "0");
    assert_eq!(place.read("status"), "141\n");
    assert_eq!(place.usnea(&["ps", "--format", "{{.Names}}"]).works(), "box");
    // The rest of its output is in the log all the same.
    assert!(within(LIMIT, || place.usnea(&["logs", "--tail", "1", "box"]).stdout == "2999\n"));
    clean(&place);
}

#[test]
fn a_log_has_a_limit_unless_it_is_lifted() {
    let place = Place::new();
    let config = |name: &str, options: &[&str]| {
        place.run_kept(&[&["--name", name], options].concat(), "true").works();
        let template = "{{json .HostConfig.LogConfig.Config}}";
        place.usnea(&["inspect", "--format", template, name]).works().to_owned()
    };
    assert_eq!(config("plain", &[]), r#"{"max-file":"5","max-size":"20971520"}"#);
    assert_eq!(config("lifted", &["--log-opt", "max-size=-1"]), "{}");
    assert_eq!(config("own", &["--log-opt", "max-size=5m"]), r#"{"max-size":"5242880"}"#);
    place.write("settings/usnea/usnea.toml", "[log]\nmax-size = 8192\nmax-file = 2\n");
    let script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
    let list = place.kept(&["run", "--name", "site"], script);
    finish(place.command(&list).env("XDG_CONFIG_HOME", place.path("settings")), "").exits(0);
    let id = place.usnea(&["inspect", "--format", "{{.Id}}", "site"]).works().to_owned();
    let sizes: Vec<u64> = std::fs::read_dir(place.store().join("containers").join(id))
        .expect("its folder")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("log"))
        .map(|entry| entry.metadata().expect("its size").len())
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= 8192), "{sizes:?}");
    assert!(place.usnea(&["logs", "site"]).stdout.ends_with("19999\n"));
    clean(&place);
}

#[test]
fn several_containers_are_stopped_at_the_same_time() {
    let place = Place::new();
    let names = ["box1", "box2", "box3"];
    let start = || {
        for name in names {
            let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
            place.run_kept(&["-d", "--replace", "--name", name], script).works();
            assert!(within(LIMIT, || place.usnea(&["logs", name]).stdout == "up\n"));
        }
    };
    for verb in
        [&["stop", "--time", "1"][..], &["restart", "--time", "1"], &["rm", "-f", "-t", "1"]]
    {
        start();
        let since = jiff::Timestamp::now().to_string();
        place.usnea(&[verb, &names].concat()).works();
        let template = "{{.Action}} {{index .Actor.Attributes \"signal\"}}";
        let words = ["events", "--stream=false", "--since", &since, "--format", template];
        let events = place.usnea(&words).works().to_owned();
        // All are asked before the first is killed.
        let signals: Vec<_> = events.lines().filter(|line| line.starts_with("kill ")).collect();
        let expected = ["kill 15", "kill 15", "kill 15", "kill 9", "kill 9", "kill 9"];
        assert_eq!(signals, expected, "{verb:?}: {events}");
    }
    clean(&place);
}

#[test]
fn logs_ends_as_cat_does_when_its_reader_is_gone() {
    let place = Place::new();
    place
        .run_kept(&["--name", "box"], "i=0; while [ $i -lt 9 ]; do echo $i; i=$((i+1)); done")
        .works();
    for words in [
        "ps -a",
        "container ls -a",
        "images -a",
        "image ls",
        "inspect box",
        "container inspect box",
        "logs box",
        "events --stream=false --since 0",
        "info",
        "system info",
        "system df",
        "version",
        "volume ls",
        "ps -a --format json",
        "diff box",
        "port box",
        "export box",
        "doctor",
        "completion bash",
        "history nothing",
    ] {
        let line = format!("{{ sleep 0.1; $usnea {words}; }} | :");
        let ran = finish(&mut shell(&place, &line), "");
        let is_told = words.starts_with("history") == ran.stderr.is_empty();
        assert!(!is_told && !ran.stderr.contains("panic"), "{words}: {ran:?}");
    }
    clean(&place);
}
