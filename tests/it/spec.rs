//! `usnea spec`: the config.json that `run` with the same flags runs, as the OCI runtime specification has it.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use crate::support::Place;

/// What `usnea spec OPTIONS dir:ROOT COMMAND` prints.
fn spec(place: &Place, options: &[&str], command: &[&str]) -> Spec {
    let mut words = place.arguments(options, command);
    words[0] = "spec".into();
    let ran = place.usnea(&words);
    serde_json::from_str(ran.works()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn the_command_is_in_the_spec_as_it_was_typed() {
    let place = Place::new();
    let options = ["-e", "A=b", "-w", "/tmp", "--hostname", "box"];
    let spec = spec(&place, &options, &["sh", "-c", "echo $A"]);
    let process = spec.process().as_ref().expect("a process");
    assert_eq!(process.args().as_ref().expect("words"), &["sh", "-c", "echo $A"]);
    assert_eq!(process.cwd(), std::path::Path::new("/tmp"));
    assert!(process.env().as_ref().expect("an environment").iter().any(|line| line == "A=b"));
    assert_eq!(spec.hostname().as_deref(), Some("box"));
    assert!(spec.version().starts_with("1."));
}

#[test]
fn the_namespaces_are_in_the_spec() {
    let place = Place::new();
    let kinds = |options: &[&str]| -> Vec<LinuxNamespaceType> {
        let spec = spec(&place, options, &["true"]);
        let linux = spec.linux().as_ref().expect("a part for Linux");
        linux
            .namespaces()
            .as_ref()
            .expect("namespaces")
            .iter()
            .map(|namespace| namespace.typ())
            .collect()
    };
    let all = kinds(&[]);
    for kind in [
        LinuxNamespaceType::User,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Cgroup,
    ] {
        assert!(all.contains(&kind), "{kind:?} is not in {all:?}");
    }
    let fewer = kinds(&["--network", "host", "--pid", "host"]);
    assert!(
        !fewer.contains(&LinuxNamespaceType::Network) && !fewer.contains(&LinuxNamespaceType::Pid),
        "{fewer:?}"
    );
}

#[test]
fn capabilities_and_privileges_are_in_the_spec() {
    let place = Place::new();
    let options = ["--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "no-new-privileges"];
    let spec = spec(&place, &options, &["true"]);
    let process = spec.process().as_ref().expect("a process");
    assert_eq!(process.no_new_privileges(), Some(true));
    let capabilities = process.capabilities().as_ref().expect("capabilities");
    let text =
        serde_json::to_string(capabilities.bounding().as_ref().expect("a set")).expect("JSON");
    assert_eq!(text, r#"["CAP_KILL"]"#);
    assert!(capabilities.inheritable().as_ref().is_none_or(|set| set.is_empty()));
}

#[test]
fn volumes_and_a_read_only_root_are_in_the_spec() {
    let place = Place::new();
    place.folder("data");
    let spec = spec(&place, &["-v", "./data:/data:ro", "--read-only"], &["true"]);
    assert_eq!(spec.root().as_ref().expect("a root").readonly(), Some(true));
    let mounts = spec.mounts().as_ref().expect("mounts");
    let data = mounts
        .iter()
        .find(|mount| mount.destination() == std::path::Path::new("/data"))
        .expect("the volume");
    assert_eq!(data.source().as_deref(), Some(place.path("data").as_path()));
    assert!(
        data.options()
            .as_ref()
            .expect("options")
            .iter()
            .any(|option| option == "ro" || option == "rro")
    );
}

#[test]
fn bad_flags_are_refused_as_run_refuses_them() {
    let place = Place::new();
    let mut words = place.arguments(&["--shm-size", "lots"], &["true"]);
    words[0] = "spec".into();
    place.usnea(&words).fails_with(125, &["lots"]);
}

#[test]
fn a_spec_makes_nothing() {
    let place = Place::new();
    spec(&place, &[], &["true"]);
    assert!(!place.store().join("containers").exists(), "a container was made");
}
