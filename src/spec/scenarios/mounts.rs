//! Tests of the whole: mounts and namespaces.

use std::path::Path;

use serde_json::{Value, json};

use super::super::layer_folders;
use super::{SYSTEM, Scene, destinations, env, mount};

#[test]
fn the_systems_mounts_have_dockers_options() {
    let json = Scene::new().json(&["--shm-size", "1m", "image", "a"]);
    for (destination, kind, options) in [
        ("/proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
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
    assert!(scene.error(&["--rw-root", "--read-only", "image", "a"]).contains("exclude"));
}

#[test]
fn layers_are_escaped_and_the_topmost_is_the_root() {
    let mut scene = Scene::new();
    let odd = scene.root.path().join("a:b\\c");
    std::fs::create_dir(&odd).unwrap();
    scene.layers = vec![odd.clone().into(), scene.root.path().to_owned().into()];
    let json = scene.json(&["--read-only", "-u", "web", "image", "a"]);
    let root = scene.root.path().to_str().unwrap();
    assert_eq!(json["root"], json!({"path": odd.to_str().unwrap(), "readonly": true}));
    assert_eq!(mount(&json, "/")["options"][0], format!("lowerdir={root}/a\\:b\\\\c:{root}"));
    // The accounts are in the lower layer.
    assert_eq!(json["process"]["user"]["uid"], 33);
}

#[test]
fn the_folders_of_all_layers_are_known_before_the_run() {
    let scene = Scene::new();
    let root = scene.root.path().to_str().unwrap();
    let volume = |name: &str| format!("{root}:/{name}:O,nosuid");
    let spec = scene.spec(&["-v", &volume("a"), "-v", "/etc:/b", "-v", &volume("c"), "image", "a"]);
    let spec = spec.unwrap();
    let folders =
        ["upper", "work", "volume-0/upper", "volume-0/work", "volume-1/upper", "volume-1/work"];
    assert_eq!(layer_folders(&spec), folders.map(|folder| Path::new("/store/c1").join(folder)));
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
    let json = scene
        .json(&["--pid", "host", "--ipc", "host", "--uts", "host", "--net", "host", "image", "a"]);
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
        assert_eq!((&mount["type"], &mount["source"]), (&json!("bind"), &json!(destination)));
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
    assert_eq!(destinations(&json)[SYSTEM.len()..], ["/a", "/a/b", "/a/null", "/a/b/c", "/a/b/d"]);
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
        ["/", "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/dev/shm"]
    );
    let json = scene.json(&["-v", "/dev:/dev", "image", "a"]);
    assert_eq!(destinations(&json), ["/", "/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
    let json = scene.json(&["-v", "/etc:/device", "image", "a"]);
    assert_eq!(destinations(&json)[..8], SYSTEM);
}

#[test]
fn a_mount_that_cannot_be_is_named_before_anything_runs() {
    let scene = Scene::new();
    for (flags, said) in [
        (&["-v", "/nope:/x"][..], "-v /nope:/x: /nope: No such file or directory"),
        (&["-v", "./nope:/x"], "-v ./nope:/x: ./nope: No such file or directory"),
        (
            &["--mount", "type=bind,src=/nope,dst=/x"],
            "--mount type=bind,src=/nope,dst=/x: /nope: No such file or directory",
        ),
        (&["--device", "/dev/nope"], "--device /dev/nope: /dev/nope: No such file or directory"),
        (&["-v", "/etc:/x", "--tmpfs", "/x/"], "duplicate mount point: /x"),
        (&["-v", "/etc:/proc"], "/proc cannot be mounted on: it would not be the kernel's"),
        (&["--tmpfs", "/x:uid=70000"], "--tmpfs /x: the ID 70000 is not mapped in the container"),
    ] {
        let flags = [flags, &["image", "a"]].concat();
        assert_eq!(scene.error(&flags), said);
    }
}
