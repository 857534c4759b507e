//! Images of single files are pushed and saved: skopeo and a real registry tell what arrives.

use std::fs;

use serde_json::Value;

use crate::composed::{Composed, file, layer, publish, small_root};
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{finish, need};

const PLAIN: &str = "--tls-verify=false";

/// A place with `image.sqsh`, of two layers, whose name is `q.example/x:1`.
fn place() -> Stocked {
    let place = Stocked::new();
    let top = layer(&[file("kept", "image\n").owner(7, 8), file("gone", "gone\n").mode(0o4711)]);
    let config = serde_json::json!({
        "Entrypoint": ["cat"], "Cmd": ["/kept"], "Env": ["A=b"], "Labels": {"org.x": "1"},
        "WorkingDir": "/", "User": "7:8",
    });
    Composed::of(&[small_root(&place), top]).config(config).write(&place, "layout");
    place.usnea(&["pull", "-q", "oci:layout"]).works();
    place.usnea(&["tag", "localhost/layout", "q.example/x:1"]).works();
    let save = ["save", "--format", "squashfs", "-o", "image.sqsh", "q.example/x:1"];
    place.usnea(&save).works();
    place
}

/// Output of `skopeo inspect`, of the configuration or of the manifest.
fn inspected(place: &Stocked, image: &str, more: &[&str]) -> Value {
    let words = [&["inspect", PLAIN], more, &[image]].concat();
    serde_json::from_str(place.other("skopeo", &words).works()).expect("JSON")
}

/// Asserts one layer, and the configuration of the image.
fn is_the_image(place: &Stocked, image: &str) {
    let config = inspected(place, image, &["--config"]);
    let run = &config["config"];
    assert_eq!(run["Entrypoint"], serde_json::json!(["cat"]), "{image}: {config}");
    assert_eq!(run["Env"], serde_json::json!(["A=b"]));
    assert_eq!((&run["Labels"]["org.x"], &run["User"]), (&"1".into(), &"7:8".into()));
    let layers = inspected(place, image, &["--raw"])["layers"].as_array().map(Vec::len);
    let diffs = config["rootfs"]["diff_ids"].as_array().map(Vec::len);
    assert_eq!((layers, diffs), (Some(1), Some(1)), "{image}");
    // Every step but one has no layer.
    let empty = |step: &&Value| step["empty_layer"] == Value::Bool(true);
    let history = config["history"].as_array().cloned().unwrap_or_default();
    assert!(history.is_empty() || history.iter().filter(empty).count() + 1 == history.len());
}

/// ID of the image that a load of this input gives.
fn loaded_id(place: &Stocked, input: &str) -> String {
    let store = format!("of-{}", input.replace('/', "-"));
    place.usnea_in(&store, &["load", "-q", "-i", input]).works();
    place.usnea_in(&store, &["images", "-q", "--no-trunc"]).works().to_owned()
}

#[test]
fn a_pushed_file_is_an_image_of_one_layer_with_its_configuration() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = place();
    let id = loaded_id(&place, "image.sqsh");
    for (tag, name) in [("a", "sqsh:image.sqsh"), ("b", "./image.sqsh"), ("c", "sif:image.sqsh")] {
        let there = format!("{}/x/tool:{tag}", registry.host);
        let ran = place.usnea(&["push", PLAIN, name, &there]);
        assert!(ran.works().starts_with(&format!("{there}: digest: sha256:")), "{ran:?}");
        is_the_image(&place, &format!("docker://{there}"));
        // The store got nothing, and the image is the one that a load gives.
        place.usnea(&["image", "exists", &there]).exits(1);
        place.usnea_in("there", &["pull", "-q", PLAIN, &there]).works();
        let inspect = ["image", "inspect", "-f", "{{.Id}}", &there];
        let has = place.usnea_in("there", &inspect).works().to_owned();
        assert!(id.ends_with(&has), "{has} {id}");
    }
    let there = format!("{}/x/tool:a", registry.host);
    assert_eq!(place.usnea_in("there", &["run", "--rm", &there]).works(), "image");
    // Owners and modes too, whatever IDs the user has.
    place.usnea_in("there", &["export", "-o", "files.tar", &there]).works();
    let listed = place.shell("tar -tvf files.tar --numeric-owner | grep -E ' (gone|kept)$'");
    let fields = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let listed: Vec<String> = listed.works().lines().map(fields).collect();
    assert_eq!(listed, ["-rws--x--x 0/0", "-rw-r--r-- 7/8"]);
    let docker = format!("{}/x/tool:d", registry.host);
    place.usnea(&["push", PLAIN, "--format", "v2s2", "sqsh:image.sqsh", &docker]).works();
    let kind = &inspected(&place, &format!("docker://{docker}"), &["--raw"])["mediaType"];
    assert_eq!(kind, "application/vnd.docker.distribution.manifest.v2+json");
    let left = fs::read_dir(place.place.path("store/tmp")).into_iter().flatten().count();
    assert_eq!(left, 0);
}

