//! Images as programs in Go write them: fields that are null, empty or not there, other compressions and formats, links,
//! artifacts beside images; and what an image must not be able to say.

use std::fs;

use serde_json::{Value, json};
use usnea::digest::Digest;
use usnea::image::manifest::media;

use crate::composed::{Composed, file, folder, layer, link, small_root, write_index};
use crate::stocked::Stocked;
use crate::support::{finish, need, need_no_subids, need_subids, text};

/// The document that a descriptor in a layout points to.
fn read(place: &Stocked, layout: &str, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
    serde_json::from_str(&place.place.read(&format!("{layout}/blobs/{digest}"))).expect("JSON")
}

fn put(place: &Stocked, layout: &str, descriptor: &mut Value, document: &str) {
    let digest = Digest::of(document.as_bytes());
    place.place.write(&format!("{layout}/blobs/sha256/{}", digest.hex()), document);
    descriptor["digest"] = json!(digest);
    descriptor["size"] = json!(document.len());
}

/// Changes the manifest and the config of a layout with one image.
fn change(place: &Stocked, layout: &str, change: impl Fn(&mut Value, &mut Value)) {
    let path = format!("{layout}/index.json");
    let mut index: Value = serde_json::from_str(&place.place.read(&path)).expect("JSON");
    let mut manifest = read(place, layout, &index["manifests"][0]);
    let mut config = read(place, layout, &manifest["config"]);
    change(&mut manifest, &mut config);
    let mut descriptor = manifest["config"].clone();
    put(place, layout, &mut descriptor, &config.to_string());
    // What was changed of the descriptor itself stays.
    manifest["config"]["digest"] = descriptor["digest"].clone();
    if manifest["config"]["size"].as_i64().is_some_and(|size| size > 0) {
        manifest["config"]["size"] = descriptor["size"].clone();
    }
    put(place, layout, &mut index["manifests"][0], &manifest.to_string());
    place.place.write(&path, index.to_string());
}

fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().expect("an object").remove(name);
}

