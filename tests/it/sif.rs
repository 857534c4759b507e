//! SIF files, made by siftool: loaded, run in place, and mounted.

use std::fs;

use crate::composed::{Composed, file, layer, small_root};
use crate::stocked::Stocked;
use crate::support::need;

/// A place with `image.sif`, whose root has the scripts of an image of apptainer. `None`: no siftool.
fn place() -> Option<Stocked> {
    if !need("siftool") {
        return None;
    }
    let place = Stocked::new();
    let script = "#!/bin/sh\necho \"run $GREETING $#\" \"$@\"\n";
    let scripts = layer(&[
        file(".singularity.d/env/10-docker2singularity.sh", "export FIRST=one\n"),
        file(".singularity.d/env/90-environment.sh", "export GREETING=\"hello $FIRST\"\n"),
        file(".singularity.d/runscript", script).mode(0o755),
    ]);
    Composed::of(&[small_root(&place), scripts]).write(&place, "layout");
    let script = "usnea pull -q --to root.sqsh oci:layout > /dev/null; echo '{\"org.x\": \"1\"}' > labels
        siftool new image.sif
        siftool add --datatype 3 --groupid 1 image.sif labels
        siftool add --datatype 4 --partfs 1 --parttype 2 --partarch $arch --groupid 1 image.sif root.sqsh";
    let arch = if cfg!(target_arch = "aarch64") { 4 } else { 2 };
    place.shell(&format!("arch={arch}\n{script}")).works();
    Some(place)
}

#[test]
fn the_runscript_runs_and_a_command_gets_the_environment_of_the_image() {
    let Some(place) = place() else { return };
    for name in ["sif:image.sif", "./image.sif", "sqsh:image.sif"] {
        let run = |words: &[&str]| place.usnea(&[&["run", "--rm"], words].concat());
        assert_eq!(run(&[name]).works(), "run hello one 0", "{name}");
        assert_eq!(run(&[name, "sh", "-c", "echo $GREETING"]).works(), "hello one");
        assert_eq!(run(&["--entrypoint", "", name, "sh", "-c", "echo .$FIRST"]).works(), ".");
    }
    place.usnea(&["run", "--name", "kept", "sif:image.sif"]).works();
    let label = ["inspect", "-f", "{{index .Config.Labels \"org.x\"}}", "kept"];
    assert_eq!(place.usnea(&label).works(), "1");
    place.usnea(&["rm", "kept"]).works();
}

#[test]
fn a_loaded_file_is_an_image_with_the_same_program() {
    let Some(place) = place() else { return };
    let shown = place.usnea(&["load", "-i", "image.sif"]).works().to_owned();
    let id = shown.rsplit([' ', ':']).next().expect("an ID");
    assert_eq!(place.usnea(&["run", "--rm", id]).works(), "run hello one 0");
    let label = ["image", "inspect", "-f", "{{index .Config.Labels \"org.x\"}}", id];
    assert_eq!(place.usnea(&label).works(), "1");
}

#[test]
fn the_root_is_mounted_at_its_offset() {
    let Some(place) = place() else { return };
    if !need("fusermount3") || !need("unshare") {
        return;
    }
    let script = "offset=$(siftool list image.sif | sed -n 's/.*|\\([0-9]*\\)-[0-9]* .*FS (Squashfs.*/\\1/p')
        export usnea='%usnea'; mkdir found given
        unshare --user --map-root-user --mount sh -euc \"
            \\$usnea mount squashfs image.sif found
            \\$usnea mount squashfs -o offset=$offset image.sif given
            diff -r --no-dereference found given; ls found/.singularity.d/env\"";
    let script = script.replace("%usnea", crate::support::text(&crate::support::binary()));
    assert!(place.shell(&script).works().contains("90-environment.sh"));
}

#[test]
fn signatures_are_told_and_the_policy_decides() {
    let Some(place) = place() else { return };
    let sign = "siftool add --datatype 5 --signhash 1 --signentity 433FE984155206BD962725E20E8713472A879943 \
        --groupid 1 --link 2 image.sif labels";
    place.shell(sign).works();
    let ran = place.usnea(&["run", "--rm", "sif:image.sif"]);
    assert_eq!(ran.works(), "run hello one 0");
    assert_eq!(ran.stderr.matches("signatures not verified").count(), 1, "{ran:?}");
    let folder = place.place.path(".").canonicalize().expect("a folder");
    let reject = format!(
        r#"{{"default":[{{"type":"insecureAcceptAnything"}}],
            "transports":{{"sif":{{"{}":[{{"type":"reject"}}]}}}}}}"#,
        folder.display()
    );
    let mut command = place.place.command(&["run", "--rm", "sif:image.sif"]);
    place.at_home(&mut command);
    place.place.write("home/.config/containers/policy.json", &reject);
    crate::support::finish(&mut command, "").fails_with(125, &["signature policy", "reject"]);
}

