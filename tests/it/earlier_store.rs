//! Store of an earlier version: records with the fields of that version alone are read, their containers are started, and
//! all of them are removed.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::Place;

const MADE: &str = "92c47b59d85f355a4d9d6d3d8db08023fcbd5376bcab2845e00c14127048ccee";
const ENDED: &str = "fa6e58b8e57375ce68ec65c23f740a11642af9ad72dd55602f2d7a622a1facdc";
const NETWORK: &str = "f3cd0198607b0918312dfd371d3a67a0779b368432035996c1d72d288d5f6f43";

/// `container.json` as usnea wrote it on 2026-11-29, before containers had pods, several networks and journals.
fn record(place: &Place, id: &str, name: &str) -> Value {
    let root = place.image();
    json!({
        "id": id, "name": name, "image": root, "image_id": null,
        "command": ["/bin/sh", "-c", "echo made; exit 3"], "entrypoint": 0, "user": null,
        "labels": {"kept": "yes"}, "created": "2026-11-29T12:39:29.569906421Z", "terminal": false,
        "input": "closed", "auto_remove": false, "restart": "no", "stop_signal": 15,
        "stop_timeout": 10, "health": null, "health_on_failure": "none",
        "log": {"driver": "file", "max_size": 20971520, "max_file": 5, "tag": null},
        "network": {
            "mode": "none", "program": null, "options": [], "forwards": [], "exposed": [],
            "resolver": {"servers": [], "search": [], "options": []}, "hosts": [],
            "names_host": true
        },
        "pidfile": null, "cidfile": null, "detach_keys": null,
        "create_command": ["usnea", "create", "--name", name, root, "/bin/sh"]
    })
}

/// Adds a container of the earlier version: with the config and the layers of a container of today.
fn add(place: &Place, id: &str, name: &str) {
    let root = place.image();
    let words = ["create", "--network", "none", &root, "/bin/sh", "-c", "echo made; exit 3"];
    let today = place.usnea(&words).works().trim().to_owned();
    let containers = place.store().join("containers");
    let (from, to) = (containers.join(&today), containers.join(id));
    let config = fs::read_to_string(from.join("config.json")).expect("config.json");
    let mut config: Value = serde_json::from_str(&config.replace(&today, id)).expect("a config");
    config["annotations"] = json!({});
    fs::rename(&from, &to).expect("another ID");
    fs::write(to.join("config.json"), config.to_string()).expect("config.json");
    fs::write(to.join("container.json"), record(place, id, name).to_string()).expect("a record");
    let names = place.store().join("names");
    for entry in fs::read_dir(&names).expect("names").flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.ends_with(&today)) {
            fs::remove_file(entry.path()).expect("the name of today");
        }
    }
    symlink(format!("../containers/{id}"), names.join(name)).expect("a name");
}

#[test]
fn a_store_of_an_earlier_version_is_read_run_and_removed() {
    let place = Place::new();
    add(&place, MADE, "made");
    add(&place, ENDED, "ended");
    let exit = json!({
        "run": 1, "status": 4, "signal": null, "oom": false, "reason": null,
        "started": "2026-11-29T12:39:29.588053613Z", "finished": "2026-11-29T12:39:29.597598948Z"
    });
    let ended = place.store().join("containers").join(ENDED);
    fs::write(ended.join("exit.json"), exit.to_string()).expect("exit.json");
    let volume = json!({
        "Name": "data", "CreatedAt": "2026-11-29T12:39:29.500670182Z", "Labels": {"v": "1"},
        "Anonymous": false
    });
    place.usnea(&["volume", "create", "data"]).works();
    fs::write(place.store().join("volumes/data/volume.json"), volume.to_string()).expect("volume");
    let network = json!({
        "id": NETWORK, "name": "lab", "created": "2026-11-30T12:40:00.737811229Z",
        "driver": "bridge", "dns": true, "dns_servers": [], "attachable": false, "exit": "internal",
        "subnets": [{"prefix": "10.99.7.0/24", "gateway": "10.99.7.1", "range": null, "reserved": {}}],
        "labels": {"a": "b"}, "options": {}
    });
    place.usnea(&["network", "create", "other"]).works();
    fs::write(place.store().join("networks/lab.json"), network.to_string()).expect("a network");

    let list = ["ps", "--all", "--filter", "label=kept", "--format", "{{.Names}} {{.State}}"];
    let mut lines: Vec<_> = place.usnea(&list).works().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["ended exited", "made created"]);
    let ask = |words: &[&str]| place.usnea(words).works().trim().to_owned();
    assert_eq!(ask(&["inspect", "--format", "{{.State.ExitCode}} {{.ID}}", "ended"]), {
        format!("4 {ENDED}")
    });
    assert_eq!(ask(&["volume", "inspect", "--format", "{{.Labels.v}}", "data"]), "1");
    assert_eq!(
        ask(&["network", "inspect", "--format", "{{.Internal}} {{.Labels.a}}", "lab"]),
        "true b"
    );
    for name in ["made", "ended"] {
        let ran = place.usnea(&["start", "--attach", name]);
        assert_eq!(ran.exits(3), "made", "{name}");
        assert_eq!(place.usnea(&["logs", name]).works(), "made");
    }
    assert_eq!(ask(&["check"]), "");
    place.usnea(&["rm", "made", "ended"]).works();
    place.usnea(&["volume", "rm", "data"]).works();
    place.usnea(&["network", "rm", "lab", "other"]).works();
    assert_eq!(ask(&["ps", "--all", "--quiet"]), "");
    place.nothing_is_left();
}
