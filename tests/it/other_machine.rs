//! A store that several machines share: what one of them runs, the others see and leave alone.
//!
//! The other machine is a record that says so, while this machine's monitor has the lock, which is what another one sees.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Place, Process, within};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

fn folder_of(place: &Place, container: &str) -> PathBuf {
    let id = place.usnea(&["inspect", "-f", "{{.Id}}", container]).works().to_owned();
    place.store().join("containers").join(id)
}

/// Changes what is recorded of who runs the container; what was recorded before.
fn pretend(place: &Place, container: &str, changes: &[(&str, Value)]) -> Vec<u8> {
    let path = folder_of(place, container).join("state.json");
    let before = fs::read(&path).unwrap();
    let mut state: Value = serde_json::from_slice(&before).unwrap();
    for (field, value) in changes {
        state[field] = value.clone();
    }
    fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
    before
}

#[test]
fn a_container_of_another_machine_is_shown_and_not_changed() {
    let place = Place::new();
    let words = ["run", "-d", "--name", "box", "--stop-timeout", "0"];
    place.usnea(&place.kept(&words, "sleep 1000")).works();
    let monitor = place.usnea(&["inspect", "-f", "{{.State.MonitorPid}}", "box"]);
    let monitor = Process { number: monitor.works().parse().unwrap() };
    let elsewhere = [("boot", "another".into()), ("host", "node7".into())];
    // As it is seen from a container that shares the store.
    let inside = [("pid_namespace", Value::from(1))];
    for (changes, phrase) in
        [(&elsewhere[..], "box runs on node7"), (&inside[..], "box runs in another PID namespace")]
    {
        let folder = folder_of(&place, "box");
        let before = pretend(&place, "box", changes);
        let shown = place.usnea(&["ps", "--format", "{{.Names}} {{.State}} {{.Status}}"]);
        assert!(shown.works().starts_with("box running Up "), "{shown:?}");
        assert!(shown.works().contains(" on "), "{shown:?}");
        for words in [
            &["start", "box"][..],
            &["stop", "box"],
            &["kill", "box"],
            &["restart", "box"],
            &["exec", "box", "true"],
            &["attach", "box"],
            &["pause", "box"],
            &["top", "box"],
            &["wait", "box"],
            &["cp", "box:/etc", "."],
            &["rm", "box"],
            &["rm", "--force", "box"],
        ] {
            let refused = place.usnea(words);
            assert!(refused.status != 0, "{words:?}");
            assert!(refused.stderr.contains(phrase), "{words:?}: {refused:?}");
            refused.hints();
        }
        // These change the record alone, wherever the container runs.
        place.usnea(&["rename", "box", "case"]).works();
        place.usnea(&["update", "--restart", "on-failure", "case"]).works();
        place.usnea(&["rename", "case", "box"]).works();
        place.usnea(&["update", "--restart", "no", "box"]).works();
        place.usnea(&["update", "--memory", "50m", "box"]).fails_with(1, &[phrase]);
        assert!(folder.exists());
        fs::write(folder.join("state.json"), before).unwrap();
        place.usnea(&["exec", "box", "true"]).works();
    }
    pretend(&place, "box", &elsewhere);
    place.usnea(&["rm", "--other-host", "box"]).fails_with(125, &["--force"]);
    place.usnea(&["rm", "--force", "--other-host", "box"]).works();
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
    // This machine's monitor sees that its record is gone.
    assert!(within(LIMIT, || !monitor.runs()), "it watches on");
    place.nothing_is_left();
}

#[test]
fn a_container_of_a_machine_that_is_gone_starts_here() {
    let place = Place::new();
    place.usnea(&place.kept(&["run", "-d", "--name", "box"], "sleep 1000")).works();
    let folder = folder_of(&place, "box");
    let running = fs::read(folder.join("state.json")).unwrap();
    place.usnea(&["kill", "box"]).works();
    fs::remove_file(folder.join("exit.json")).unwrap();
    fs::write(folder.join("state.json"), running).unwrap();
    pretend(&place, "box", &[("boot", "another".into()), ("host", "node7".into())]);
    let state = "{{.State.Status}} {{.State.Error}}";
    assert_eq!(place.usnea(&["inspect", "-f", state, "box"]).works(), "exited it ran on node7");
    place.usnea(&["start", "box"]).works();
    place.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    place.nothing_is_left();
}
