//! SIGKILL of each process of a launch: nothing of the container outlives it. In the PID namespace of the host the kernel
//! ends no process with another.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::bundle::Bundle;
use crate::support::{Place, Process, Started, processes_with, within};

/// Time for all processes to end.
const LIMIT: Duration = Duration::from_secs(60);

/// A script with children, one in a session of its own and one without a parent, which only SIGKILL ends.
fn script(mark: &str) -> String {
    let stays = format!("trap '' TERM INT HUP; while :; do sleep {mark}; done");
    format!("({stays}) & setsid sh -c \"({stays}) & exit\"; echo ready; {stays}")
}

fn kill(process: &Process) {
    if let Some(number) = Pid::from_raw(process.number) {
        let _ = kill_process(number, Signal::KILL);
    }
}

/// True for processes of usnea, and for the command, unlike its children and orphans. A container outlives the server of
/// its files, and the supervisor of root emulation.
fn is_link(process: &Process, mark: &str) -> bool {
    let text = |number: i32| Process { number }.text("cmdline");
    let is_child = process.parent().is_some_and(|parent| {
        let parent = text(parent);
        parent.contains(mark) && !parent.contains("usnea")
    });
    let own = text(process.number);
    let is_orphan = own.contains(mark) && !own.contains("echo ready");
    let is_server = own.contains("file server") || own.contains("root emulation");
    // A zombie has no command line.
    !own.is_empty() && !is_child && !is_orphan && !is_server
}

/// Kills one process of a run after another in runs of their own: its processes of usnea, and the command.
#[track_caller]
fn nothing_survives(start: impl Fn(&str) -> Started, mark: &str) {
    for index in 0.. {
        let mut run = start(&script(mark));
        run.wait_for("ready");
        let family = run.family();
        let chain: Vec<_> = family.iter().filter(|process| is_link(process, mark)).collect();
        let killed = chain.get(index);
        // After the last one, the run ends by a signal of the user.
        killed.copied().map_or_else(|| run.signal(Signal::KILL), kill);
        let title = killed.map(|process| process.text("cmdline"));
        let has_ended = within(LIMIT, || processes_with(mark).is_empty());
        let left: Vec<_> = processes_with(mark).iter().map(|left| left.text("cmdline")).collect();
        assert!(has_ended, "process {index} of {} ({title:?}): {left:?}", chain.len());
        assert_ne!(run.end().status, 0);
        if killed.is_none() {
            assert!(index > 0);
            return;
        }
    }
}

#[test]
fn a_killed_run_in_the_pid_namespace_of_the_host_leaves_no_process() {
    let place = Place::new();
    let image = place.image();
    for (options, mark) in [
        (&["--rm", "--pid", "host"][..], "471501"),
        (&["--rm", "--pid", "host", "--userns", "keep-id"], "471502"),
        (&["--hpc"], "471503"),
        (&["--rm"], "471504"),
    ] {
        let start = |script: &str| {
            let run = ["run", "--network", "none"];
            let words = [&run, options, &[&image, "sh", "-c", script]].concat();
            Started::new(&mut place.command(&words), "")
        };
        nothing_survives(start, mark);
    }
    place.nothing_is_left();
}

#[test]
fn a_killed_oci_run_without_a_pid_namespace_leaves_no_process() {
    let start = |script: &str, bundle: &Bundle| {
        bundle.change(|config| {
            let args = ["sh", "-c", script];
            config["process"]["args"] = args.as_slice().into();
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "pid");
            // A new /proc takes a new PID namespace.
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| mount["destination"] != "/proc");
            let options = ["rbind", "nosuid", "noexec", "nodev"];
            mounts.insert(0, json!({ "destination": "/proc", "source": "/proc", "type": "bind", "options": options }));
        });
        Started::new(&mut bundle.command(&["run", "c"]), "")
    };
    let bundle = Bundle::new("true");
    nothing_survives(
        |script| {
            bundle.oci(&["delete", "--force", "c"]).works();
            start(script, &bundle)
        },
        "471505",
    );
    // The state goes with the next command that lists containers.
    assert_eq!(bundle.oci(&["list", "--quiet"]).works(), "");
    bundle.has_no_state();
}

#[test]
fn the_state_of_a_killed_container_goes_with_the_next_question_for_an_unknown_one() {
    let bundle = Bundle::new("echo ready; exec sleep 471506");
    let mut run = Started::new(&mut bundle.command(&["run", "killed"]), "");
    run.wait_for("ready");
    run.signal(Signal::KILL);
    assert!(within(LIMIT, || processes_with("sleep 471506").is_empty()));
    run.end();
    let state = bundle.oci(&["state", "n1.user.5.0.-1"]);
    assert_eq!((state.status, state.stdout.as_str()), (1, ""));
    bundle.has_no_state();
}

#[test]
fn the_record_of_a_killed_run_goes_with_the_next_run() {
    let place = Place::new();
    let image = place.image();
    let records = || {
        let mut find = std::process::Command::new("find");
        find.args([place.store(), place.path("run")]).args(["-name", "state.json"]);
        crate::support::finish(&mut find, "").stdout
    };
    let start = || {
        let words = ["run", "--rm", &image, "sh", "-c", "echo ready; exec sleep 471507"];
        let mut command = place.command(&words);
        let mut run = Started::new(command.env("XDG_RUNTIME_DIR", place.folder("run")), "");
        run.wait_for("ready");
        run
    };
    let first = start();
    assert!(within(LIMIT, || records().lines().count() == 1), "{}", records());
    let of_first = records();
    first.signal(Signal::KILL);
    assert!(within(LIMIT, || processes_with("sleep 471507").is_empty()));
    first.end();
    assert_eq!(records(), of_first);
    let second = start();
    let is_another = || records().lines().count() == 1 && records() != of_first;
    assert!(within(LIMIT, is_another), "{}", records());
    second.signal(Signal::KILL);
    second.end();
}