#[test]
fn without_a_destination_the_name_in_the_file_decides() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = place();
    let there = format!("{}/own/name:3", registry.host);
    publish(&place, "layout", &there);
    place.usnea(&["pull", "-q", PLAIN, "--to", "named.sqsh", &there]).works();
    let before = inspected(&place, &format!("docker://{there}"), &["--raw"]);
    assert_eq!(before["layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(place.usnea(&["push", "-q", PLAIN, "sqsh:named.sqsh"]).works(), there);
    is_the_image(&place, &format!("docker://{there}"));
    place.usnea(&["tag", "q.example/x:1", "localhost/only:here"]).works();
    let save = ["save", "--format", "squashfs", "-o", "here.sqsh", "localhost/only:here"];
    place.usnea(&save).works();
    let ran = place.usnea(&["push", "./here.sqsh"]);
    ran.fails_with(125, &["localhost/only:here", "this machine alone"]);
    ran.hints();
}

#[test]
fn a_saved_file_is_an_archive_that_others_read() {
    let place = place();
    let id = loaded_id(&place, "image.sqsh");
    let save = |more: &[&str]| {
        let ran = place.usnea(&[&["save"], more].concat());
        assert_eq!((ran.works(), ran.stderr.as_str()), ("", ""));
    };
    save(&["-o", "docker.tar", "sqsh:image.sqsh"]);
    save(&["--format", "oci-archive", "-o", "oci.tar", "./image.sqsh"]);
    save(&["--format", "oci-dir", "-o", "folder", "sqsh:image.sqsh"]);
    // One of a store beside it.
    save(&["-o", "both.tar", "sqsh:image.sqsh", "localhost/layout"]);
    for archive in ["docker.tar", "oci.tar", "folder"] {
        assert_eq!(loaded_id(&place, archive), id, "{archive}");
    }
    assert_eq!(loaded_id(&place, "both.tar").lines().count(), 2);
    assert!(place.usnea_in("of-docker.tar", &["image", "exists", "q.example/x:1"]).status == 0);
    if need("skopeo") {
        let images =
            ["docker-archive:docker.tar", "oci-archive:oci.tar", "oci:folder:q.example/x:1"];
        for image in images {
            is_the_image(&place, image);
        }
    }
    save(&["--format", "squashfs", "-o", "first.sqsh", "q.example/x:1"]);
    place.usnea(&["export", "-o", "files.tar", "sqsh:first.sqsh"]).works();
    assert!(place.other("tar", &["-tf", "files.tar"]).works().contains("kept"));
    // A file of the file is the same file.
    save(&["--format", "squashfs", "-o", "again.sqsh", "sqsh:image.sqsh"]);
    place.other("cmp", &["again.sqsh", "image.sqsh"]).works();
    let push = ["push", "-q", "sqsh:image.sqsh", "oci:pushed:q.example/x:1"];
    assert_eq!(place.usnea(&push).works(), "oci:pushed:q.example/x:1");
    assert_eq!(loaded_id(&place, "pushed"), id);
}

#[test]
fn files_without_a_configuration_and_those_that_a_policy_rejects_are_not_sent() {
    let place = place();
    let save = |name: &str| place.usnea(&["save", "-o", "out.tar", name]);
    if need("mksquashfs") {
        place.shell("mkdir tree; mksquashfs tree bare.sqsh -quiet -no-progress").works();
        for ran in [save("sqsh:bare.sqsh"), place.usnea(&["push", "./bare.sqsh", "oci:there"])] {
            ran.fails_with(125, &["bare.sqsh", "no image configuration"]);
            ran.hints();
        }
    }
    save("sqsh:missing.sqsh").fails_with(125, &["missing.sqsh"]);
    let other = ["save", "--platform", "linux/s390x", "-o", "out.tar", "./image.sqsh"];
    place.usnea(&other).fails_with(125, &["not for linux/s390x"]);
    let cut = "size=$(stat -c %s image.sqsh); head -c $((size - 8192)) image.sqsh > cut.sqsh";
    place.shell(cut).works();
    save("sqsh:cut.sqsh").fails_with(125, &["cut.sqsh"]);
    let reject = r#"{"default":[{"type":"insecureAcceptAnything"}],
        "transports":{"sqsh":{"":[{"type":"reject"}]}}}"#;
    for words in [
        &["save", "-o", "out.tar", "sqsh:image.sqsh"][..],
        &["push", "sqsh:image.sqsh", "oci:there"],
        &["save", "--format", "squashfs", "-o", "out.tar", "sqsh:image.sqsh"],
    ] {
        let mut command = place.place.command(words);
        place.at_home(&mut command);
        place.place.write("home/.config/containers/policy.json", reject);
        finish(&mut command, "").fails_with(125, &["signature policy", "reject"]);
    }
    assert!(!place.place.path("out.tar").exists() && !place.place.path("there").exists());
}
