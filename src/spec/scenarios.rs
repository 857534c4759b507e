//! Tests of the whole: flags as they are typed, the config as JSON.

use std::path::{Path, PathBuf};

use clap::Parser;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::*;
use crate::error::Result;
use crate::ids::{IdMap, IdMaps};

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    options: Options,
    image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn parsed(flags: &[&str]) -> Result<Line, clap::Error> {
    Line::try_parse_from(["run"].iter().chain(flags))
}

/// A root with accounts, and the words of one container.
struct Scene {
    root: tempfile::TempDir,
    maps: IdMaps,
    image: ImageDefaults,
    layers: Vec<PathBuf>,
    itself: bool,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nfar:x:70000:70000::/far:/bin/sh\n";
        std::fs::write(etc.join("passwd"), passwd).unwrap();
        std::fs::write(
            etc.join("group"),
            "root:x:0:root\ntape:x:26:web\nfar:x:70000:web\n",
        )
        .unwrap();
        let map = vec![IdMap::new(0, 0, 1), IdMap::new(1, 1, 65535)];
        Self {
            layers: vec![root.path().to_owned()],
            root,
            maps: IdMaps {
                uids: map.clone(),
                gids: map,
            },
            image: ImageDefaults::default(),
            itself: false,
        }
    }

    /// A user without subordinate IDs.
    fn alone() -> Self {
        let map = vec![IdMap::new(0, 0, 1)];
        Self {
            maps: IdMaps {
                uids: map.clone(),
                gids: map,
            },
            ..Self::new()
        }
    }

    fn spec(&self, flags: &[&str]) -> Result<Spec> {
        let line = parsed(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        let root = match self.itself {
            true => Root::Itself(self.root.path()),
            false => Root::Layered(&self.layers),
        };
        build(&Inputs {
            options: &line.options,
            id: "0123456789ab",
            root,
            folder: Path::new("/store/c1"),
            maps: &self.maps,
            image: self.image.clone(),
            command: &line.command,
            time_namespace: TimeNamespace::Available,
            cgroups: CgroupHierarchy::Unified,
        })
    }

    fn json(&self, flags: &[&str]) -> Value {
        let spec = self
            .spec(flags)
            .unwrap_or_else(|error| panic!("{flags:?}: {error}"));
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

/// What the OCI runtime spec says in words (config.md, config-linux.md).
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
    let mount = found
        .next()
        .unwrap_or_else(|| panic!("no {destination}: {json:#}"));
    assert!(found.next().is_none(), "{destination} twice");
    mount
}

fn destinations(json: &Value) -> Vec<&str> {
    let mounts = json["mounts"].as_array().unwrap().iter();
    mounts
        .map(|mount| mount["destination"].as_str().unwrap())
        .collect()
}

fn env(json: &Value, name: &str) -> Option<String> {
    let lines = json["process"]["env"].as_array().unwrap().iter();
    let mut values = lines.filter_map(|line| {
        line.as_str()?
            .strip_prefix(name)?
            .strip_prefix('=')
            .map(str::to_owned)
    });
    values.next()
}

const SYSTEM: [&str; 8] = [
    "/",
    "/proc",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/sys",
    "/sys/fs/cgroup",
];

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
    let namespaces =
        ["pid", "mount", "ipc", "uts", "network", "cgroup", "user", "time"].map(|kind| json!({"type": kind}));
    let map = json!([
        {"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 1, "size": 65535},
    ]);
    assert_eq!(
        json["linux"],
        json!({"namespaces": namespaces, "uidMappings": map, "gidMappings": map, "sysctl": {}})
    );
    assert_eq!(json["annotations"], json!({}));
}

#[test]
fn the_systems_mounts_have_dockers_options() {
    let json = Scene::new().json(&["--shm-size", "1m", "image", "a"]);
    for (destination, kind, options) in [
        ("/proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        (
            "/dev/pts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        ("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=1048576"),
        ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        ("/sys/fs/cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
    ] {
        let mount = mount(&json, destination);
        assert_eq!(mount["type"], kind, "{destination}");
        let options: Vec<&str> = options.split(',').collect();
        assert_eq!(mount["options"], json!(options), "{destination}");
    }
}

#[test]
fn the_root_itself_has_no_layer_and_may_not_be_read_only() {
    let mut scene = Scene::new();
    scene.itself = true;
    let json = scene.json(&["--rw-root", "image", "a"]);
    assert_eq!(destinations(&json), SYSTEM[1..]);
    assert_eq!(json["root"]["path"], scene.root.path().to_str().unwrap());
    assert!(
        scene
            .error(&["--rw-root", "--read-only", "image", "a"])
            .contains("exclude")
    );
}

#[test]
fn layers_are_escaped_and_the_topmost_is_the_root() {
    let mut scene = Scene::new();
    let odd = scene.root.path().join("a:b\\c");
    std::fs::create_dir(&odd).unwrap();
    scene.layers = vec![odd.clone(), scene.root.path().to_owned()];
    let json = scene.json(&["--read-only", "-u", "web", "image", "a"]);
    let root = scene.root.path().to_str().unwrap();
    assert_eq!(
        json["root"],
        json!({"path": odd.to_str().unwrap(), "readonly": true})
    );
    assert_eq!(
        mount(&json, "/")["options"][0],
        format!("lowerdir={root}/a\\:b\\\\c:{root}")
    );
    // The accounts are in the lower one.
    assert_eq!(json["process"]["user"]["uid"], 33);
}

#[test]
fn the_folders_of_all_layers_are_known_before_the_run() {
    let scene = Scene::new();
    let root = scene.root.path().to_str().unwrap();
    let volume = |name: &str| format!("{root}:/{name}:O,nosuid");
    let spec = scene.spec(&[
        "-v",
        &volume("a"),
        "-v",
        "/etc:/b",
        "-v",
        &volume("c"),
        "image",
        "a",
    ]);
    let spec = spec.unwrap();
    let folders = [
        "upper",
        "work",
        "volume-0/upper",
        "volume-0/work",
        "volume-1/upper",
        "volume-1/work",
    ];
    assert_eq!(
        layer_folders(&spec),
        folders.map(|folder| Path::new("/store/c1").join(folder))
    );
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(
        mount(&json, "/c")["options"],
        json!([
            format!("lowerdir={root}"),
            "upperdir=/store/c1/volume-1/upper",
            "workdir=/store/c1/volume-1/work",
            "userxattr",
            "volatile",
            "nosuid",
        ])
    );
    assert_eq!(
        scene.error(&["-v", "/etc/passwd:/a:O", "image", "a"]),
        "-v /etc/passwd:/a:O: /etc/passwd: a layer can lie over a folder only"
    );
}

#[test]
fn the_hosts_namespaces_are_left_out_and_shown_by_binding() {
    let scene = Scene::new();
    let json = scene.json(&[
        "--pid", "host", "--ipc", "host", "--uts", "host", "--net", "host", "image", "a",
    ]);
    let kinds = ["mount", "cgroup", "user", "time"].map(|kind| json!({"type": kind}));
    assert_eq!(json["linux"]["namespaces"], json!(kinds));
    assert_eq!(json["hostname"], Value::Null);
    let node = rustix::system::uname();
    assert_eq!(env(&json, "HOSTNAME").unwrap(), node.nodename().to_str().unwrap());
    for (destination, options) in [
        ("/proc", "rbind,nosuid,noexec,nodev"),
        ("/dev/shm", "bind,rprivate,nosuid,noexec,nodev"),
        ("/sys", "rbind,rprivate,nosuid,noexec,nodev,ro,rro"),
        ("/etc/hosts", "bind,rprivate,nosuid,nodev,noexec,ro"),
    ] {
        let mount = mount(&json, destination);
        assert_eq!(
            (&mount["type"], &mount["source"]),
            (&json!("bind"), &json!(destination))
        );
        let options: Vec<&str> = options.split(',').collect();
        assert_eq!(mount["options"], json!(options), "{destination}");
    }
    let error = scene.error(&["--uts", "host", "--hostname", "a", "image", "a"]);
    assert!(error.contains("--hostname and --uts host"), "{error}");
}

#[test]
fn an_inner_mount_comes_after_the_outer_one_whatever_the_order_of_flags() {
    let json = Scene::new().json(&[
        "-v",
        "/etc:/a/b/c",
        "--tmpfs",
        "/a/b:size=1m",
        "--mount",
        "type=bind,src=/etc,dst=/a,ro",
        "-v",
        "/etc:/a/b/d",
        "--device",
        "/dev/null:/a/null",
        "image",
        "a",
    ]);
    assert_eq!(
        destinations(&json)[SYSTEM.len()..],
        ["/a", "/a/b", "/a/null", "/a/b/c", "/a/b/d"]
    );
    assert_eq!(
        mount(&json, "/a/null"),
        &json!({
            "destination": "/a/null", "type": "bind", "source": "/dev/null", "options": ["bind", "nosuid", "noexec"],
        })
    );
}

#[test]
fn a_mount_of_the_users_replaces_what_it_would_cover() {
    let scene = Scene::new();
    let json = scene.json(&["--tmpfs", "/dev/shm:size=1m", "-v", "/sys:/sys:ro", "image", "a"]);
    assert_eq!(
        destinations(&json),
        [
            "/",
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys",
            "/dev/shm"
        ]
    );
    let json = scene.json(&["-v", "/dev:/dev", "image", "a"]);
    assert_eq!(
        destinations(&json),
        ["/", "/proc", "/sys", "/sys/fs/cgroup", "/dev"]
    );
    let json = scene.json(&["-v", "/etc:/device", "image", "a"]);
    assert_eq!(destinations(&json)[..8], SYSTEM);
}

#[test]
fn a_mount_that_cannot_be_is_named_before_anything_runs() {
    let scene = Scene::new();
    for (flags, said) in [
        (
            &["-v", "/nope:/x"][..],
            "-v /nope:/x: /nope: No such file or directory",
        ),
        (
            &["-v", "./nope:/x"],
            "-v ./nope:/x: ./nope: No such file or directory",
        ),
        (
            &["--mount", "type=bind,src=/nope,dst=/x"],
            "--mount type=bind,src=/nope,dst=/x: /nope: No such file or directory",
        ),
        (
            &["--device", "/dev/nope"],
            "--device /dev/nope: /dev/nope: No such file or directory",
        ),
        (&["-v", "/etc:/x", "--tmpfs", "/x/"], "duplicate mount point: /x"),
        (
            &["-v", "/etc:/proc"],
            "/proc cannot be mounted on: the container would lose its own",
        ),
        (
            &["--tmpfs", "/x:uid=70000"],
            "--tmpfs /x: the ID 70000 is not mapped in the container",
        ),
    ] {
        let flags = [flags, &["image", "a"]].concat();
        assert_eq!(scene.error(&flags), said);
    }
}

#[test]
fn users_are_the_images_and_must_be_mapped() {
    let scene = Scene::new();
    for (flags, user, home) in [
        (
            &["-u", "web"][..],
            json!({"uid": 33, "gid": 34, "additionalGids": [34, 26]}),
            "/srv",
        ),
        (
            &["-u", "33"],
            json!({"uid": 33, "gid": 34, "additionalGids": [34, 26]}),
            "/srv",
        ),
        (
            &["-u", "web:root"],
            json!({"uid": 33, "gid": 0, "additionalGids": [0]}),
            "/srv",
        ),
        (
            &["-u", "50:60"],
            json!({"uid": 50, "gid": 60, "additionalGids": [60]}),
            "/",
        ),
        (
            &["--group-add", "tape", "--group-add", "9", "--group-add", "0"],
            json!({"uid": 0, "gid": 0, "additionalGids": [0, 26, 9]}),
            "/root",
        ),
        (
            &["--userns", "keep-id:uid=1000,gid=1001"],
            json!({"uid": 1000, "gid": 1001, "additionalGids": [1001]}),
            "/",
        ),
        (
            &["--userns", "keep-id:uid=1000", "-u", "0"],
            json!({"uid": 0, "gid": 0, "additionalGids": [0]}),
            "/root",
        ),
    ] {
        let json = scene.json(&[flags, &["image", "a"]].concat());
        assert_eq!(json["process"]["user"], user, "{flags:?}");
        assert_eq!(env(&json, "HOME").unwrap(), home, "{flags:?}");
    }
    for (flags, said) in [
        (["-u", "70000"], "-u 70000: the ID is not mapped in the container"),
        (
            ["-u", "0:70000"],
            "-u 0:70000: the ID is not mapped in the container",
        ),
        (
            ["-u", "far"],
            "-u far: the ID 70000 is not mapped in the container",
        ),
        (["-u", "foo"], "user foo: not in the image's /etc/passwd"),
        (
            ["--group-add", "foo"],
            "--group-add: group foo: not in the image's /etc/group",
        ),
        (
            ["--group-add", "far"],
            "--group-add far: the ID 70000 is not mapped in the container",
        ),
    ] {
        assert_eq!(scene.error(&[&flags[..], &["image", "a"]].concat()), said);
    }
}

#[test]
fn a_container_of_one_id_has_no_other_groups() {
    let scene = Scene::alone();
    let json = scene.json(&["image", "a"]);
    assert_eq!(json["process"]["user"]["additionalGids"], json!([]));
    assert!(!mount(&json, "/dev/pts")["options"].to_string().contains("gid=5"));
    let error = scene.spec(&["-u", "5000", "image", "a"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "-u 5000: the ID is not mapped in the container"
    );
    assert!(error.way_out().unwrap().contains("/etc/subuid"));
}

#[test]
fn kept_groups_stand_alone() {
    let scene = Scene::new();
    let json = scene.json(&["--group-add", "keep-groups", "--init", "image", "a"]);
    assert_eq!(
        json["annotations"],
        json!({"run.oci.keep_original_groups": "1", "usnea.init": "true"})
    );
    assert_eq!(json["process"]["user"]["additionalGids"], json!([]));
    let flags = ["--group-add", "keep-groups", "--group-add", "5", "image", "a"];
    assert_eq!(scene.error(&flags), "--group-add keep-groups must stand alone");
}

#[test]
fn entrypoint_and_command_combine_as_docker_says() {
    let mut scene = Scene::new();
    let args = |scene: &Scene, flags: &[&str]| scene.json(flags)["process"]["args"].clone();
    assert_eq!(args(&scene, &["image", "a", "-b"]), json!(["a", "-b"]));
    assert_eq!(args(&scene, &["--entrypoint", "e", "image"]), json!(["e"]));
    assert_eq!(scene.error(&["image"]), "no command given");
    assert_eq!(scene.error(&["image", ""]), "the command is an empty word");
    scene.image.entrypoint = vec!["ie".into(), "x".into()];
    scene.image.cmd = vec!["ic".into()];
    assert_eq!(args(&scene, &["image"]), json!(["ie", "x", "ic"]));
    assert_eq!(args(&scene, &["image", "a"]), json!(["ie", "x", "a"]));
    assert_eq!(args(&scene, &["--entrypoint", "e", "image"]), json!(["e"]));
    assert_eq!(
        args(&scene, &["--entrypoint", "e", "image", "a"]),
        json!(["e", "a"])
    );
    assert_eq!(args(&scene, &["--entrypoint", "", "image", "a"]), json!(["a"]));
    assert_eq!(
        args(&scene, &["--entrypoint", r#"["e","f"]"#, "image", "a"]),
        json!(["e", "f", "a"])
    );
    assert_eq!(scene.error(&["--entrypoint", "", "image"]), "no command given");
}

#[test]
fn a_flag_wins_over_a_file_a_file_over_the_image_the_image_over_us() {
    let mut scene = Scene::new();
    scene.image.env = [
        "PATH=/image",
        "A=image",
        "B=image",
        "C=image",
        "D=image",
        "HOME=/image",
    ]
    .map(str::to_owned)
    .to_vec();
    let file = scene.root.path().join("env");
    std::fs::write(&file, "A=file\nB=file\nE=file\n").unwrap();
    let file = file.to_str().unwrap();
    let json = scene.json(&[
        "-e",
        "A=flag",
        "--env-file",
        file,
        "-e",
        "D",
        "-e",
        "TERM=dumb",
        "image",
        "a",
    ]);
    for (name, value) in [
        ("A", Some("flag")),
        ("B", Some("file")),
        ("C", Some("image")),
        ("D", None),
        ("E", Some("file")),
        ("PATH", Some("/image")),
        ("HOME", Some("/image")),
        ("TERM", Some("dumb")),
        ("container", Some("usnea")),
        ("CARGO_MANIFEST_DIR", None),
    ] {
        assert_eq!(env(&json, name).as_deref(), value, "{name}");
    }
    let json = scene.json(&["-e", "CARGO_MANIFEST_DIR", "image", "a"]);
    assert!(env(&json, "CARGO_MANIFEST_DIR").unwrap().starts_with('/'));
}

#[test]
fn the_working_directory_is_absolute() {
    let mut scene = Scene::new();
    scene.image.workdir = Some("/image".into());
    assert_eq!(scene.json(&["image", "a"])["process"]["cwd"], "/image");
    assert_eq!(scene.json(&["-w", "/w", "image", "a"])["process"]["cwd"], "/w");
    assert_eq!(
        scene.error(&["-w", "w", "image", "a"]),
        "-w w: the working directory must be an absolute path"
    );
}

#[test]
fn sysctls_limits_and_privileges_arrive() {
    let scene = Scene::new();
    let json = scene.json(&[
        "--sysctl",
        "net/ipv4/ip_forward=1",
        "--ulimit",
        "core=0",
        "--security-opt",
        "no-new-privileges",
        "image",
        "a",
    ]);
    assert_eq!(json["linux"]["sysctl"], json!({"net.ipv4.ip_forward": "1"}));
    assert_eq!(
        json["process"]["rlimits"],
        json!([{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}])
    );
    assert_eq!(json["process"]["noNewPrivileges"], true);
    let error = scene.error(&["--sysctl", "vm.swappiness=1", "image", "a"]);
    assert!(
        error.starts_with("--sysctl vm.swappiness: belongs to no namespace"),
        "{error}"
    );
}

#[test]
fn flags_are_typed_as_with_docker() {
    let line = parsed(&[
        "-it",
        "--rm",
        "-h",
        "web",
        "--name=w1",
        "--net=host",
        "-eA=1",
        "-e",
        "B",
        "--init=false",
        "--read-only=true",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop=all",
        "--userns",
        "keep-id",
        "--preserve-fds",
        "2",
        "--name",
        "w2",
        "image",
        "sh",
        "-c",
        "-it",
        "--rm",
    ]);
    let Line {
        options,
        image,
        command,
    } = line.unwrap_or_else(|error| panic!("{error}"));
    assert!(options.interactive && options.tty && options.rm && options.read_only && !options.init);
    assert_eq!(options.hostname.unwrap().as_str(), "web");
    assert_eq!(options.name.unwrap().as_str(), "w2");
    assert_eq!(options.env.len(), 2);
    assert_eq!(
        (
            options.cap_add.len(),
            options.cap_drop.len(),
            options.preserve_fds
        ),
        (1, 1, 2)
    );
    assert_eq!(
        (image.as_str(), command.join(" ").as_str()),
        ("image", "sh -c -it --rm")
    );
}

#[test]
fn a_malformed_value_is_an_error_that_names_flag_and_value() {
    for (flag, value) in [
        ("--volume", "data:/x"),
        ("--mount", "type=x"),
        ("--tmpfs", "/"),
        ("--ulimit", "x=1"),
        ("--sysctl", "x"),
        ("--shm-size", "0"),
        ("--device", "null"),
        ("--user", "a:b:c"),
        ("--cap-add", "x"),
        ("--security-opt", "x"),
        ("--network", "br0"),
        ("--userns", "x"),
        ("--uidmap", "x"),
        ("--name", "x"),
        ("--hostname", "a_b"),
        ("--env", "=x"),
        ("--group-add", "a:b"),
        ("--entrypoint", "["),
    ] {
        let error = parsed(&[flag, value, "image"]).err().expect(flag).to_string();
        assert!(
            error.contains(&format!("invalid value '{value}' for '{flag} ")),
            "{error}"
        );
    }
}

#[test]
fn defaults_of_the_flags_are_the_defaults_of_the_type() {
    let parsed = parsed(&["image"])
        .unwrap_or_else(|error| panic!("{error}"))
        .options;
    assert_eq!(format!("{parsed:?}"), format!("{:?}", Options::default()));
}
