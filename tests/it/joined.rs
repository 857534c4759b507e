//! Namespaces of another container, by their paths in config.json.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Place;

/// Kinds that can be joined, as config.json and /proc name them.
const KINDS: [(&str, &str); 5] =
    [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")];

fn start_other(place: &Place) -> String {
    place.run_kept(&["-d", "--name", "other"], "exec sleep 1000").works();
    place.usnea(&["inspect", "-f", "{{.State.Pid}}", "other"]).works().to_owned()
}

fn end(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

/// Creates the container `one`, and returns the path of its config.json.
fn create(place: &Place, options: &[&str], script: &str) -> PathBuf {
    let words = place.kept(&[&["create", "--name", "one"], options].concat(), script);
    let id = place.usnea(&words).works().to_owned();
    place.store().join("containers").join(id).join("config.json")
}

/// Changes a config to join these namespaces. The other container's host name stays its own.
fn join(config: &PathBuf, paths: &[(&str, String)]) {
    let text = fs::read(config).expect("a config");
    let mut spec: Value = serde_json::from_slice(&text).expect("JSON");
    let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
    for (kind, path) in paths {
        namespaces.retain(|namespace| namespace["type"] != *kind);
        namespaces.push(json!({ "type": kind, "path": path }));
    }
    if paths.iter().any(|(kind, _)| *kind == "uts") {
        spec.as_object_mut().expect("a config").remove("hostname");
    }
    fs::write(config, spec.to_string()).expect("a config");
}

#[test]
fn a_container_is_in_the_namespaces_of_another_one() {
    let place = Place::new();
    let pid = start_other(&place);
    for kinds in [&KINDS[..1], &KINDS[1..2], &KINDS[2..3], &KINDS[3..4], &KINDS[4..], &KINDS] {
        let names: Vec<_> = kinds.iter().map(|(_, name)| *name).collect();
        let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", names.join(" "));
        let config = create(&place, &[], &script);
        let path = |name: &str| format!("/proc/{pid}/ns/{name}");
        let paths: Vec<_> = kinds.iter().map(|(kind, name)| (*kind, path(name))).collect();
        join(&config, &paths);
        let theirs = names.iter().map(|name| fs::read_link(path(name)).expect("a namespace"));
        let theirs: Vec<_> = theirs.map(|link| link.display().to_string()).collect();
        let ran = place.usnea(&["start", "--attach", "one"]);
        assert_eq!(ran.works().lines().collect::<Vec<_>>(), theirs, "{kinds:?}");
        place.usnea(&["rm", "one"]).works();
        place.usnea(&["exec", "other", "true"]).works();
    }
    end(&place);
}

#[test]
fn processes_of_a_joined_pid_namespace_see_each_other_and_end_apart() {
    let place = Place::new();
    let pid = start_other(&place);
    let config = create(&place, &[], "cat /proc/1/cmdline | tr '\\0' ' '; exec sleep 1001");
    join(&config, &[("pid", format!("/proc/{pid}/ns/pid"))]);
    place.usnea(&["start", "one"]).works();
    let seen = place.usnea(&["exec", "other", "sh", "-c", "cat /proc/[0-9]*/cmdline"]);
    assert!(seen.works().contains("1001"), "{seen:?}");
    place.usnea(&["stop", "-t", "0", "one"]).works();
    let seen = place.usnea(&["exec", "other", "sh", "-c", "cat /proc/[0-9]*/cmdline"]);
    assert!(!seen.works().contains("1001"), "{seen:?}");
    end(&place);
}

#[test]
fn namespaces_that_cannot_be_joined_are_refused_before_the_launch() {
    let place = Place::new();
    let pid = start_other(&place);
    for (kind, path, phrase) in [
        ("network", "/proc/1/ns/nothing".to_owned(), "cannot join the namespace"),
        ("network", format!("/proc/{pid}/ns/ipc"), "is no namespace of that type"),
        ("network", "/dev/null".to_owned(), "is no namespace of that type"),
        ("user", format!("/proc/{pid}/ns/user"), "joining the user namespace"),
        ("mount", format!("/proc/{pid}/ns/mnt"), "joining the mount namespace"),
    ] {
        let config = create(&place, &[], "echo ran");
        join(&config, &[(kind, path)]);
        place.usnea(&["start", "--attach", "one"]).fails_with(125, &[phrase]);
        place.usnea(&["rm", "one"]).works();
    }
    let config = create(&place, &["--hostname", "box"], "echo ran");
    let text = fs::read_to_string(&config).expect("a config");
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    spec["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .iter_mut()
        .filter(|namespace| namespace["type"] == "uts")
        .for_each(|uts| uts["path"] = json!(format!("/proc/{pid}/ns/uts")));
    fs::write(&config, spec.to_string()).expect("a config");
    let phrase = "the host name is the other container's";
    place.usnea(&["start", "--attach", "one"]).fails_with(125, &[phrase]);
    end(&place);
}
