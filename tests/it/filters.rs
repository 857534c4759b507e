//! Filters of lists: names are regular expressions, images are what they are by whatever name, and states can be waited
//! for.

use std::time::Duration;

use crate::stocked::Stocked;
use crate::support::{Place, Started, text, within};

const LIMIT: Duration = Duration::from_secs(60);

/// The words of a list, sorted.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words
}

#[test]
fn names_are_regular_expressions() {
    let place = Place::new();
    for name in ["foo1", "fooo", "bar", "x.y"] {
        place.usnea(&place.kept(&["create", "--name", name], "true")).works();
        place.usnea(&["volume", "create", name]).works();
        place.usnea(&["network", "create", name]).works();
    }
    for (pattern, found) in [
        ("foo|bar", &["bar", "foo1", "fooo"][..]),
        ("fo+$", &["fooo"]),
        ("^/?foo[0-9]$", &["foo1"]),
        ("x.y", &["x.y"]),
        ("^x[.]y$", &["x.y"]),
        ("oo", &["foo1", "fooo"]),
        ("nothing", &[]),
    ] {
        let filter = format!("name={pattern}");
        let ran = place.usnea(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        assert_eq!(words(ran.works()), found, "{pattern}");
        let ran = place.usnea(&["volume", "ls", "-q", "--filter", &filter]);
        assert_eq!(words(ran.works()), found, "{pattern} of volumes");
        let words_of = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
        assert_eq!(words(place.usnea(&words_of).works()), found, "{pattern} of networks");
    }
    // docker's names begin with a slash.
    let slash = ["ps", "-aq", "--filter", "name=^/bar$"];
    assert_eq!(place.usnea(&slash).works().lines().count(), 1);
    for words in [&["ps", "--filter", "name=("][..], &["volume", "ls", "--filter", "name=["]] {
        let ran = place.usnea(words);
        ran.fails_with(125, &["is no regular expression"]);
        ran.hints();
    }
    place.usnea(&["rm", "-a"]).works();
}

#[test]
fn containers_are_found_by_port_network_and_command() {
    let place = Place::new();
    let options =
        ["create", "--name", "web", "--network", "private", "-p", "18735:80", "--expose", "53/udp"];
    place.usnea(&place.kept(&options, "true")).works();
    let other = ["create", "--name", "other", "--network", "none"];
    place.usnea(&place.kept(&other, "true")).works();
    for (filter, found) in [
        ("publish=18735", &["web"][..]),
        ("publish=18000-19000/tcp", &["web"]),
        ("publish=80", &[]),
        ("expose=80", &["web"]),
        ("expose=53/udp", &["web"]),
        ("expose=53", &[]),
        ("network=private", &["web"]),
        ("network=bridge", &["web"]),
        ("network=none", &["other"]),
        ("pod=any", &[]),
        ("is-task=false", &["other", "web"]),
    ] {
        let ran = place.usnea(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
        assert_eq!(words(ran.works()), found, "{filter}");
    }
    let command = place.usnea(&["inspect", "-f", "{{.Path}}", "web"]).works().to_owned();
    let filter = format!("command={command}");
    assert_eq!(place.usnea(&["ps", "-aq", "--filter", &filter]).works().lines().count(), 2);
    place.usnea(&["rm", "-a"]).works();
}

#[test]
fn an_image_is_an_ancestor_by_each_of_its_names_and_of_what_is_built_on_it() {
    let place = Stocked::new();
    let id = place.import("one:1", &[("x", "1")], &[]);
    let other = place.import("two:1", &[("y", "2")], &[]);
    place.usnea(&["tag", "one:1", "q.io/other:3"]).works();
    place.usnea(&["create", "--name", "of-one", "one:1", "/x"]).works();
    place.usnea(&["create", "--name", "of-two", "two:1", "/y"]).works();
    place.usnea(&["commit", "-q", "-c", "LABEL a=b", "of-one", "built:1"]).works();
    place.usnea(&["create", "--name", "of-built", "built:1", "/x"]).works();
    let short = id.trim_start_matches("sha256:")[..12].to_owned();
    let of = |image: &str| {
        let filter = format!("ancestor={image}");
        let ran = place.usnea(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        words(ran.works()).join(" ")
    };
    for name in ["one:1", "localhost/one:1", "q.io/other:3", &id, &short] {
        assert_eq!(of(name), "of-built of-one", "{name}");
    }
    assert_eq!((of("built:1").as_str(), of(&other).as_str()), ("of-built", "of-two"));
    assert_eq!(of("nothing"), "");
    // The name goes, and is still the one that was typed.
    place.usnea(&["untag", "one:1"]).works();
    assert!(of("one:1").contains("of-one"));
    place.usnea(&["rm", "-a"]).works();
}

#[test]
fn images_are_found_by_id_digest_use_and_what_they_are_not_called() {
    let place = Stocked::new();
    let one = place.import("q.io/one:1", &[("x", "1")], &[]);
    place.import("q.io/two:1", &[("y", "2")], &[]);
    place.usnea(&["create", "--name", "box", "q.io/one:1", "/x"]).works();
    let digest = place.field("q.io/two:1", "{{.Digest}}");
    let hex = one.trim_start_matches("sha256:");
    let of = |filter: &str| {
        let ran = place.usnea(&["images", "--filter", filter, "--format", "{{.Repository}}"]);
        words(ran.works()).join(" ")
    };
    for (filter, found) in [
        (format!("id={}", &hex[..10]), "q.io/one"),
        (format!("id={one}"), "q.io/one"),
        (format!("digest={digest}"), "q.io/two"),
        (format!("digest={}", &digest[..20]), "q.io/two"),
        ("containers=true".into(), "q.io/one"),
        ("containers=false".into(), "q.io/two"),
        ("readonly=true".into(), ""),
        ("readonly=false".into(), "q.io/one q.io/two"),
        ("intermediate=true".into(), ""),
        ("manifest=false".into(), "q.io/one q.io/two"),
        ("reference!=*/one".into(), "q.io/two"),
        ("reference!=q.io/*:1".into(), ""),
    ] {
        assert_eq!(of(&filter), found, "{filter}");
    }
    let ran = place.usnea(&["images", "--filter", "color=red"]);
    ran.fails_with(125, &["not known"]);
    ran.hints();
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn events_are_found_by_podman_s_words_too() {
    let place = Place::new();
    place.usnea(&place.kept(&["run", "--name", "box"], "true")).works();
    place.usnea(&["rm", "box"]).works();
    for (word, action) in [("died", "die"), ("die", "die"), ("remove", "destroy")] {
        let filter = format!("event={word}");
        let words = ["events", "--until", "0s", "-f", &filter, "--format", "{{.Action}}"];
        assert_eq!(place.usnea(&words).works(), action, "{word}");
        let words = [&["system"], &words[..]].concat();
        assert_eq!(place.usnea(&words).works(), action, "{word}");
    }
}

#[test]
fn containers_are_listed_in_the_order_that_is_asked_for() {
    let place = Place::new();
    for name in ["bb", "cc", "aa"] {
        place.usnea(&place.kept(&["create", "--name", name], "true")).works();
    }
    for (key, order) in [("names", "aa bb cc"), ("created", "bb cc aa"), ("status", "aa cc bb")] {
        let ran = place.usnea(&["ps", "-a", "--sort", key, "--format", "{{.Names}}"]);
        assert_eq!(ran.works().split_whitespace().collect::<Vec<_>>().join(" "), order, "{key}");
    }
    let ran = place.usnea(&["ps", "-a", "--pod", "--external", "--sync"]);
    assert!(
        ran.works().lines().next().unwrap_or_default().ends_with("POD ID    PODNAME"),
        "{ran:?}"
    );
    place.usnea(&["rm", "-a"]).works();
}

#[test]
fn namespaces_of_what_runs_are_shown() {
    let place = Place::new();
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "sleep 1000")).works();
    let ran = place.usnea(&["ps", "--ns"]);
    let mut lines = ran.works().lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head.join(" "), "CONTAINER ID NAMES PID CGROUPNS IPC MNT NET PIDNS USERNS UTS");
    let row: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let link = std::fs::read_link(format!("/proc/{}/ns/net", row[2])).expect("a link");
    assert_eq!(format!("net:[{}]", row[6]), text(&link));
    let ran = place.usnea(&["ps", "--format", "{{.Namespaces.NET}} {{.NET}}"]);
    assert_eq!(ran.works(), format!("{0} {0}", row[6]));
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
}

#[test]
fn a_watched_list_comes_again() {
    let place = Place::new();
    let mut command = place.command(&["ps", "--watch", "1"]);
    let mut watch = Started::new(&mut command, "");
    watch.wait_for("NAMES");
    watch.wait_for("NAMES");
    watch.signal(rustix::process::Signal::INT);
    watch.end();
}

#[test]
fn exists_tells_by_its_status() {
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "box"], "true")).works();
    assert_eq!(place.usnea(&["container", "exists", "box"]).works(), "");
    place.usnea(&["container", "exists", "none"]).exits(1);
    place.usnea(&["rm", "box"]).works();
    place.usnea(&["container", "exists", "box"]).exits(1);
}

