//! Hooks of config.json (OCI runtime specification, "POSIX-platform Hooks"): their order, state, environment, bounds.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::oci_config::{bundle, config};
use crate::support::Place;

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn hook(script: &str) -> Value {
    json!({
        "path": "/bin/sh",
        "args": ["own-name", "-c", script],
        "env": ["NAME=value"],
        "timeout": 60,
    })
}

#[test]
fn all_hooks_run_in_order_with_their_state_in_their_namespaces() {
    let place = Place::new();
    let log = place.path("log");
    let script = |point: &str, number: u32| {
        let namespace = "$(/usr/bin/readlink /proc/self/ns/uts)";
        let log = log.display();
        format!("read -r state; echo \"{point}{number} $0 $NAME {namespace} $state\" >> {log}")
    };
    let mut config = config("readlink /proc/self/ns/uts; echo command >> /log/log");
    config["annotations"] = json!({ "of": "the container" });
    // The same path leads to the log in the container.
    let folder = place.path("").display().to_string();
    for at in [folder.trim_end_matches('/'), "/log"] {
        let mount =
            json!({ "destination": at, "type": "bind", "source": folder, "options": ["rbind"] });
        config["mounts"].as_array_mut().expect("a list").push(mount);
    }
    for point in POINTS {
        // The state has no line's end: read fails at the end of the file, with the state read.
        config["hooks"][point] = json!([hook(&script(point, 0)), hook(&script(point, 1))]);
    }
    let ran = bundle(&place, "--bundle", &config);
    let own = ran.works().to_owned();
    let host = std::fs::read_link("/proc/self/ns/uts").expect("a namespace");
    let host = host.display().to_string();
    let log = place.read("log");
    let mut lines = log.lines().filter(|line| *line != "command");
    for point in POINTS {
        let (status, namespace) = match point {
            "prestart" | "createRuntime" => ("creating", &host),
            "createContainer" => ("creating", &own),
            "startContainer" => ("created", &own),
            "poststart" => ("running", &host),
            _ => ("stopped", &host),
        };
        for number in 0..2 {
            let line = lines.next().unwrap_or_else(|| panic!("{point}: {log}"));
            let words = format!("{point}{number} own-name value {namespace} ");
            let state = line.strip_prefix(&words).unwrap_or_else(|| panic!("{words}: {line}"));
            let state: Value = serde_json::from_str(state).expect("a state");
            assert_eq!(state["status"], status, "{point}");
            assert_eq!(state["id"], "by-library");
            assert_eq!(state["ociVersion"], "1.2.0");
            assert_eq!(state["bundle"], place.path("bundle").display().to_string());
            assert_eq!(state["annotations"]["of"], "the container");
            match point {
                "createContainer" | "startContainer" => assert_eq!(state["pid"], 1, "{point}"),
                "poststop" => assert!(state["pid"].is_null(), "{state}"),
                _ => assert!(state["pid"].as_i64() > Some(1), "{state}"),
            }
        }
    }
    assert_eq!(lines.next(), None);
    let at = |text: &str| log.lines().position(|line| line.starts_with(text)).expect("a line");
    assert!(at("startContainer1") < at("command") && at("command") < at("poststop0"), "{log}");
}

#[test]
fn a_hook_that_fails_ends_a_launch_and_warns_later() {
    for (index, point) in POINTS.into_iter().enumerate() {
        let place = Place::new();
        let mut config = config("echo command");
        config["hooks"][point] = json!([hook("true"), hook("echo the reason >&2; exit 3")]);
        let ran = bundle(&place, "--bundle", &config);
        let phrase = format!("config.json: hooks.{point}[1]: /bin/sh: exit status 3: the reason");
        match index < 4 {
            true => ran.fails_with(125, &[&phrase]),
            false => {
                assert_eq!(ran.works(), "command");
                assert!(ran.stderr.contains(&phrase), "{ran:?}");
            }
        }
    }
}

#[test]
fn a_hook_that_hangs_or_floods_is_killed_with_its_children() {
    for point in ["createRuntime", "createContainer", "startContainer"] {
        for script in ["sleep 1000 & sleep 1000", "while :; do echo flood; done"] {
            let place = Place::new();
            let mut config = config("true");
            let script = format!("PATH=/usr/bin:/bin; {script} # {}", place.path("").display());
            config["hooks"][point] = json!([hook(&script)]);
            config["hooks"][point][0]["timeout"] = 1.into();
            let ran = bundle(&place, "--bundle", &config);
            let phrase = format!("config.json: hooks.{point}[0]: ");
            ran.fails_with(125, &[&phrase, "did not end within its timeout of 1 s"]);
        }
    }
}

#[test]
fn a_hook_without_a_program_is_named() {
    for point in ["prestart", "createContainer", "startContainer"] {
        let mut config = config("true");
        config["hooks"][point] = json!([{ "path": "/nowhere/hook" }]);
        let ran = bundle(&Place::new(), "--bundle", &config);
        let phrase = format!("config.json: hooks.{point}[0]: /nowhere/hook: ");
        ran.fails_with(125, &[&phrase, "no such file"]);
    }
    for (hook, path) in [
        (json!({ "path": "bin/sh" }), "hooks.poststop[0].path: "),
        (json!({ "path": "/bin/sh", "timeout": 0 }), "hooks.poststop[0].timeout: "),
        (json!({ "path": "/bin/sh", "args": ["a\u{0}b"] }), "hooks.poststop[0]: "),
        (json!({ "args": ["x"] }), "hooks.poststop[0].path: missing"),
    ] {
        let mut config = config("echo command");
        config["hooks"]["poststop"] = json!([hook]);
        bundle(&Place::new(), "--bundle", &config).fails_with(125, &["config.json: ", path]);
    }
}

#[test]
fn the_output_of_hooks_goes_to_the_files_of_the_annotations() {
    let place = Place::new();
    let mut config = config("true");
    let (output, error) = (place.path("output"), place.path("error"));
    config["annotations"] =
        json!({ "run.oci.hooks.stdout": output, "run.oci.hooks.stderr": error });
    for point in POINTS {
        let script = format!("echo {point}; echo of {point} >&2");
        config["hooks"][point] = json!([hook(&script)]);
    }
    bundle(&place, "--bundle", &config).works();
    assert_eq!(place.read("output").lines().collect::<Vec<_>>(), POINTS);
    assert_eq!(place.read("error").lines().count(), POINTS.len());
    assert_eq!(output.metadata().expect("a file").mode() & 0o777, 0o600);
}

#[test]
fn hooks_get_their_state_however_long_and_may_leave_it_unread() {
    let place = Place::new();
    let mut config = config("true");
    config["annotations"] = json!({ "long": "x".repeat(10 << 20) });
    let count = format!("/usr/bin/wc -c > {}", place.path("count").display());
    config["hooks"] = json!({ "prestart": [hook("true"), hook(&count)] });
    bundle(&place, "--bundle", &config).works();
    let length: u64 = place.read("count").trim().parse().expect("a number");
    assert!(length > 10 << 20, "{length}");
}