/// Writes the statement that apptainer signs, of the two objects of `image.sif`, to the file `statement`.
fn write_statement(place: &Stocked) {
    let bytes = fs::read(place.place.path("image.sif")).expect("the image");
    let number = |at: usize| {
        usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")))
            .expect("a length")
    };
    let table = number(96);
    let digest = |parts: &[&[u8]]| {
        let digest = usnea::digest::Digest::of(&parts.concat());
        digest.to_string()
    };
    let objects = (0..2_usize).map(|index| {
        let at = table + index * 585;
        let (offset, size) = (number(at + 17), number(at + 25));
        let relative = u32::try_from(index).expect("an ID").to_le_bytes();
        let ranges = [13..17, 25..33, 41..49, 57..585];
        let [link, length, time, rest] =
            ranges.map(|range| &bytes[at + range.start..at + range.end]);
        serde_json::json!({
            "relativeId": index,
            "descriptorDigest": digest(&[&bytes[at..at + 5], &relative, link, length, time, rest]),
            "objectDigest": digest(&[&bytes[offset..offset + size]]),
        })
    });
    let objects: Vec<_> = objects.collect();
    let header = digest(&[&bytes[..45], &bytes[48..64]]);
    let statement =
        serde_json::json!({"version": 1, "header": {"digest": header}, "objects": objects});
    place.place.write("statement", statement.to_string());
}

#[test]
fn a_file_that_a_key_of_the_policy_has_signed_runs_and_a_changed_one_does_not() {
    let Some(place) = place() else { return };
    if !need("gpg") {
        return;
    }
    write_statement(&place);
    let script = "export GNUPGHOME=$PWD/keys; mkdir -m 700 keys; trap 'gpgconf --kill all' EXIT
        gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key s@example.org ed25519 sign never
        key=$(gpg --with-colons --list-keys | sed -n 's/^fpr:*\\([0-9A-F]*\\):$/\\1/p' | head -n 1)
        gpg --batch --pinentry-mode loopback --passphrase '' --output signed --clear-sign statement
        gpg --armor --output key.asc --export $key
        cp image.sif unsigned.sif
        siftool add --datatype 5 --signhash 1 --signentity $key --groupid 0 --link 4026531841 image.sif signed
        cp image.sif changed.sif
        offset=$(siftool list image.sif | sed -n 's/.*|\\([0-9]*\\)-[0-9]* .*FS (Squashfs.*/\\1/p')
        printf x | dd of=changed.sif bs=1 conv=notrunc seek=$((offset + 5000)) status=none";
    place.shell(script).works();
    let folder = place.place.path(".").canonicalize().expect("a folder");
    let policy = serde_json::json!({
        "default": [{"type": "reject"}],
        "transports": {"sif": {folder.display().to_string(): [
            {"type": "signedBy", "keyType": "GPGKeys", "keyPath": folder.join("key.asc")},
        ]}},
    });
    let usnea = |words: &[&str]| {
        let mut command = place.place.command(words);
        place.at_home(&mut command);
        place.place.write("home/.config/containers/policy.json", policy.to_string());
        crate::support::finish(&mut command, "")
    };
    for words in [
        &["run", "--rm", "sif:image.sif"][..],
        &["run", "--rm", "./image.sif"],
        &["create", "--name", "kept", "sif:image.sif"],
        &["load", "-i", "image.sif"],
        &["save", "--format", "squashfs", "-o", "saved.sqsh", "sif:image.sif"],
    ] {
        let ran = usnea(words);
        ran.works();
        assert!(!ran.stderr.contains("not verified"), "{words:?}: {ran:?}");
    }
    usnea(&["rm", "kept"]).works();
    for (name, text) in [
        ("changed.sif", "data object 2 was changed after it was signed"),
        ("unsigned.sif", "no OpenPGP signature of the image"),
    ] {
        let prefixed = format!("sif:{name}");
        for words in
            [&["run", "--rm", &prefixed][..], &["create", &prefixed], &["load", "-i", name]]
        {
            let ran = usnea(words);
            ran.fails_with(125, &["signature policy", name, text]);
            ran.hints();
        }
    }
}

#[test]
fn what_cannot_be_run_is_named_with_a_way_out() {
    let Some(place) = place() else { return };
    let script = "siftool new ext3.sif
        siftool add --datatype 4 --partfs 2 --parttype 2 --partarch 2 --groupid 1 ext3.sif root.sqsh
        siftool new empty.sif; head -c 40000 image.sif > short.sif";
    place.shell(script).works();
    for (name, text) in [
        ("ext3.sif", "ext3"),
        ("empty.sif", "no primary system partition"),
        ("short.sif", "ends at byte"),
        ("missing.sif", "missing.sif"),
    ] {
        let ran = place.usnea(&["run", "--rm", &format!("sif:{name}")]);
        ran.fails_with(125, &[name, text]);
    }
    let ran = place.usnea(&["load", "-i", "ext3.sif"]);
    ran.fails_with(125, &["ext3.sif", "ext3"]);
    ran.hints();
    assert!(fs::metadata(place.place.path("image.sif")).is_ok());
}
