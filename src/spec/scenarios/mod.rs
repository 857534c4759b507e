//! Tests of the whole: flags as typed, the config as JSON.

mod flags;
mod mounts;
mod process;

use std::path::Path;

use clap::Parser;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::{
    CgroupHierarchy, ContainerOptions, ImageDefaults, SpecInputs, SpecRoot, TimeNamespace, build,
};
use crate::error::Result;
use crate::ids::{ContainerIds, HostIds, IdMap, IdMaps};
use crate::layer::LowerLayer;

/// Command with these flags
#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    options: ContainerOptions,
    image: String,
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

fn parsed(flags: &[&str]) -> Result<Line, clap::Error> {
    Line::try_parse_from(["run"].iter().chain(flags))
}

/// Root with accounts, and the command line of a container.
struct Scene {
    root: tempfile::TempDir,
    maps: IdMaps<ContainerIds, HostIds>,
    image: ImageDefaults,
    layers: Vec<LowerLayer>,
    itself: bool,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nfar:x:70000:70000::/far:/bin/sh\n";
        std::fs::write(etc.join("passwd"), passwd).unwrap();
        std::fs::write(etc.join("group"), "root:x:0:root\ntape:x:26:web\nfar:x:70000:web\n")
            .unwrap();
        let map = vec![IdMap::new(0, 0, 1), IdMap::new(1, 1, 65535)];
        Self {
            layers: vec![LowerLayer::Folder(root.path().to_owned())],
            root,
            maps: IdMaps::new(map.clone(), map),
            image: ImageDefaults::default(),
            itself: false,
        }
    }

    /// A user without subordinate IDs.
    fn alone() -> Self {
        let map = vec![IdMap::new(0, 0, 1)];
        Self { maps: IdMaps::new(map.clone(), map), ..Self::new() }
    }

    fn spec(&self, flags: &[&str]) -> Result<Spec> {
        let line = parsed(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        let root = match self.itself {
            true => SpecRoot::Itself(self.root.path()),
            false => SpecRoot::Layered(&self.layers),
        };
        build(&SpecInputs {
            stacking: super::Stacking::default(),
            top_layer: crate::spec::TopLayer::Disposable,
            options: &line.options,
            id: "0123456789ab",
            uuid: "0123456789abcdef0123456789abcdef",
            root,
            folder: Path::new("/store/c1"),
            overlay: None,
            volumes: Path::new("/store/volumes"),
            maps: &self.maps,
            image: self.image.clone(),
            command: &line.command,
            joined_hostname: None,
            time_namespace: TimeNamespace::Available,
            cgroups: CgroupHierarchy::Unified,
        })
    }

    fn json(&self, flags: &[&str]) -> Value {
        let spec = self.spec(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<Spec>(json.clone()).unwrap(), spec);
        assert_valid(&json);
        json
    }

    fn error(&self, flags: &[&str]) -> String {
        match self.spec(flags) {
            Ok(_) => panic!("{flags:?}: no error"),
            Err(error) => error.to_string(),
        }
    }
}

/// Checks the rules that the OCI runtime spec states in words (config.md, config-linux.md).
fn assert_valid(json: &Value) {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().unwrap().iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert!(json["ociVersion"].is_string());
    let process = &json["process"];
    assert!(process["cwd"].as_str().unwrap().starts_with('/'));
    assert!(!texts(&process["args"]).is_empty());
    let mut names: Vec<String> = texts(&process["env"])
        .iter()
        .map(|line| line.split_once('=').expect("a variable has a value").0.to_owned())
        .collect();
    let many = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), many, "a variable twice");
    for mount in json["mounts"].as_array().unwrap() {
        assert!(mount["destination"].as_str().unwrap().starts_with('/'), "{mount}");
    }
    let kinds: Vec<&str> = json["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|namespace| namespace["type"].as_str().unwrap())
        .collect();
    let distinct: std::collections::HashSet<_> = kinds.iter().collect();
    assert_eq!(distinct.len(), kinds.len(), "a namespace twice");
    assert_eq!(json["hostname"].is_string(), kinds.contains(&"uts"));
}

fn mount<'a>(json: &'a Value, destination: &str) -> &'a Value {
    let mut found = json["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| mount["destination"] == destination);
    let mount = found.next().unwrap_or_else(|| panic!("no {destination}: {json:#}"));
    assert!(found.next().is_none(), "{destination} twice");
    mount
}

fn destinations(json: &Value) -> Vec<&str> {
    let mounts = json["mounts"].as_array().unwrap().iter();
    mounts.map(|mount| mount["destination"].as_str().unwrap()).collect()
}

fn env(json: &Value, name: &str) -> Option<String> {
    let lines = json["process"]["env"].as_array().unwrap().iter();
    let mut values = lines
        .filter_map(|line| line.as_str()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    values.next()
}

const SYSTEM: [&str; 8] =
    ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];

#[test]
fn a_container_of_defaults_is_this() {
    let scene = Scene::new();
    let json = scene.json(&["image", "echo", "-n", "a"]);
    let root = scene.root.path().to_str().unwrap();
    assert_eq!(json["root"], json!({"path": root, "readonly": false}));
    assert_eq!(json["hostname"], "0123456789ab");
    assert_eq!(destinations(&json), SYSTEM);
    assert_eq!(
        mount(&json, "/"),
        &json!({
            "destination": "/", "type": "overlay", "source": "overlay",
            "options": [
                format!("lowerdir={root}"), "upperdir=/store/c1/upper", "workdir=/store/c1/work", "userxattr", "volatile"
            ],
        })
    );
    assert_eq!(
        json["process"],
        json!({
            "terminal": false,
            "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
            "args": ["echo", "-n", "a"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=0123456789ab",
                "TERM=xterm", "container=usnea", "HOME=/root",
            ],
            "cwd": "/",
            "rlimits": [],
            "noNewPrivileges": false,
            "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
        })
    );
    let namespaces = ["pid", "mount", "ipc", "uts", "network", "cgroup", "user", "time"]
        .map(|kind| json!({"type": kind}));
    let map = json!([
        {"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 1, "size": 65535},
    ]);
    assert_eq!(
        json["linux"],
        json!({"namespaces": namespaces, "uidMappings": map, "gidMappings": map, "sysctl": {}})
    );
    assert_eq!(json["annotations"], json!({}));
}
