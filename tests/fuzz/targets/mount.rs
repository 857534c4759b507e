//! Mounts: the flags `-v`, `--mount` and `--tmpfs`, and the options of a mount in config.json.
//! The first byte chooses; with config.json, lines are the type, the source, the destination and the options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use usnea::engine::{self, LaunchOptions, Lifetime};
use usnea::spec::{MountFlag, TmpfsMount, VolumeFlag};

fn in_config(text: &str) {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (kind, source, destination) = (next(), next(), next());
    let options: Vec<&str> = lines.collect();
    let config = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "/" },
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["true"], "cwd": "/" },
        "mounts": [{ "type": kind, "source": source, "destination": destination, "options": options }],
        "linux": {
            "namespaces": [{ "type": "mount" }, { "type": "user" }],
            "uidMappings": [{ "containerID": 0, "hostID": rustix::process::geteuid().as_raw(), "size": 1 }],
            "gidMappings": [{ "containerID": 0, "hostID": rustix::process::getegid().as_raw(), "size": 1 }],
        },
    });
    let bytes = serde_json::to_vec(&config).expect("JSON");
    let spec = usnea::oci::parse(&bytes, "/".as_ref()).expect("a config");
    let options = LaunchOptions { lifetime: Lifetime::Independent, ..LaunchOptions::default() };
    match engine::plan_bundle(&spec, options) {
        Ok(plan) => drop(engine::explain(&plan, "/".as_ref(), &[])),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

fuzz_target!(|text: &str| {
    let Some((choice, text)) = text.split_at_checked(1) else { return };
    match choice {
        "v" => drop(text.parse::<VolumeFlag>()),
        "m" => drop(text.parse::<MountFlag>()),
        "t" => drop(text.parse::<TmpfsMount>()),
        _ => in_config(text),
    }
});
