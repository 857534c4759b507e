//! `usnea events`: what happens to containers and images, as it happens and afterwards.

use std::time::Duration;

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
fn the_life_of_a_container_is_told_in_its_order() {
    let place = Place::new();
    let words = ["-d", "--name", "web", "--label", "tier=front"];
    let id = place.run_kept(&words, "trap 'exit 7' TERM; while :; do sleep 0.05; done");
    let id = id.works().to_owned();
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
    for name in ["a", "b"] {
        place.run_kept(&["--name", name], "exit 3").exits(3);
    }
    assert_eq!(past(&place, &["--filter", "container=a"]).len(), 3);
    let events =
        past(&place, &["--filter", "container=a", "--filter", "event=start", "-f", "event=die"]);
    assert_eq!(actions(&events), ["start", "die"]);
    assert!(past(&place, &["--filter", "type=image"]).is_empty());
    assert!(past(&place, &["--until", "0"]).is_empty());
    let template = "{{.Type}} {{.Action}} {{.Name}} {{.Actor.Attributes.exitCode}}";
    let words = ["events", "--until", "0s", "--filter", "event=die", "--format", template];
    assert_eq!(place.usnea(&words).works(), "container die a 3\ncontainer die b 3");
    place
        .usnea(&["events", "--filter", "colour=red"])
        .fails_with(125, &["there is no filter colour"]);
    place.usnea(&["events", "--since", "soon"]).fails_with(125, &["--since soon"]);
    place.usnea(&["events", "--format", "table"]).fails_with(125, &["no columns"]);
    place.usnea(&["rm", "--all"]).works();
}

#[test]
fn what_happens_later_is_told_as_it_happens() {
    let place = Place::new();
    place.run_kept(&["--name", "before"], "true").works();
    let mut events = Started::new(
        &mut place.command(&["events", "--filter", "event=die", "--format", "{{.Name}}"]),
        "",
    );
    // It may not have begun to read when this one ends: another is run until one is seen.
    assert!(within(Duration::from_secs(20), || {
        place.run_kept(&["--rm", "-d"], "true").works();
        events.output().contains('\n')
    }));
    assert!(!events.output().contains("before"));
    events.signal(rustix::process::Signal::TERM);
    events.finish();
    let until = place.usnea(&["events", "--until", "1h"]);
    assert!(until.works().contains("before"));
    assert!(
        within(Duration::from_secs(5), || place.usnea(&["ps", "-aq"]).works().lines().count() == 1)
    );
    place.usnea(&["rm", "--all"]).works();
}