#[test]
fn states_are_waited_for() {
    let place = Place::new();
    place
        .usnea(
            &place
                .kept(&["create", "--name", "box", "--health-cmd", "test -e /well"], "sleep 1000"),
        )
        .works();
    let wait = |condition: &str| {
        let mut command =
            place.command(&["wait", "--condition", condition, "--interval", "50ms", "box"]);
        Started::new(&mut command, "")
    };
    assert_eq!(place.usnea(&["wait", "--condition", "created", "box"]).works(), "-1");
    // It has the container's whole life to begin in.
    let removed = wait("removed");
    let running = wait("running");
    place.usnea(&["start", "box"]).works();
    assert_eq!(running.end().works(), "-1");
    let healthy = wait("healthy");
    place.usnea(&["exec", "box", "touch", "/well"]).works();
    place.usnea(&["healthcheck", "run", "box"]).works();
    assert_eq!(healthy.end().works(), "-1");
    let exited = wait("exited");
    place.usnea(&["stop", "-t", "0", "box"]).works();
    assert_eq!(exited.end().works(), "137");
    place.usnea(&["rm", "box"]).works();
    assert_eq!(removed.end().works(), "-1");
    place.usnea(&["wait", "box"]).exits(1);
    assert_eq!(place.usnea(&["wait", "--ignore", "box"]).works(), "-1");
    place.usnea(&["wait", "--condition", "well", "box"]).fails_with(125, &["healthy"]);
}

#[test]
fn a_check_without_a_passing_state_is_an_error_to_wait_for() {
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "box"], "true")).works();
    let ran = place.usnea(&["wait", "--condition", "healthy", "box"]);
    ran.fails_with(1, &["no health check"]);
    ran.hints();
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn a_single_failed_check_is_reported_at_once() {
    let place = Place::new();
    let options = [
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "false",
        "--health-interval",
        "1h",
        "--health-retries",
        "9",
    ];
    place.usnea(&place.kept(&options, "sleep 1000")).works();
    let ran = place.usnea(&["healthcheck", "run", "box"]);
    assert_eq!(ran.exits(1), "unhealthy");
    let status =
        || place.usnea(&["inspect", "-f", "{{.State.Health.Status}}", "box"]).works().to_owned();
    assert_eq!(status(), "starting", "eight more may fail");
    place.usnea(&["stop", "-t", "0", "box"]).works();
    assert!(within(LIMIT, || status() == "starting"), "the last run's is kept");
    place.usnea(&["rm", "box"]).works();
}
