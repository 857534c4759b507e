//! The script of usnea-containers(7) that has docker's name in it, run as it stands by bash, with an image from a real registry.

use std::process::Command;

use crate::composed::{Composed, small_root};
use crate::guides;
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{binary, finish, need};

/// The example of the guide that has the alias.
fn script() -> String {
    let examples = guides::examples("usnea-containers");
    let ours = examples.into_iter().find(|block| block.contains("alias docker=usnea"));
    ours.expect("the example with the alias")
}

#[test]
fn dockers_everyday_commands_run_as_they_stand() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("bash") {
        return;
    }
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).write(&place, "layout");
    let there = format!("{}/library/debian:12", registry.host);
    place.usnea(&["pull", "-q", "oci:layout"]).works();
    let id = place.usnea(&["images", "-q", "--no-trunc"]);
    place.usnea(&["push", "--tls-verify=false", id.works(), &there]).works();
    place.usnea(&["rmi", id.works()]).works();
    let mut bash = Command::new("bash");
    bash.args(["-ec", &script()]);
    place.at_home(&mut bash);
    let registries = format!(
        "[[registry]]\nprefix = 'docker.io'\nlocation = '{}'\ninsecure = true\n",
        registry.host
    );
    bash.env("CONTAINERS_REGISTRIES_CONF", place.place.write("mirrors.conf", &registries));
    let usnea = binary();
    let folder = usnea.parent().expect("its folder").display();
    bash.env("PATH", format!("{folder}:{}", std::env::var("PATH").expect("a path")));
    bash.current_dir(place.place.path("home"));
    let ran = finish(&mut bash, "");
    let lines: Vec<&str> = ran.works().lines().collect();
    for line in ["ready", "web running", "true", "web", "hello", "pages"] {
        assert!(lines.contains(&line), "{line}: {ran:?}");
    }
    let copy = std::fs::read_to_string(place.place.path("home").join("copy.txt"));
    assert_eq!(copy.expect("what was copied back"), "note\n");
    assert_eq!(place.usnea(&["ps", "-aq"]).works(), "");
}
