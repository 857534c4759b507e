//! Tests with files of a small writer, around images of mksquashfs; and with files that contradict themselves.

mod signatures;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::fs::Mode;

use super::format::{DESCRIPTOR, EXTRA, HEADER};
use super::*;
use crate::digest::Digest;

const DEFINITION: i32 = 0x4001;
const LABELS: i32 = 0x4003;
const PARTITION: i32 = 0x4004;
const SIGNATURE: i32 = 0x4005;
const INDEX: i32 = 0x400a;
const BLOB: i32 = 0x400b;

/// Data object to write.
#[derive(Clone)]
struct NewObject {
    kind: i32,
    group: u32,
    link: u32,
    extra: Vec<u8>,
    bytes: Vec<u8>,
}

impl NewObject {
    fn new(kind: i32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, group: 0xf000_0001, link: 0, extra: Vec::new(), bytes: bytes.into() }
    }

    fn partition(filesystem: i32, purpose: i32, bytes: &[u8]) -> Self {
        let extra = [&filesystem.to_le_bytes()[..], &purpose.to_le_bytes(), b"04\0"].concat();
        Self { extra, ..Self::new(PARTITION, bytes) }
    }

    fn blob(kind: i32, bytes: &[u8]) -> Self {
        Self { extra: Digest::of(bytes).to_string().into_bytes(), ..Self::new(kind, bytes) }
    }
}

/// Writes a file as siftool does: descriptors at 4096, and one of them unused.
fn sif(objects: &[NewObject]) -> Vec<u8> {
    const TABLE: usize = 4096;
    let count = objects.len() + 1;
    let data = (TABLE + count * DESCRIPTOR).next_multiple_of(4096);
    let mut bytes = b"#!/usr/bin/env run-singularity\n\0".to_vec();
    bytes.extend_from_slice(b"SIF_MAGIC\x0001\x0002\0");
    bytes.resize(64, 7);
    for number in [0, 0, 1, count, TABLE, count * DESCRIPTOR, data, 0] {
        bytes.extend_from_slice(&(number as i64).to_le_bytes());
    }
    assert_eq!(bytes.len(), HEADER);
    bytes.resize(data, 0);
    for (at, object) in objects.iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        let mut descriptor = object.kind.to_le_bytes().to_vec();
        descriptor.push(1);
        for number in [at as u32 + 1, object.group, object.link] {
            descriptor.extend_from_slice(&number.to_le_bytes());
        }
        for number in [bytes.len(), object.bytes.len(), object.bytes.len(), 0, 0, 0, 0] {
            descriptor.extend_from_slice(&(number as i64).to_le_bytes());
        }
        descriptor.resize(DESCRIPTOR - EXTRA, b'n');
        descriptor.extend_from_slice(&object.extra);
        descriptor.resize(DESCRIPTOR, 0);
        let place = TABLE + at * DESCRIPTOR;
        bytes[place..place + DESCRIPTOR].copy_from_slice(&descriptor);
        bytes.extend_from_slice(&object.bytes);
    }
    bytes
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn opened(objects: &[NewObject]) -> Result<SifImage> {
    SifImage::open(&file(&sif(objects)))
}

fn message(objects: &[NewObject]) -> String {
    opened(objects).unwrap_err().to_string()
}

/// Image of a root with these executable files.
fn squashfs(files: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("root");
    fs::create_dir(&top).unwrap();
    for name in files {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o755)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o111, 0o111);
    }
    let image = folder.path().join("image");
    let mut command = Command::new("mksquashfs");
    let made = command.arg(&top).arg(&image).args(["-quiet", "-no-progress", "-comp", "zstd"]);
    let made = made.output().expect("mksquashfs is needed (squashfs-tools)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::read(image).unwrap()
}

fn config(image: &SifImage) -> Value {
    serde_json::from_str(&image.configuration).unwrap()
}

const ALL: [&str; 3] =
    ["bin/sh", ".singularity.d/runscript", ".singularity.d/env/90-environment.sh"];

