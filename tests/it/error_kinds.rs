//! Kinds of errors, for each verb where they can arise: a server answers with their HTTP status. The log tells them.

use crate::composed::{Composed, small_root};
use crate::stocked::Stocked;
use crate::support::{Place, text};

/// Runs `usnea WORDS`, which must fail with an error of this kind.
#[track_caller]
fn fails(place: &Place, kind: &str, words: &[&str]) {
    let ran = place.usnea(&[&["--log-level", "debug"][..], words].concat());
    assert_ne!(ran.status, 0, "{words:?}: {ran:?}");
    // The log begins after the grammar, whose errors are all invalid values.
    if kind == "Invalid" && ran.stderr.starts_with("usnea: invalid value ") {
        return;
    }
    let told = ran.stderr.lines().rfind(|line| line.starts_with("usnea: error of kind "));
    let told = told.unwrap_or_else(|| panic!("{words:?}: no kind: {ran:?}"));
    assert!(told.starts_with(&format!("usnea: error of kind {kind} ")), "{words:?}: {ran:?}");
}

#[test]
fn missing_objects_are_not_found() {
    let place = Place::new();
    let verbs: [&[&str]; 23] = [
        &["start", "nope"],
        &["stop", "nope"],
        &["restart", "nope"],
        &["kill", "nope"],
        &["rm", "nope"],
        &["attach", "nope"],
        &["logs", "nope"],
        &["exec", "nope", "true"],
        &["commit", "nope", "x"],
        &["diff", "nope"],
        &["cp", "nope:/x", "."],
        &["export", "nope"],
        &["wait", "nope"],
        &["inspect", "nope"],
        &["rename", "nope", "other"],
        &["port", "nope"],
        &["top", "nope"],
        &["update", "--memory", "64m", "nope"],
        &["pause", "nope"],
        &["unpause", "nope"],
        &["stats", "--no-stream", "nope"],
        &["healthcheck", "run", "nope"],
        &["container", "clone", "nope"],
    ];
    for words in verbs {
        fails(&place, "NotFound", words);
    }
    let images: [&[&str]; 12] = [
        &["rmi", "nope"],
        &["history", "nope"],
        &["tag", "nope", "other"],
        &["untag", "nope"],
        &["push", "nope", "oci:x"],
        &["save", "-o", "x.tar", "nope"],
        &["image", "inspect", "nope"],
        &["image", "tree", "nope"],
        &["image", "diff", "nope"],
        &["run", "--rm", "--pull", "never", "nope", "true"],
        &["create", "--pull", "never", "nope", "true"],
        &["manifest", "rm", "nope"],
    ];
    for words in images {
        fails(&place, "NotFound", words);
    }
    let volumes: [&[&str]; 4] = [
        &["volume", "inspect", "nope"],
        &["volume", "rm", "nope"],
        &["volume", "export", "nope"],
        &["volume", "import", "nope", "x.tar"],
    ];
    let networks: [&[&str]; 2] = [&["network", "inspect", "nope"], &["network", "rm", "nope"]];
    for words in volumes.into_iter().chain(networks) {
        fails(&place, "NotFound", words);
    }
}

#[test]
fn removal_of_objects_in_use_is_a_conflict() {
    let place = Place::new();
    let image = place.image();
    let running = &["run", "-d", "--name", "box", "-v", "data:/data"];
    place.usnea(&place.kept(running, "exec sleep 1000")).works();
    place.usnea(&["create", "--name", "other", &image, "true"]).works();
    fails(&place, "Conflict", &["create", "--name", "box", &image, "true"]);
    fails(&place, "Conflict", &["run", "--name", "box", &image, "true"]);
    fails(&place, "Conflict", &["rename", "other", "box"]);
    fails(&place, "Conflict", &["rm", "box"]);
    fails(&place, "Conflict", &["volume", "rm", "data"]);
    fails(&place, "Conflict", &["wait", "--condition", "healthy", "box"]);
    place.write("id", "");
    fails(&place, "Conflict", &["create", "--cidfile", "id", &image, "true"]);
    place.usnea(&["network", "create", "backend"]).works();
    fails(&place, "Conflict", &["network", "create", "backend"]);
    place.usnea(&["manifest", "create", "list"]).works();
    fails(&place, "Conflict", &["manifest", "create", "list"]);
    place.usnea(&["rm", "-f", "-t", "0", "box", "other"]).works();
}