#[test]
fn null_values_of_go_are_read_as_empty() {
    let place = Stocked::new();
    let root = small_root(&place);
    let config = json!({"Cmd": ["echo", "ran"], "Env": ["A=1"], "Labels": {"a": "b"}});
    let image = Composed::of(&[root]).config(config);
    type Change = fn(&mut Value, &mut Value);
    let changes: [(&str, Change); 14] = [
        ("platform", |_, config| {
            remove(config, "os");
            remove(config, "architecture");
        }),
        ("empty", |manifest, config| {
            (config["os"], config["architecture"], config["variant"]) =
                (json!(""), json!(""), json!(""));
            manifest["mediaType"] = json!("");
        }),
        ("case", |_, config| config["os"] = json!("Linux")),
        ("volumes", |_, config| config["config"]["Volumes"] = json!({"/data": null})),
        ("labels", |_, config| config["config"]["Labels"] = json!({"a": null})),
        ("nulls", |_, config| {
            for name in
                ["Env", "Volumes", "ExposedPorts", "Labels", "Entrypoint", "Healthcheck", "User"]
            {
                config["config"][name] = Value::Null;
            }
            config["history"] = Value::Null;
        }),
        ("health", |_, config| {
            config["config"]["Healthcheck"] = json!({"Test": ["CMD", "true"], "Interval": null});
        }),
        ("annotations", |manifest, _| {
            manifest["annotations"] = Value::Null;
            manifest["layers"][0]["annotations"] = Value::Null;
            manifest["layers"][0]["urls"] = Value::Null;
        }),
        ("layer", |manifest, _| {
            remove(&mut manifest["layers"][0], "mediaType");
            remove(&mut manifest["layers"][0], "size");
        }),
        ("size", |manifest, _| {
            manifest["layers"][0]["size"] = json!(-1);
            manifest["config"]["size"] = json!(-1);
        }),
        ("rootfs", |_, config| remove(&mut config["rootfs"], "type")),
        ("cmd", |_, config| config["config"]["Cmd"] = json!(["echo", "ran", null])),
        ("env", |_, config| config["config"]["Env"] = json!(["=x", "", "PATH=/bin"])),
        ("user", |_, config| {
            config["config"]["User"] = json!("root:");
            config["config"]["Volumes"] = json!({"data": {}});
        }),
    ];
    for (name, changed) in changes {
        image.write(&place, name);
        change(&place, name, changed);
        let ran =
            place.usnea(&["run", "-q", "--rm", &format!("oci:{}", text(&place.place.path(name)))]);
        assert_eq!(ran.works(), "ran", "{name}: {ran:?}");
        assert_eq!(ran.stderr, "", "{name}");
    }
    let twice = place.place.read("platform/index.json").replacen('{', r#"{"schemaVersion":1,"#, 1);
    place.place.write("platform/index.json", twice);
    place.usnea(&["pull", &format!("oci:{}", text(&place.place.path("platform")))]).works();
}

#[test]
fn an_image_of_no_layers_needs_no_list_of_them() {
    let place = Stocked::new();
    Composed::of(&[]).write(&place, "l");
    change(&place, "l", |manifest, config| {
        config["rootfs"] = json!({"type": "layers"});
        manifest["layers"] = Value::Null;
    });
    let from = format!("oci:{}", text(&place.place.path("l")));
    let id = place.usnea(&["pull", &from]).works().to_owned();
    assert_eq!(place.field(&id, "{{len .RootFS.Layers}}"), "0");
}

#[test]
fn an_image_gets_no_variable_of_the_host() {
    let place = Stocked::new();
    let config = json!({"Cmd": ["env"], "Env": ["SECRET_OF_HOST", "*", "SECRET*", "PATH=/bin"]});
    Composed::of(&[small_root(&place)]).config(config).write(&place, "l");
    let mut command =
        place.place.command(&["run", "--rm", &format!("oci:{}", text(&place.place.path("l")))]);
    place.at_home(command.env("SECRET_OF_HOST", "told"));
    let ran = finish(&mut command, "");
    assert!(!ran.works().contains("SECRET"), "{ran:?}");
}

#[test]
fn links_of_a_layer_lead_within_it() {
    let place = Stocked::new();
    let more = layer(&[
        folder("usr/lib64"),
        link("lib", "/usr/lib64"),
        file("lib/x", "found\n"),
        file("usr/share/../y", "found\n"),
    ]);
    let config = json!({"Cmd": ["cat", "/usr/lib64/x", "/lib/x", "/usr/y"]});
    Composed::of(&[small_root(&place), more]).config(config).write(&place, "l");
    let ran = place.usnea(&["run", "--rm", &format!("oci:{}", text(&place.place.path("l")))]);
    assert_eq!(ran.works(), "found\nfound\nfound");
}

#[test]
fn an_artifact_is_named_and_passed_over() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["echo", "ran"]})).write(&place, "l");
    let from = text(&place.place.path("l")).to_owned();
    let mut index: Value = serde_json::from_str(&place.place.read("l/index.json")).expect("JSON");
    let mut artifact = index["manifests"][0].clone();
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2});
    place.place.write(&format!("l/blobs/sha256/{}", Digest::of(b"{}").hex()), "{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": "text/spdx", "config": empty, "layers": [empty],
    });
    put(&place, "l", &mut artifact, &manifest.to_string());
    artifact["annotations"] = json!({"org.opencontainers.image.ref.name": "sbom"});
    index["manifests"].as_array_mut().expect("a list").insert(0, artifact);
    place.place.write("l/index.json", index.to_string());
    let pulled = place.usnea(&["pull", &format!("oci:{from}:sbom")]);
    pulled.fails_with(125, &["an artifact of type text/spdx, not an image"]);
    let loaded = place.usnea(&["load", "-i", &from]);
    assert!(loaded.works().contains("Loaded image"), "{loaded:?}");
    assert!(loaded.stderr.contains("text/spdx"), "{loaded:?}");
}