#[test]
fn the_primary_partition_and_the_texts_are_found() {
    let root = squashfs(&ALL);
    let objects = [
        NewObject::new(DEFINITION, "Bootstrap: docker\n"),
        NewObject::partition(1, 1, &squashfs(&["other"])),
        NewObject::new(LABELS, r#"{"org.x":"1","number":7}"#),
        NewObject::partition(1, 2, &root),
    ];
    let bytes = sif(&objects);
    assert!(is_sif(&file(&bytes)) && !is_sif(&file(&root)) && !is_sif(&file(b"")));
    let image = SifImage::open(&file(&bytes)).unwrap();
    let [part] = image.layers[..] else { panic!("{:?}", image.layers) };
    assert_eq!(part.size, root.len() as u64);
    let start = part.offset as usize;
    assert!(bytes[start..start + root.len()] == root);
    assert_eq!(image.architecture.as_deref(), Some("arm64"));
    assert_eq!(image.labels, BTreeMap::from([("org.x".to_owned(), "1".to_owned())]));
    assert_eq!(image.definition.as_deref(), Some("Bootstrap: docker\n"));
    assert!(!image.is_signed());
    assert_eq!(config(&image)["architecture"], "arm64");
    assert_eq!(config(&image)["config"]["Labels"]["org.x"], "1");
}

#[test]
fn scripts_of_the_root_are_entrypoint_and_command() {
    for (files, entrypoint, command) in [
        (&ALL[..], 4, Some("/.singularity.d/runscript")),
        (&["usr/bin/sh", ".singularity.d/runscript"], 0, Some("/.singularity.d/runscript")),
        (&["bin/sh", ".singularity.d/env/a.sh"], 4, Some("/bin/sh")),
        (&["bin/true", ".singularity.d/runscript"], 0, None),
    ] {
        let image = opened(&[NewObject::partition(1, 2, &squashfs(files))]).unwrap();
        let config = &config(&image)["config"];
        assert_eq!(config["Entrypoint"].as_array().unwrap().len(), entrypoint, "{files:?}");
        assert_eq!(config["Cmd"].get(0).and_then(Value::as_str), command, "{files:?}");
    }
}

/// Runs the entrypoint as a shell would: the files of a folder in place of those of the root.
#[test]
fn the_entrypoint_sources_the_environment_and_executes_the_command() {
    let image = opened(&[NewObject::partition(1, 2, &squashfs(&ALL))]).unwrap();
    let words = config(&image)["config"]["Entrypoint"].clone();
    let words: Vec<String> = serde_json::from_value(words).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("10-a.sh"), "export A=1 file=x\n").unwrap();
    fs::write(folder.path().join("90-b.sh"), "export B=\"$A 2\"\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let words = words.iter().map(|word| word.replace("/.singularity.d/env", path));
    let words: Vec<String> = words.collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["printenv", "B"]);
    assert_eq!(command.output().unwrap().stdout, b"1 2\n");
}

/// OCI-SIF with one layer for each of `layers`.
fn oci_sif(layers: &[Vec<u8>], media_type: &str) -> Vec<NewObject> {
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let configuration = json!({"os": "linux", "architecture": "riscv64", "config": {"Cmd": ["x"]}});
    let configuration = configuration.to_string().into_bytes();
    let listed: Vec<Value> = layers.iter().map(|layer| descriptor(media_type, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2, "layers": listed,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &configuration),
    });
    let manifest = manifest.to_string().into_bytes();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let layers = layers.iter().map(|layer| NewObject::blob(BLOB, layer));
    let documents = [
        NewObject::blob(BLOB, &configuration),
        NewObject::blob(BLOB, &manifest),
        NewObject::blob(INDEX, &index),
    ];
    layers.chain(documents).collect()
}

const LAYER: &str = "application/vnd.sylabs.image.layer.v1.squashfs";

#[test]
fn an_oci_sif_has_the_layers_and_the_configuration_of_its_image() {
    let layers = [squashfs(&["low"]), squashfs(&["high", "higher"])];
    let objects = oci_sif(&layers, LAYER);
    let image = opened(&objects).unwrap();
    assert_eq!(image.architecture.as_deref(), Some("riscv64"));
    assert_eq!(image.configuration.as_bytes(), objects[2].bytes);
    let sizes: Vec<u64> = image.layers.iter().map(|part| part.size).collect();
    assert_eq!(sizes, [layers[1].len() as u64, layers[0].len() as u64]);

    assert!(message(&oci_sif(&layers, "x.tar")).contains("of type x.tar, not squashfs"));
    let mut changed = objects.clone();
    changed[2].bytes[10] ^= 1;
    assert!(message(&changed).contains("is damaged"));
    let missing = [&objects[..2], &objects[3..]].concat();
    assert!(message(&missing).contains("is missing"));
    let twice = [&objects[..], &objects[4..]].concat();
    assert!(message(&twice).contains("2 OCI indexes"));
}

