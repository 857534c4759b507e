//! `usnea oci run` that is killed: its container ends, and the next command removes its state.

use std::time::Duration;

use rustix::process::Signal;

use crate::bundle::Bundle;
use crate::support::{Started, processes_with, within};

#[test]
fn a_killed_run_takes_its_container_along_and_the_next_delete_its_state() {
    let bundle = Bundle::new("trap '' TERM; echo ready; while :; do sleep 471201; done");
    let mut run = Started::new(&mut bundle.command(&["run", "killed"]), "");
    run.wait_for("ready");
    assert_eq!(bundle.status("killed"), "running");
    run.signal(Signal::KILL);
    let is_dead = || bundle.status("killed") == "stopped" && processes_with("471201").is_empty();
    assert!(within(Duration::from_secs(60), is_dead), "the container outlives its run");
    assert_eq!(run.end().status, -9);
    bundle.oci(&["delete", "--force", "another"]).works();
    bundle.has_no_state();
}

#[test]
fn a_kept_or_detached_run_is_not_abandoned() {
    let bundle = Bundle::new("exec sleep 471202");
    bundle.oci(&["run", "--detach", "d"]).works();
    bundle.oci(&["delete", "--force", "another"]).works();
    assert_eq!(bundle.status("d"), "running");
    bundle.oci(&["delete", "--force", "d"]).works();
    bundle.change(|config| config["process"]["args"] = ["true"].as_slice().into());
    bundle.oci(&["run", "--keep", "k"]).works();
    bundle.oci(&["delete", "--force", "another"]).works();
    assert_eq!(bundle.status("k"), "stopped");
    bundle.oci(&["delete", "k"]).works();
    bundle.has_no_state();
}
