//! OCI-SIF files with several layers (SingularityCE 4): each is a squashfs of its own, with whiteouts as of overlayfs.

use std::fs;

use serde_json::{Value, json};
use usnea::digest::Digest;

use crate::composed::{bytes, device, file, folder, layer, pax, small_root};
use crate::stocked::Stocked;
use crate::support::need;

const INDEX: i32 = 0x400a;
const BLOB: i32 = 0x400b;
/// Bytes of a descriptor.
const DESCRIPTOR: usize = 585;
/// Offset of the descriptors.
const TABLE: usize = 4096;

/// Data object of a file.
struct Object {
    kind: i32,
    bytes: Vec<u8>,
}

/// Writes a SIF file of these objects, each with its digest.
fn sif(objects: &[Object]) -> Vec<u8> {
    let data = (TABLE + objects.len() * DESCRIPTOR).next_multiple_of(4096);
    let mut all = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0".to_vec();
    all.resize(64, 7);
    for number in [0, 0, 0, objects.len(), TABLE, objects.len() * DESCRIPTOR, data, 0] {
        all.extend_from_slice(&(number as i64).to_le_bytes());
    }
    all.resize(data, 0);
    for (at, object) in objects.iter().enumerate() {
        all.resize(all.len().next_multiple_of(4096), 0);
        let mut descriptor = object.kind.to_le_bytes().to_vec();
        descriptor.push(1);
        for number in [at as u32 + 1, 0xf000_0001, 0] {
            descriptor.extend_from_slice(&number.to_le_bytes());
        }
        let length = object.bytes.len();
        for number in [all.len(), length, length, 0, 0, 0, 0] {
            descriptor.extend_from_slice(&(number as i64).to_le_bytes());
        }
        descriptor.resize(DESCRIPTOR - 384, 0);
        descriptor.extend_from_slice(Digest::of(&object.bytes).to_string().as_bytes());
        descriptor.resize(DESCRIPTOR, 0);
        let place = TABLE + at * DESCRIPTOR;
        all[place..place + DESCRIPTOR].copy_from_slice(&descriptor);
        all.extend_from_slice(&object.bytes);
    }
    all
}

/// Squashfs of a layer's tarball, as SingularityCE makes it: by sqfstar, with whiteouts of overlayfs in the tarball.
fn squashfs(place: &Stocked, name: &str, tar: &[u8]) -> Vec<u8> {
    fs::write(place.place.path(&format!("{name}.tar")), tar).expect("a file");
    let script = "sqfstar $name.sqsh -comp gzip -quiet -no-progress < $name.tar";
    place.shell(&format!("name={name}\n{script}")).works();
    fs::read(place.place.path(&format!("{name}.sqsh"))).expect("a squashfs")
}

/// A place with `layers.sif`, of three layers. `None`: no sqfstar.
fn place() -> Option<Stocked> {
    if !need("sqfstar") {
        return None;
    }
    let place = Stocked::new();
    let low = layer(&[
        file("gone", "low\n"),
        file("changed", "low\n"),
        folder("hidden"),
        file("hidden/low", "low\n"),
        folder("merged"),
        file("merged/low", "low\n"),
        file("merged/gone", "low\n"),
    ]);
    let high = layer(&[
        device("gone"),
        file("changed", "high\n").owner(7, 8).mode(0o640),
        pax("SCHILY.xattr.trusted.overlay.opaque=y"),
        folder("hidden"),
        file("hidden/high", "high\n"),
        folder("merged"),
        bytes("merged/high", &[b'x'; 200_000]),
        device("merged/gone"),
    ]);
    let base = squashfs(&place, "base", &small_root(&place));
    let layers = [base, squashfs(&place, "low", &low), squashfs(&place, "high", &high)];
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let steps: Vec<Value> = ["base", "low", "high"].map(|step| json!({"created_by": step})).into();
    let config = json!({
        "os": "linux", "architecture": architecture,
        "config": {"Cmd": ["cat", "/changed"], "Env": ["A=b"], "Labels": {"org.x": "1"}},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| Digest::of(layer).to_string()).collect::<Vec<_>>()},
        "history": steps,
    });
    let config = config.to_string().into_bytes();
    let media = "application/vnd.sylabs.image.layer.v1.squashfs";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|layer| descriptor(media, layer)).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let documents = [(BLOB, config), (BLOB, manifest), (INDEX, index)];
    let objects = layers.into_iter().map(|layer| (BLOB, layer)).chain(documents);
    let objects: Vec<_> = objects.map(|(kind, bytes)| Object { kind, bytes }).collect();
    fs::write(place.place.path("layers.sif"), sif(&objects)).expect("a file");
    Some(place)
}

