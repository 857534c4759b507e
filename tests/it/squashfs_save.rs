//! `usnea save --format squashfs` of containers, root directories and archives.

use crate::composed::{Composed, bytes, file, layer, small_root};
use crate::stocked::Stocked;
use crate::support::need;

/// A place with the image `localhost/image`.
fn place() -> Stocked {
    let place = Stocked::new();
    let top = layer(&[file("kept", "image\n").owner(7, 8), file("gone", "image\n")]);
    let config = serde_json::json!({"Cmd": ["sh", "-c", "cat /kept"], "Labels": {"a": "b"}});
    Composed::of(&[small_root(&place), top]).config(config).write(&place, "layout");
    place.usnea(&["pull", "-q", "oci:layout"]).works();
    place.usnea(&["tag", "localhost/layout", "localhost/image"]).works();
    place
}

/// Configuration of an image that is loaded from the file, by a template.
fn loaded(place: &Stocked, name: &str, template: &str) -> String {
    let store = format!("of-{name}");
    let shown = place.usnea_in(&store, &["load", "-i", name]).works().to_owned();
    let id = shown.rsplit([' ', ':']).next().expect("an ID").to_owned();
    place.usnea_in(&store, &["image", "inspect", "-f", template, &id]).works().to_owned()
}

fn save(place: &Stocked, name: &str, output: &str) {
    let ran = place.usnea(&["save", "--format", "squashfs", "-o", output, name]);
    assert_eq!((ran.works(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn a_container_is_saved_with_its_changes_and_settings() {
    let place = place();
    let script = "echo changed > /kept; rm /gone; echo new > /new; mkdir /made";
    let run = ["run", "--name", "web", "-e", "A=1", "-w", "/folder", "localhost/image", "sh", "-c"];
    place.usnea(&[&run[..], &[script]].concat()).works();
    save(&place, "web", "stopped.sqsh");
    let config = loaded(&place, "stopped.sqsh", "{{json .Config}}");
    for text in ["\"A=1\"", "\"/folder\"", "echo changed", "\"a\":\"b\""] {
        assert!(config.contains(text), "{text}: {config}");
    }
    // The files are those of an export, but for the mount points of usnea.
    if need("unsquashfs") {
        let script = "usnea export web | tar -x --one-top-level=theirs --no-same-owner
            unsquashfs -n -d ours stopped.sqsh > /dev/null; diff -r --no-dereference -x hosts -x hostname -x resolv.conf ours theirs
            [ ! -e ours/gone ]; [ $(cat ours/kept) = changed ]";
        place.shell(script).works();
    }
    // An image of the same name comes first, and then the ID means the container.
    let id = place.usnea(&["inspect", "-f", "{{.Id}}", "web"]).works().to_owned();
    place.usnea(&["tag", "localhost/image", "localhost/web"]).works();
    save(&place, "web", "image.sqsh");
    save(&place, &id, "id.sqsh");
    place.shell("cmp id.sqsh stopped.sqsh; ! cmp -s image.sqsh stopped.sqsh").works();
    let platform = ["save", "--format", "squashfs", "--platform", "linux/arm64", &id];
    place.usnea(&platform).fails_with(125, &["no image", "linux/arm64"]);
    place.usnea(&["save", &id]).fails_with(125, &["no image"]);
    place.usnea(&["rm", &id]).works();
}

#[test]
fn a_container_that_runs_is_saved_as_it_is_at_one_moment() {
    let place = place();
    let script = "i=0; while :; do i=$((i + 1)); echo $i > /one; echo $i > /two; done";
    place.usnea(&["run", "-d", "--name", "busy", "localhost/image", "sh", "-c", script]).works();
    let script = "until usnea exec busy test -s /two; do sleep 0.1; done
        usnea save --format squashfs -o busy.sqsh busy
        usnea exec busy true; usnea rm -f busy > /dev/null";
    place.shell(script).works();
    if need("unsquashfs") {
        let script = "unsquashfs -n -d out busy.sqsh > /dev/null
            one=$(cat out/one) two=$(cat out/two)
            [ -z \"$one\" ] || [ -z \"$two\" ] || [ $((one - two)) -le 1 ]";
        place.shell(script).works();
    }
}

#[test]
fn a_root_directory_is_saved_with_the_defaults_of_a_container_of_it() {
    let place = place();
    place.shell("mkdir tree; echo x > tree/f; ln tree/f tree/g; chmod 640 tree/f").works();
    save(&place, "dir:tree", "one.sqsh");
    save(&place, "./tree", "two.sqsh");
    place
        .shell("cmp one.sqsh two.sqsh; usnea save --format squashfs dir:tree | cmp - one.sqsh")
        .works();
    let platform = loaded(&place, "one.sqsh", "{{.Os}} {{json .Config.Cmd}}");
    assert!(platform.starts_with("linux "), "{platform}");
    if need("unsquashfs") {
        let listed = place.other("unsquashfs", &["-lln", "one.sqsh"]);
        assert!(listed.works().contains("-rw-r----- 0/0"), "{listed:?}");
    }
    for (name, text) in [("dir:none", "No such file"), ("dir:tree/f", "no directory")] {
        let ran = place.usnea(&["save", "--format", "squashfs", "-o", "x.sqsh", name]);
        ran.fails_with(125, &["cannot save", text]);
    }
    assert!(!place.place.path("x.sqsh").exists());
}

#[test]
fn an_image_of_an_archive_is_saved_without_the_store() {
    let place = place();
    let large = layer(&[bytes("large", &[7; 300_000])]);
    Composed::of(&[large]).write(&place, "other");
    let ids = place.usnea(&["images", "-q"]).works().to_owned();
    save(&place, "oci:other", "one.sqsh");
    let script = "usnea pull -q --to two.sqsh oci:other > /dev/null; cmp one.sqsh two.sqsh
        usnea save -o image.tar localhost/image
        usnea save --format squashfs docker-archive:- < image.tar > three.sqsh
        usnea save --format squashfs -o four.sqsh docker-archive:image.tar; cmp three.sqsh four.sqsh";
    place.shell(script).works();
    assert_eq!(place.usnea(&["images", "-q"]).works(), ids);
}