#[test]
fn a_missing_platform_is_reported_and_the_nearest_one_used() {
    let place = Stocked::new();
    let root = small_root(&place);
    let image = Composed::of(&[root]).config(json!({"Cmd": ["echo", "ran"]}));
    image.write(&place, "one");
    let one = format!("oci:{}", text(&place.place.path("one")));
    let pulled = place.usnea(&["pull", "--platform", "linux/s390x", &one]);
    pulled.works();
    assert!(pulled.stderr.contains("not for linux/s390x"), "{pulled:?}");
    let mut command = place.place.command(&["pull", &one]);
    place.at_home(command.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x"));
    let pulled = finish(&mut command, "");
    assert!(pulled.stderr.contains("not for linux/s390x"), "{pulled:?}");
    let mut command = place.place.command(&["pull", &one]);
    place.at_home(command.env("DOCKER_DEFAULT_PLATFORM", "a/b/c/d"));
    finish(&mut command, "").fails_with(125, &["DOCKER_DEFAULT_PLATFORM", "a/b/c/d"]);

    write_index(
        &place,
        "two",
        &[image.clone().platform("linux/s390x"), image.platform("linux/arm/v6")],
    );
    // The variant stands in the index alone.
    let path = "two/index.json";
    let mut index: Value = serde_json::from_str(&place.place.read(path)).expect("JSON");
    let mut inner = read(&place, "two", &index["manifests"][0]);
    inner["manifests"][1]["platform"]["variant"] = json!("v6");
    put(&place, "two", &mut index["manifests"][0], &inner.to_string());
    place.place.write(path, index.to_string());
    let two = format!("oci:{}", text(&place.place.path("two")));
    for wanted in [
        &["--platform", "linux/arm/v7"][..],
        &["--arch", "arm", "--variant", "v7"],
        &["--arch=arm"],
    ] {
        place.usnea(&[&["pull"], wanted, &[&two]].concat()).works();
    }
    place
        .usnea(&["pull", "--arch", "arm", "--variant", "v5", &two])
        .fails_with(125, &["no image for linux/arm/v5"]);
    place.usnea(&["pull", "--arch", "arm", "--platform", "linux/arm", &two]).exits(125);
}

#[test]
fn a_layout_of_links_is_read() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["echo", "ran"]})).write(&place, "l");
    let blobs = place.place.path("l/blobs/sha256");
    for entry in fs::read_dir(&blobs).expect("a folder") {
        let path = entry.expect("an entry").path();
        let moved = place.place.path(&format!(
            "{}.b",
            text(path.file_name().map(std::path::Path::new).expect("a name"))
        ));
        fs::rename(&path, &moved).expect("moved");
        std::os::unix::fs::symlink(&moved, &path).expect("a link");
    }
    let ran = place.usnea(&["run", "--rm", &format!("oci:{}", text(&place.place.path("l")))]);
    assert_eq!(ran.works(), "ran");
}

#[test]
fn archives_packed_by_xz_and_bzip2_are_read() {
    let place = Stocked::new();
    let tar = small_root(&place);
    for (name, program) in [("r.tar.xz", "xz"), ("r.tar.bz2", "bzip2")] {
        if !need(program) {
            continue;
        }
        place.place.write("plain.tar", &tar);
        place
            .shell(&format!(
                "{program} <'{}' >'{}'",
                text(&place.place.path("plain.tar")),
                text(&place.place.path(name))
            ))
            .works();
        let path = place.place.path(name);
        // As a root, as a layer, and an archive of images.
        place.usnea(&["import", text(&path), &format!("by-{program}")]).works();
        let ran = place.usnea(&["run", "--rm", &format!("by-{program}"), "echo", "ran"]);
        assert_eq!(ran.works(), "ran");
        Composed::of(std::slice::from_ref(&tar))
            .config(json!({"Cmd": ["echo", "ran"]}))
            .write(&place, program);
        let packed = fs::read(&path).expect("a file");
        place
            .place
            .write(&format!("{program}/blobs/sha256/{}", Digest::of(&packed).hex()), &packed);
        change(&place, program, |manifest, _| {
            manifest["layers"][0] = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+xz",
                "digest": Digest::of(&packed), "size": packed.len()});
        });
        let from = format!("oci:{}", text(&place.place.path(program)));
        let id = place.usnea(&["pull", &from]).works().to_owned();
        assert_eq!(place.usnea(&["run", "--rm", &id]).works(), "ran");
        // It goes out in a compression that a manifest has a name for.
        let saved = place.place.path(&format!("{program}-saved"));
        place.usnea(&["save", "--format", "oci-dir", "-o", text(&saved), &id]).works();
        let index = fs::read_to_string(saved.join("index.json")).expect("an index");
        let index: Value = serde_json::from_str(&index).expect("JSON");
        let manifest = read(&place, &format!("{program}-saved"), &index["manifests"][0]);
        assert_eq!(manifest["layers"][0]["mediaType"], media::OCI_LAYER_GZIP);
        let archive = place.place.path(&format!("{program}.archive"));
        place
            .shell(&format!(
                "usnea save {id} | {program} >'{}'; usnea load -qi '{}'",
                text(&archive),
                text(&archive)
            ))
            .works();
    }
}

