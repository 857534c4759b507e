//! Tests of the whole: user, command, working directory and environment.

use serde_json::json;

use super::{Scene, env, mount};

#[test]
fn users_are_the_images_and_must_be_mapped() {
    let scene = Scene::new();
    for (flags, user, home) in [
        (&["-u", "web"][..], json!({"uid": 33, "gid": 34, "additionalGids": [34, 26]}), "/srv"),
        (&["-u", "33"], json!({"uid": 33, "gid": 34, "additionalGids": [34, 26]}), "/srv"),
        (&["-u", "web:root"], json!({"uid": 33, "gid": 0, "additionalGids": [0]}), "/srv"),
        (&["-u", "50:60"], json!({"uid": 50, "gid": 60, "additionalGids": [60]}), "/"),
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
        (["-u", "70000"], "-u 70000: the user ID 70000 is not mapped in the container"),
        (["-u", "0:70000"], "-u 0:70000: the group ID 70000 is not mapped in the container"),
        (["-u", "far"], "-u far: the user ID 70000 is not mapped in the container"),
        (["-u", "foo"], "user foo: not in the image's /etc/passwd"),
        (["--group-add", "foo"], "--group-add: group foo: not in the image's /etc/group"),
        (
            ["--group-add", "far"],
            "--group-add far: the group ID 70000 is not mapped in the container",
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
    assert_eq!(error.to_string(), "-u 5000: the user ID 5000 is not mapped in the container");
    assert!(error.hint_text().unwrap().contains("usnea doctor"));
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
    assert_eq!(args(&scene, &["--entrypoint", "e", "image", "a"]), json!(["e", "a"]));
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
    scene.image.env = ["PATH=/image", "A=image", "B=image", "C=image", "D=image", "HOME=/image"]
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
    ] {
        assert_eq!(env(&json, name).as_deref(), value, "{name}");
    }
}

#[test]
fn the_hosts_environment_stays_out_unless_named() {
    let ours = ["PATH", "HOSTNAME", "TERM", "HOME", "container"];
    let (name, value) = std::env::vars()
        .find(|(name, _)| !ours.contains(&name.as_str()) && !name.ends_with('*'))
        .expect("a test has an environment");
    let scene = Scene::new();
    assert_eq!(env(&scene.json(&["image", "a"]), &name), None);
    let named = scene.json(&["-e", &name, "image", "a"]);
    assert_eq!(env(&named, &name), Some(value));
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
    assert_eq!(json["process"]["rlimits"], json!([{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]));
    assert_eq!(json["process"]["noNewPrivileges"], true);
    let error = scene.error(&["--sysctl", "vm.swappiness=1", "image", "a"]);
    assert!(error.starts_with("--sysctl vm.swappiness: belongs to no namespace"), "{error}");
}