#[test]
fn an_image_in_use_is_in_conflict() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).write(&place, "l");
    place.usnea(&["pull", "-q", "oci:l"]).works();
    place.usnea(&["create", "--name", "box", "localhost/l", "true"]).works();
    let id = place.usnea(&["images", "-q"]).works().to_owned();
    fails(&place.place, "Conflict", &["rmi", &id]);
    place.usnea(&["tag", "localhost/l", "localhost/m"]).works();
    place.usnea(&["rm", "box"]).works();
    fails(&place.place, "Conflict", &["rmi", &id]);
}

#[test]
fn verbs_for_running_containers_tell_whether_one_runs() {
    let place = Place::new();
    place.usnea(&["create", "--name", "idle", &place.image(), "true"]).works();
    let verbs: [&[&str]; 7] = [
        &["exec", "idle", "true"],
        &["attach", "idle"],
        &["kill", "idle"],
        &["pause", "idle"],
        &["unpause", "idle"],
        &["top", "idle"],
        &["stats", "--no-stream", "idle"],
    ];
    for words in verbs {
        fails(&place, "NotRunning", words);
    }
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "exec sleep 1000")).works();
    fails(&place, "AlreadySo", &["unpause", "box"]);
    place.usnea(&["rm", "-f", "-t", "0", "box", "idle"]).works();
}

#[test]
fn bad_values_and_contradictions_are_invalid() {
    let place = Place::new();
    let image = place.image();
    let options: [&[&str]; 9] = [
        &["--memory", "1k"],
        &["--uts", "host", "--hostname", "x"],
        &["--read-only", "--rw-root"],
        &["--network", "none", "-p", "80"],
        &["--annotation", "usnea.x=1"],
        &["--sysctl", "vm.swappiness=1"],
        &["--tz", "Nowhere/Town"],
        &["-w", "relative"],
        &["--cpu-shares", "1"],
    ];
    for options in options {
        let words = [&["run", "--rm"][..], options, &[image.as_str(), "true"]].concat();
        fails(&place, "Invalid", &words);
        let words = [&["create"][..], options, &[image.as_str(), "true"]].concat();
        fails(&place, "Invalid", &words);
    }
    let verbs: [&[&str]; 9] = [
        &["network", "ls", "--filter", "nope=1"],
        &["network", "create", "--subnet", "10.5.0.1/24", "backend"],
        &["ps", "--filter", "nope=1"],
        &["events", "--filter", "nope=1"],
        &["volume", "ls", "--filter", "nope=1"],
        &["images", "--filter", "nope=1"],
        &["events", "--since", "nope"],
        &["import", "--change", "NOPE x", "x.tar"],
        &["cp", "a", "b"],
    ];
    for words in verbs {
        fails(&place, "Invalid", words);
    }
}

#[test]
fn the_kernel_and_registries_refuse_or_do_not_answer() {
    let place = Place::new();
    let image = place.image();
    fails(&place, "Refused", &["run", "--rm", "--oom-score-adj", "-1000", &image, "true"]);
    // Nothing listens at port 1.
    fails(&place, "Unreachable", &["pull", "-q", "--tls-verify=false", "127.0.0.1:1/x"]);
    fails(&place, "Unreachable", &["search", "--tls-verify=false", "127.0.0.1:1/x"]);
    place.write("root.tar", [0; 1024]);
    place.usnea(&["import", "-q", text(&place.path("root.tar")), "127.0.0.1:1/x"]).works();
    fails(&place, "Unreachable", &["push", "--tls-verify=false", "127.0.0.1:1/x"]);
}