/// Lists the files of the layers, with their content, inside a container.
const LIST: &str = "ls /hidden /merged; cat /changed; stat -c '%a %u %g' /changed; [ ! -e /gone ]";
const FILES: &str = "/hidden:\nhigh\n\n/merged:\nhigh\nlow\nhigh\n640 7 8";

#[test]
fn each_layer_hides_and_removes_files_of_those_below() {
    let Some(place) = place() else { return };
    for driver in ["overlay", "fuse", "copy"] {
        let run = ["run", "--rm", "--storage-driver", driver, "sif:layers.sif"];
        let ran = place.usnea(&[&run[..], &["sh", "-c", LIST]].concat());
        // Without subordinate IDs only root's own files have their owner.
        let shown = ran.works().replace("640 0 0", "640 7 8").replace("640 65534 65534", "640 7 8");
        assert_eq!(shown, FILES, "{driver}");
    }
    assert_eq!(place.usnea(&["run", "--rm", "./layers.sif"]).works(), "high");
    // A container that stays: changes are over the layers, and a later start has them.
    let script = "echo new > /merged/low; rm /merged/high; echo back > /gone";
    place.usnea(&["run", "--name", "kept", "sif:layers.sif", "sh", "-c", script]).works();
    let diff = place.usnea(&["diff", "kept"]).works().to_owned();
    let mut lines: Vec<&str> = diff.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A /gone", "C /merged", "C /merged/low", "D /merged/high"], "{diff}");
    place.usnea(&["commit", "-q", "kept", "localhost/kept"]).works();
    let show = ["run", "--rm", "localhost/kept", "sh", "-c", "cat /gone /merged/low /hidden/high"];
    assert_eq!(place.usnea(&show).works(), "back\nnew\nhigh");
    place.usnea(&["rm", "kept"]).works();
}

#[test]
fn a_file_of_layers_is_loaded_and_saved() {
    let Some(place) = place() else { return };
    let shown = place.usnea(&["load", "-i", "layers.sif"]).works().to_owned();
    let id = shown.rsplit([' ', ':']).next().expect("an ID");
    let field =
        |template: &str| place.usnea(&["image", "inspect", "-f", template, id]).works().to_owned();
    assert_eq!(field("{{len .RootFS.Layers}} {{.Config.Env}}"), "3 [A=b]");
    let history = place.usnea(&["history", "--format", "{{.CreatedBy}}", id]).works().to_owned();
    assert_eq!(history.lines().collect::<Vec<_>>(), ["high", "low", "base"]);
    let list = |image: &str| {
        let ran = place.usnea(&["run", "--rm", image, "sh", "-c", LIST]);
        ran.works().replace("640 0 0", "640 7 8").replace("640 65534 65534", "640 7 8")
    };
    assert_eq!(list(id), FILES);
    // As one layer.
    let save = ["save", "--format", "squashfs", "-o", "one.sqsh", "sif:layers.sif"];
    place.usnea(&save).works();
    assert_eq!(list("./one.sqsh"), FILES);
    place.usnea(&["export", "-o", "files.tar", "sif:layers.sif"]).works();
    let listed = place.other("tar", &["-tf", "files.tar"]).works().to_owned();
    let has = |name: &str| listed.lines().any(|line| line.trim_start_matches("./") == name);
    assert!(has("hidden/high") && has("merged/low"), "{listed}");
    assert!(!has("hidden/low") && !has("gone") && !listed.contains(".wh."), "{listed}");
    // As an archive with its layers.
    place.usnea(&["save", "--format", "oci-archive", "-o", "oci.tar", "sif:layers.sif"]).works();
    let loaded = place.usnea_in("other", &["load", "-q", "-i", "oci.tar"]);
    loaded.works();
    let ids = place.usnea_in("other", &["images", "-q", "--no-trunc"]).works().to_owned();
    assert!(ids.ends_with(&field("{{.Id}}").replace("sha256:", "")), "{ids}");
    // A mount has a single root.
    fs::create_dir(place.place.path("mounted")).expect("a folder");
    let ran = place.usnea(&["mount", "squashfs", "layers.sif", "mounted"]);
    ran.fails_with(125, &["3 layers"]);
    ran.hints();
}