#[test]
fn a_root_that_cannot_be_read_is_named() {
    let root = squashfs(&["x"]);
    for (objects, text) in [
        (vec![], "no primary system partition"),
        (vec![NewObject::partition(1, 3, &root)], "no primary system partition"),
        (vec![NewObject::partition(1, 2, &root); 2], "several primary"),
        (vec![NewObject::partition(2, 2, &root)], "ext3"),
        (vec![NewObject::partition(5, 2, &root)], "encrypted"),
        (vec![NewObject::partition(6, 2, &root)], "encrypted"),
        (vec![NewObject::partition(4, 2, &root)], "of type 4"),
        (vec![NewObject::partition(1, 2, &[0; 5000])], "squashfs"),
        (vec![NewObject::partition(1, 2, &root[..100]), NewObject::new(7, root.clone())], "longer"),
    ] {
        assert!(message(&objects).contains(text), "{text}: {}", message(&objects));
    }
    let encrypted = opened(&[NewObject::partition(5, 2, &root)]).unwrap_err();
    assert!(encrypted.hint_text().unwrap().contains("apptainer build"));
}

#[test]
fn a_signed_file_is_refused_where_the_policy_rejects_it() {
    let root = squashfs(&["x"]);
    let objects = [NewObject::partition(1, 2, &root), NewObject::new(SIGNATURE, "sig")];
    let image = opened(&objects).unwrap();
    assert!(image.is_signed());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.sif");
    fs::write(&path, sif(&objects)).unwrap();
    let policy = |text: &str| {
        let path = folder.path().join("policy.json");
        fs::write(&path, text).unwrap();
        SignaturePolicy::load_from(&path).unwrap()
    };
    let reject = r#"{"default":[{"type":"reject"}]}"#;
    let open = File::open(&path).unwrap();
    let approve = |policy| image.approve(&policy, &open, &path, SifUse::RootAndOverlays);
    assert!(approve(policy(reject)).unwrap_err().to_string().contains("reject"));
    let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
    approve(policy(&format!(r#"{{"default":{accept}}}"#))).unwrap();
    // A rule for the folder counts before the default.
    let folder = folder.path().canonicalize().unwrap();
    let scoped = format!(
        r#"{{"default":[{{"type":"reject"}}],"transports":{{"sif":{{"{}":{accept}}}}}}}"#,
        folder.display()
    );
    approve(policy(&scoped)).unwrap();
}

/// Opens the bytes; what is found lies in the file.
fn check(bytes: &[u8]) -> Result<()> {
    let image = SifImage::open(&file(bytes))?;
    assert!(!image.layers.is_empty());
    for part in image.layers {
        assert!(part.offset.checked_add(part.size).unwrap() <= bytes.len() as u64);
    }
    Ok(())
}

#[test]
fn a_truncated_file_is_refused() {
    let whole = sif(&[NewObject::new(LABELS, "{}"), NewObject::partition(1, 2, &squashfs(&ALL))]);
    for size in (0..HEADER).chain((HEADER..whole.len()).step_by(53)).chain([whole.len() - 1]) {
        assert!(check(&whole[..size]).is_err(), "{size} of {}", whole.len());
    }
    check(&whole).unwrap();
}

#[test]
fn a_flipped_byte_is_an_error_at_most() {
    let plain = sif(&[
        NewObject::new(LABELS, r#"{"a":"b"}"#),
        NewObject::partition(1, 2, &squashfs(&ALL)),
        NewObject::new(SIGNATURE, "sig"),
    ]);
    let oci = sif(&oci_sif(&[squashfs(&["x"])], LAYER));
    for whole in [plain, oci] {
        let table = 4096..4096 + 5 * DESCRIPTOR;
        let documents = (0..whole.len()).skip(table.end).step_by(101);
        // Names, which nothing reads, are most of a descriptor.
        let is_read = |at: &usize| !(73..201).contains(&((at - 4096) % DESCRIPTOR));
        let table = table.filter(is_read).filter(|at| (at - 4096) % DESCRIPTOR < 300);
        for at in (0..HEADER).chain(table).chain(documents) {
            for change in [0xff, 0x81] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let _ = check(&bytes);
            }
        }
    }
}

#[test]
fn squashfs_in_overlay_partitions_is_above_the_root_and_ext3_is_not() {
    let (root, low, top) = (squashfs(&["a"]), squashfs(&["bb"]), squashfs(&["ccc"]));
    let objects = [
        NewObject::partition(1, 4, &low),
        NewObject::partition(1, 2, &root),
        NewObject::partition(2, 4, b"ext3"),
        NewObject::partition(1, 4, &top),
    ];
    let image = opened(&objects).unwrap();
    assert_eq!(image.layers.len(), 1);
    let offsets: Vec<u64> = image.overlays.iter().map(|part| part.offset).collect();
    assert_eq!(offsets.len(), 2);
    assert!(offsets[0] > image.layers[0].offset && offsets[1] < image.layers[0].offset);
    let damaged = [NewObject::partition(1, 2, &root), NewObject::partition(1, 4, b"hsqs")];
    assert!(message(&damaged).contains("an overlay partition"));
}
