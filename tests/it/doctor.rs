//! `usnea doctor`: what this machine can do, for people and for scripts.

use std::process::Command;

use crate::support::{Place, binary, finish};

#[test]
fn where_the_main_job_works_doctor_is_content() {
    let place = Place::new();
    place.run(&[], "true").works();
    let ran = place.usnea(&["doctor"]);
    for word in ["ok", "user namespace", "overlay", "cgroup"] {
        assert!(ran.works().contains(word), "'{word}' is not in:\n{}", ran.stdout);
    }
}

#[test]
fn the_json_says_the_same_in_the_same_order() {
    let place = Place::new();
    let ran = place.usnea(&["doctor", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(ran.works()).expect("JSON");
    let mut verdicts = Vec::new();
    collect_verdicts(&value, &mut verdicts);
    assert!(verdicts.len() >= 10, "{}", ran.stdout);
}

/// All strings that are one of the three verdicts, wherever they stand.
fn collect_verdicts(value: &serde_json::Value, verdicts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) if ["ok", "degraded", "missing"].contains(&text.as_str()) => {
            verdicts.push(text.clone());
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect_verdicts(value, verdicts)),
        serde_json::Value::Object(fields) => fields
            .values()
            .for_each(|value| collect_verdicts(value, verdicts)),
        _ => {}
    }
}

#[test]
fn where_user_namespaces_are_forbidden_doctor_says_so_and_how_to_allow_them() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command
        .args([
            "-Ur",
            "sh",
            "-c",
            "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" doctor",
        ])
        .arg(binary());
    place.prepare(&mut command);
    let ran = finish(&mut command, "");
    assert_ne!(ran.status, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("missing") && ran.stdout.contains("max_user_namespaces"),
        "{ran:?}"
    );
}

#[test]
fn doctor_leaves_no_trace() {
    let place = Place::new();
    place.usnea(&["doctor"]);
    place.nothing_is_left();
}
