//! `usnea oci run` that is killed: its container ends, and the next command removes its state.

use std::time::Duration;

use rustix::process::Signal;

use crate::bundle::Bundle;
use crate::support::{Started, processes_with, within};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_killed_run_takes_its_container_along_and_the_next_delete_its_state() {
    let bundle = Bundle::new("trap '' TERM; echo ready; while :; do sleep 471201; done");
    for namespace in ["with", "without"] {
        if namespace == "without" {
            bundle.change(|config| {
                let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
                all.retain(|namespace| namespace["type"] != "pid");
                config["mounts"]
                    .as_array_mut()
                    .expect("mounts")
                    .retain(|mount| mount["type"] != "proc");
            });
        }
        let mut run = Started::new(&mut bundle.command(&["run", "killed"]), "");
        run.wait_for("ready");
        assert_eq!(bundle.status("killed"), "running");
        run.signal(Signal::KILL);
        let is_dead = |bundle: &Bundle| bundle.status("killed") == "stopped";
        assert!(within(LIMIT, || is_dead(&bundle)), "the container outlives its run, {namespace}");
        bundle.oci(&["delete", "--force", "another"]).works();
        bundle.has_no_state();
        assert!(
            within(LIMIT, || processes_with("471201").is_empty()),
            "{namespace} a PID namespace"
        );
        assert_eq!(run.end().status, -9);
    }
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
