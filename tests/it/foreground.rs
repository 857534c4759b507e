//! A disposable container in the foreground (`run --rm`) is found by other commands as long as it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Place, Started, finish, within};

const LIMIT: Duration = Duration::from_secs(60);

/// A container in the foreground; its ID.
fn start(place: &Place, options: &[&str], script: &str) -> (Started, String) {
    let words = [&["run", "--rm"], options].concat();
    let list = place.kept(&words, script);
    let started = Started::new(&mut place.command(&list), "");
    let id = || place.usnea(&["ps", "-q", "--no-trunc"]).works().to_owned();
    assert!(within(LIMIT, || id().lines().count() == 1));
    (started, id())
}

#[test]
fn a_foreground_container_is_listed_entered_measured_and_stopped() {
    let place = Place::new();
    let script = "trap 'exit 7' TERM; while :; do sleep 0.1; done";
    let (started, id) = start(&place, &["--label", "a=b"], script);
    let name = place.usnea(&["ps", "--filter", "label=a=b", "--format", "{{.Names}}"]);
    let name = name.works().to_owned();
    assert!(name.contains('_'), "{name}");
    assert_eq!(place.usnea(&["exec", &name, "echo", "inside"]).works(), "inside");
    assert_eq!(place.usnea(&["exec", &id[..12], "echo", "by ID"]).works(), "by ID");
    let state = "{{.State.Status}} {{.HostConfig.AutoRemove}} {{.Id}}";
    assert_eq!(place.usnea(&["inspect", "-f", state, &name]).works(), format!("running true {id}"));
    assert!(place.usnea(&["top", &name]).works().contains("sleep"));
    place.usnea(&["stats", "--no-stream", &name]).works();
    place.usnea(&["stop", &name]).works();
    assert_eq!(started.end().status, 7);
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    place.usnea(&["inspect", &id]).exits(1);
    place.nothing_is_left();
}

#[test]
fn operations_without_a_record_are_refused_with_the_reason() {
    let place = Place::new();
    let (started, id) = start(&place, &[], "sleep 1000");
    for words in [
        &["restart", &id][..],
        &["rename", &id, "other"],
        &["commit", &id, "image"],
        &["diff", &id],
        &["attach", &id],
        &["update", "--restart", "always", &id],
    ] {
        let ran = place.usnea(words);
        assert!(
            ran.status != 0 && ran.stderr.contains("is removed when the command"),
            "{words:?} {ran:?}"
        );
    }
    assert!(place.usnea(&["logs", &id]).stderr.contains("not kept"));
    place.usnea(&["rm", &id]).fails_with(1, &["is running"]);
    // It runs already.
    place.usnea(&["start", &id]).works();
    place.usnea(&["rm", "-f", &id]).works();
    assert_eq!(started.end().status, 137);
    place.nothing_is_left();
}

#[test]
fn a_killed_one_leaves_no_record() {
    let place = Place::new();
    let list = place.kept(&["run", "--rm"], "sleep 1000");
    let mut command = place.command(&list);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("usnea");
    let ids = || place.usnea(&["ps", "-aq"]).works().to_owned();
    assert!(within(LIMIT, || !ids().is_empty()));
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(pid, Signal::KILL).expect("to kill it");
    child.wait().expect("its end");
    assert!(within(LIMIT, || ids().is_empty()));
    place.nothing_is_left();
}

#[test]
fn stores_do_not_see_each_other_s() {
    let place = Place::new();
    let (started, id) = start(&place, &[], "sleep 1000");
    let other = place.path("other");
    let root = other.to_str().expect("a path");
    assert_eq!(place.usnea(&["--root", root, "ps", "-aq"]).works(), "");
    place.usnea(&["kill", &id]).works();
    assert_eq!(started.end().status, 137);
    place.nothing_is_left();
}

#[test]
fn nothing_is_left_in_the_runtime_folder() {
    let place = Place::new();
    let runtime = place.folder("runtime");
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("its mode");
    let list = place.kept(&["run", "--rm"], "echo up; sleep 0.2");
    let ran = finish(place.command(&list).env("XDG_RUNTIME_DIR", &runtime), "");
    assert_eq!(ran.works(), "up");
    let left = fs::read_dir(runtime.join("usnea")).expect("the folder of records").flatten();
    // The version of pasta is kept until the next boot.
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name != "pasta-version").collect();
    assert!(left.is_empty(), "{left:?}");
}
