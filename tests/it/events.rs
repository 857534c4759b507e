//! `usnea events`: what happens to containers and images, as it happens and afterwards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Place, Started, within};

fn past(place: &Place, options: &[&str]) -> Vec<Value> {
    let words = [&["events", "--since", "0", "--stream=false"], options].concat();
    let ran = place.usnea(&words);
    ran.works().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["Action"].as_str().expect("a word")).collect()
}

#[test]
fn the_events_of_a_container_are_in_order() {
    let place = Place::new();
    let words = ["-d", "--name", "web", "--label", "tier=front"];
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let id = place.run_kept(&words, script).works().to_owned();
    // A first process without a handler for the signal ignores it.
    let is_ready = || place.usnea(&["logs", "web"]).stdout.contains("ready");
    assert!(within(Duration::from_secs(60), is_ready));
    place.usnea(&["rename", "web", "shop"]).works();
    place.usnea(&["restart", "shop"]).works();
    place.usnea(&["kill", "shop"]).works();
    place.usnea(&["rm", "shop"]).works();
    let events = past(&place, &[]);
    let expected = [
        "create", "start", "rename", "kill", "die", "stop", "start", "restart", "kill", "die",
        "destroy",
    ];
    assert_eq!(actions(&events), expected);
    for event in &events {
        assert_eq!((&event["Type"], &event["id"]), (&"container".into(), &id.as_str().into()));
        assert_eq!(event["Actor"]["Attributes"]["tier"], "front");
        assert_eq!(event["status"], event["Action"]);
    }
    let die: Vec<&str> = events
        .iter()
        .filter(|event| event["Action"] == "die")
        .map(|event| event["Actor"]["Attributes"]["exitCode"].as_str().expect("a status"))
        .collect();
    assert_eq!(die, ["7", "137"]);
    assert_eq!(events[2]["Actor"]["Attributes"]["oldName"], "web");
    let times: Vec<i64> =
        events.iter().map(|event| event["timeNano"].as_i64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn filters_and_templates_are_dockers() {
    let place = Place::new();
    // Names that no ID begins with: a filter takes the first digits of an ID too.
    for name in ["one", "two"] {
        place.run_kept(&["--name", name], "exit 3").exits(3);
    }
    assert_eq!(past(&place, &["--filter", "container=one"]).len(), 3);
    let events =
        past(&place, &["--filter", "container=one", "--filter", "event=start", "-f", "event=die"]);
    assert_eq!(actions(&events), ["start", "die"]);
    assert!(past(&place, &["--filter", "type=image"]).is_empty());
    assert!(past(&place, &["--until", "0"]).is_empty());
    let template = "{{.Type}} {{.Action}} {{.Name}} {{.Actor.Attributes.exitCode}}";
    let words = ["events", "--until", "0s", "--filter", "event=die", "--format", template];
    assert_eq!(place.usnea(&words).works(), "container die one 3\ncontainer die two 3");
    place
        .usnea(&["events", "--filter", "colour=red"])
        .fails_with(125, &["there is no filter colour"]);
    place.usnea(&["events", "--since", "soon"]).fails_with(125, &["--since soon"]);
    place.usnea(&["events", "--format", "table"]).fails_with(125, &["no columns"]);
    place.usnea(&["rm", "--all"]).works();
}

#[test]
fn later_events_are_printed_as_they_happen() {
    let place = Place::new();
    place.run_kept(&["--rm", "--name", "before"], "true").works();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
    let since = format!("{since:.6}");
    let words = ["events", "--since", &since, "-f", "event=die", "--format", "{{.Name}}"];
    let mut events = Started::new(&mut place.command(&words), "");
    place.run_kept(&["--name", "later"], "true").works();
    events.wait_for("later\n");
    place.run_kept(&["--name", "last"], "true").works();
    events.wait_for("last\n");
    events.signal(rustix::process::Signal::TERM);
    let ran = events.end();
    assert_eq!((ran.status, ran.stdout.as_str()), (-libc::SIGTERM, ""));
    place.usnea(&["rm", "--all"]).works();
}

#[test]
fn a_time_to_come_is_waited_for() {
    let place = Place::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let until = (since + 4).to_string();
    let since = since.to_string();
    let words = ["events", "--since", &since, "--until", &until];
    let events = Started::new(&mut place.command(&words), "");
    place.usnea(&place.kept(&["create", "--name", "later"], "true")).works();
    let told = events.end();
    let event: Value = serde_json::from_str(told.works()).expect("one line");
    assert_eq!(event["Action"], "create");
    place.usnea(&["rm", "later"]).works();
}