#[test]
fn a_layout_has_ocis_media_types_whatever_the_image_had() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["echo", "ran"]})).write(&place, "l");
    change(&place, "l", |manifest, _| {
        manifest["mediaType"] = json!(media::DOCKER_MANIFEST);
        manifest["config"]["mediaType"] = json!(media::DOCKER_CONFIG);
        manifest["layers"][0]["mediaType"] = json!(media::DOCKER_LAYER);
    });
    let id =
        place.usnea(&["pull", &format!("oci:{}", text(&place.place.path("l")))]).works().to_owned();
    place.usnea(&["tag", &id, "localhost/d:1"]).works();
    place
        .usnea(&[
            "save",
            "--format",
            "oci-dir",
            "-o",
            text(&place.place.path("saved")),
            "localhost/d:1",
        ])
        .works();
    place
        .usnea(&["push", "localhost/d:1", &format!("oci:{}:x", text(&place.place.path("pushed")))])
        .works();
    for layout in ["saved", "pushed"] {
        let index: Value =
            serde_json::from_str(&place.place.read(&format!("{layout}/index.json"))).expect("JSON");
        assert_eq!(index["manifests"][0]["mediaType"], media::OCI_MANIFEST);
        let manifest = read(&place, layout, &index["manifests"][0]);
        assert_eq!(manifest["mediaType"], media::OCI_MANIFEST);
        assert_eq!(manifest["config"]["mediaType"], media::OCI_CONFIG);
        assert_eq!(manifest["layers"][0]["mediaType"], media::OCI_LAYER);
    }
    if need("skopeo") {
        let saved = format!("oci:{}:localhost/d:1", text(&place.place.path("saved")));
        place.other("skopeo", &["inspect", "--config", &saved]).works();
    }
    let to = format!("oci:{}:y", text(&place.place.path("pushed")));
    place.usnea(&["push", "--format", "v2s2", "localhost/d:1", &to]).exits(125);
}

#[test]
fn limits_are_not_for_what_is_ones_own() {
    let place = Stocked::new();
    place.place.write("home/.config/usnea/usnea.toml", "[limits]\nlayer-entries = 200\n");
    let many: Vec<_> = (0..300).map(|at| file(&format!("f{at}"), "")).collect();
    let tar = place.place.write("many.tar", layer(&many));
    place.usnea(&["import", text(&tar), "many"]).works();
    place
        .shell(&format!(
            "usnea save many >'{0}'; usnea rmi many; usnea load -i '{0}'",
            text(&place.place.path("a"))
        ))
        .works();
    let other = [&many[..], &[file("g", "")]].concat();
    Composed::of(&[layer(&other)]).write(&place, "l");
    let pulled = place.usnea(&["pull", &format!("oci:{}", text(&place.place.path("l")))]);
    pulled.fails_with(125, &["more than 200 entries"]);
    // What a container wrote is its user's, too.
    Composed::of(&[small_root(&place)]).write(&place, "small");
    let small = place
        .usnea(&["pull", &format!("oci:{}", text(&place.place.path("small")))])
        .works()
        .to_owned();
    let script = "mkdir /d; i=0; while [ $i -lt 300 ]; do echo >/d/$i; i=$((i+1)); done";
    place.usnea(&["run", "--name", "made", &small, "sh", "-c", script]).works();
    place.usnea(&["commit", "made", "many:2"]).works();
    place.usnea(&["rm", "made"]).works();
}

#[test]
fn an_acl_is_no_right_of_the_group() {
    if !need_subids() {
        return;
    }
    let place = Stocked::new();
    if !need("setfacl") {
        return;
    }
    let script = "touch /f; setfacl -m u:12:rw /f";
    place
        .usnea(&["run", "--name", "made", "host:bash,setfacl,getfacl,touch", "bash", "-c", script])
        .works();
    place.usnea(&["commit", "-q", "made", "acl"]).works();
    place.usnea(&["rm", "made"]).works();
    let acl = place.usnea(&["run", "--rm", "acl", "getfacl", "-c", "/f"]);
    assert!(acl.works().contains("group::r--"), "{acl:?}");
    assert!(acl.works().contains("user:12:rw-"), "{acl:?}");
}

#[test]
fn an_image_with_a_user_runs_for_who_has_one_id() {
    if !need_no_subids() {
        return;
    }
    let place = Stocked::new();
    let config = json!({"Cmd": ["id", "-u"], "User": "1000:1000"});
    Composed::of(&[small_root(&place)]).config(config).write(&place, "l");
    let from = format!("oci:{}", text(&place.place.path("l")));
    assert_eq!(place.usnea(&["run", "--rm", &from]).works(), "1000");
    place.usnea(&["run", "--rm", "-u", "1000", &from]).exits(125);
}

#[test]
fn all_images_are_removed_at_once_and_a_policy_decides_what_is_pulled() {
    let place = Stocked::new();
    place.import("one:1", &[("a", "1")], &[]);
    place.usnea(&["tag", "one:1", "two:1"]).works();
    let other = place.import("three:1", &[("a", "3")], &[]);
    let id = other.trim_start_matches("sha256:");
    for policy in ["missing", "never"] {
        let pulled = place.usnea(&["pull", "-q", "--policy", policy, "localhost/three:1"]);
        assert_eq!(pulled.works(), id);
    }
    place.usnea(&["pull", "--policy", "never", "localhost/none:1"]).exits(125);
    let archive = place.place.path("both.tar");
    place.usnea(&["save", "-m", "-q", "-o", text(&archive), "one:1", "three:1"]).works();
    let saved = place.usnea(&["save", "--platform", "linux/s390x", "-o", text(&archive), "one:1"]);
    saved.fails_with(125, &["not for linux/s390x"]);
    place.usnea(&["rmi", "--all", "--no-prune"]).works();
    assert_eq!(place.usnea(&["images", "-aq"]).works(), "");
    place.usnea(&["rmi", "-a"]).works();
    place.usnea(&["rmi", "-a", "x"]).exits(125);
}

#[test]
fn the_case_of_keys_is_gos_business() {
    let place = Stocked::new();
    let image = Composed::of(&[small_root(&place)]);
    let image = image
        .config(json!({"cmd": ["sh", "-c", "echo $A $PWD"], "ENV": ["A=1"], "workingdir": "/tmp"}));
    image.write(&place, "l");
    change(&place, "l", |manifest, config| {
        for name in ["config", "rootfs", "os"] {
            let value = config[name].clone();
            remove(config, name);
            config[name.to_uppercase()] = value;
        }
        for (name, other) in [("schemaVersion", "SchemaVersion"), ("layers", "LAYERS")] {
            let value = manifest[name].clone();
            remove(manifest, name);
            manifest[other] = value;
        }
    });
    let path = "l/index.json";
    let index = place.place.read(path).replace("\"manifests\"", "\"Manifests\"");
    place.place.write(path, index.replace("\"mediaType\"", "\"MediaType\""));
    place.usnea(&["load", "-q", "-i", "l"]).works();
    let id = place.usnea(&["images", "-q"]).works().to_owned();
    assert_eq!(place.usnea(&["run", "--rm", &id]).works(), "1 /tmp");
    assert_eq!(place.field(&id, "{{.Config.WorkingDir}}"), "/tmp");
}

#[test]
fn an_artifact_manifest_of_its_own_kind_is_passed_over() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["true"]})).write(&place, "l");
    let kind = "application/vnd.oci.artifact.manifest.v1+json";
    let artifact = json!({"mediaType": kind, "artifactType": "text/spdx", "blobs": []}).to_string();
    let digest = Digest::of(artifact.as_bytes());
    place.place.write(&format!("l/blobs/sha256/{}", digest.hex()), &artifact);
    let mut index: Value = serde_json::from_str(&place.place.read("l/index.json")).expect("JSON");
    let entry = json!({"mediaType": kind, "digest": digest, "size": artifact.len()});
    let entries = index["manifests"].as_array_mut().expect("entries");
    entries.insert(0, entry);
    place.place.write("l/index.json", index.to_string());
    let ran = place.usnea(&["load", "-i", "l"]);
    ran.works();
    assert!(ran.stderr.contains("an artifact of type text/spdx, not an image"), "{ran:?}");
    assert_eq!(place.usnea(&["images", "-q"]).works().lines().count(), 1);
}
