//! What a container takes over from other containers and from its image: `--volumes-from`, `--image-volume`, `--requires`,
//! `--rmi`.

use std::time::Duration;

use serde_json::json;

use crate::composed::{Composed, file, folder, layer, small_root};
use crate::stocked::Stocked;
use crate::support::{Place, text, within};

fn field(place: &Place, container: &str, template: &str) -> String {
    place.usnea(&["inspect", "--format", template, container]).works().to_owned()
}

/// A place with an image `oci:layout:` that has the volume /data.
fn with_volume() -> Stocked {
    let shop = Stocked::new();
    let entries = [folder("data"), file("data/of-image", "here")];
    let config = json!({"Volumes": {"/data": {}}, "Cmd": ["sh"]});
    Composed::of(&[small_root(&shop), layer(&entries)]).config(config).write(&shop, "layout");
    shop.usnea(&["load", "-i", "layout"]).works();
    shop.usnea(&["tag", &only_image(&shop), "localhost/stored"]).works();
    shop
}

fn only_image(shop: &Stocked) -> String {
    let listed = shop.usnea(&["images", "-q", "--no-trunc"]).works().to_owned();
    listed.lines().next().expect("an image").to_owned()
}

#[test]
fn volumes_from_mounts_what_another_container_has() {
    let place = Place::new();
    let shared = place.folder("shared");
    place.write("shared/file", "of the host");
    let bind = format!("{}:/bound:ro", text(&shared));
    let flags = ["--name", "data", "-v", "named:/named", "-v", "/own", "-v", &bind];
    let flags = [&flags[..], &["--tmpfs", "/memory"]].concat();
    place
        .run_kept(&flags, "echo one > /named/file; echo two > /own/file; echo no > /memory/x")
        .works();

    let look = "cat /named/file /own/file /bound/file; ls -d /memory 2>/dev/null; touch /bound/new && echo wrote";
    let seen = "one\ntwo\nof the host";
    for kept in [&["--rm"][..], &[]] {
        let ran = place.run_kept(&[kept, &["--volumes-from", "data"]].concat(), look);
        assert_eq!(ran.exits(1), seen, "{}", ran.stderr);
    }
    // A suffix says how all of them are mounted.
    let ran = place.run(&["--volumes-from", "data:ro"], "echo x > /named/file");
    assert_ne!(ran.status, 0);
    let ran = place.run(&["--volumes-from", "data:rw"], "echo x > /bound/new && cat /bound/new");
    assert_eq!(ran.works(), "x");
    // What is asked for at the same place comes first; of two containers the last.
    place.run_kept(&["--name", "more", "-v", "other:/named"], "echo other > /named/file").works();
    let both = ["--volumes-from", "data", "--volumes-from", "more"];
    assert_eq!(place.run(&both, "cat /named/file /own/file").works(), "other\ntwo");
    let own = [&both[..], &["--tmpfs", "/named"]].concat();
    assert_eq!(place.run(&own, "ls /named; cat /own/file").works(), "two");
    place.run_kept(&["--name", "third", "--volumes-from", "more:ro"], "true").works();
    assert_eq!(field(&place, "third", "{{json .HostConfig.VolumesFrom}}"), r#"["more:ro"]"#);
    // The volumes live as long as a container has them.
    place.usnea(&["rm", "-v", "more"]).works();
    place.usnea(&["volume", "inspect", "other"]).works();
    place.run(&["--volumes-from", "nobody"], "true").fails_with(125, &["--volumes-from nobody"]);
    place.run(&["--volumes-from", "data:no"], "true").fails_with(125, &["'no' is not ro, rw"]);
    place.usnea(&["rm", "--all", "--force", "--volumes"]).works();
    place.nothing_is_left();
}

#[test]
fn a_volume_in_the_memory_of_a_container_cannot_be_shared() {
    let place = Place::new();
    let words = place.kept(&["run", "--rm", "-v", "/own"], "sleep 60");
    let mut running = place.command(&words).spawn().expect("usnea");
    let listed = || place.usnea(&["ps", "-q"]).works().to_owned();
    assert!(within(Duration::from_secs(20), || !listed().is_empty()));
    let ran = place.run(&["--volumes-from", &listed()], "true");
    ran.fails_with(125, &["/own", "memory"]);
    ran.hints();
    place.usnea(&["stop", "-t", "0", &listed()]).works();
    running.wait().expect("its end");
    place.nothing_is_left();
}

#[test]
fn volumes_of_an_image_are_what_image_volume_says() {
    let shop = with_volume();
    let look = "ls /data; grep -c ' /data ' /proc/mounts";
    for (mode, seen) in [
        ("anonymous", "of-image\n1"),
        ("bind", "of-image\n1"),
        ("tmpfs", "1"),
        ("ignore", "of-image\n0"),
    ] {
        for kept in [&["--rm"][..], &["--rm", "--name", "kept"]] {
            let flags = ["--image-volume", mode, "localhost/stored", "sh", "-c", look];
            let ran = shop.usnea(&[&["run"], kept, &flags].concat());
            assert_eq!(ran.stdout.trim(), seen, "{mode}: {}", ran.stderr);
        }
    }
    shop.place.nothing_is_left();
}

#[test]
fn rmi_removes_the_image_with_the_last_container() {
    let shop = with_volume();
    let image = only_image(&shop);
    let count = || shop.usnea(&["images", "-q", "--no-trunc"]).works().lines().count();
    shop.usnea(&["create", "--name", "user", &image]).works();
    assert_eq!(shop.usnea(&["run", "--rmi", &image, "echo", "ran"]).works(), "ran");
    assert_eq!(count(), 1, "another container uses it");
    shop.usnea(&["rm", "user"]).works();
    assert_eq!(shop.usnea(&["run", "--rmi", "localhost/stored", "echo", "ran"]).works(), "ran");
    assert_eq!(count(), 0);
    assert_eq!(shop.usnea(&["ps", "-aq"]).works(), "");
}

#[test]
fn required_containers_are_started_first() {
    let place = Place::new();
    let create = |words: &[&str]| {
        place
            .usnea(
                &place.kept(&[&["create"], words].concat(), "trap 'exit 0' TERM; sleep 60 & wait"),
            )
            .works()
            .to_owned()
    };
    let first = create(&["--name", "first"]);
    create(&["--name", "second", "--requires", "first"]);
    create(&["--name", "other"]);
    let status = |name: &str| field(&place, name, "{{.State.Status}}");
    place.run_kept(&["-d", "--name", "last", "--requires", "second,other"], "sleep 60").works();
    for name in ["first", "second", "other", "last"] {
        assert_eq!(status(name), "running", "{name}");
    }
    assert_eq!(field(&place, "second", "{{json .Dependencies}}"), format!("[\"{first}\"]"));
    place.usnea(&["stop", "-t", "0", "second", "first"]).works();
    place.usnea(&["start", "second"]).works();
    assert_eq!(status("first"), "running");
    place.run_kept(&["--requires", "nobody"], "true").fails_with(125, &["--requires nobody"]);
    place.usnea(&["rm", "-f", "-t", "0", "first", "second"]).works();
    create(&["--name", "gone"]);
    create(&["--name", "waits", "--requires", "gone"]);
    let refusal = "container gone has dependent containers which must be removed before it: waits";
    let refused = place.usnea(&["rm", "gone"]);
    refused.fails_with(1, &[refusal]);
    refused.hints();
    place.usnea(&["container", "prune", "--force", "--filter", "label!=x"]).works();
    create(&["--name", "gone"]);
    create(&["--name", "waits", "--requires", "gone"]);
    place.usnea(&["rm", "--force", "gone"]).works();
    place.usnea(&["start", "waits"]).fails_with(1, &["waits: --requires", "was removed"]);
    place.usnea(&["rm", "-a", "-f", "-t", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn a_clone_has_the_configuration_and_an_empty_layer() {
    let place = Place::new();
    let flags = ["--name", "web", "-e", "A=1", "-v", "data:/data", "--label", "l=1"];
    place.run_kept(&flags, "echo $A $HOSTNAME; hostname; ls /new; echo x > /new; echo y >> /data/y; wc -l < /data/y").works();
    let clone = |words: &[&str]| place.usnea(&[&["container", "clone"], words].concat());
    let id = clone(&["web"]).works().to_owned();
    assert_eq!(field(&place, "web-clone", "{{.ID}} {{.State.Status}}"), format!("{id} created"));
    assert_eq!(field(&place, "web-clone", "{{index .Config.Labels \"l\"}}"), "1");
    let ran = place.usnea(&["start", "-a", "web-clone"]);
    let short = &id[..12];
    assert_eq!(ran.works(), format!("1 {short}\n{short}\n2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/new"), "the layer is empty: {}", ran.stderr);

    clone(&["web"]).works();
    assert_eq!(field(&place, "web-clone1", "{{.Name}}").trim_start_matches('/'), "web-clone1");
    clone(&["web", "web-clone"]).fails_with(125, &["the name web-clone is in use"]);
    clone(&["--name", "moved", "--destroy", "--run", "web"]).works();
    assert_eq!(place.usnea(&["wait", "moved"]).works(), "0");
    place.usnea(&["container", "exists", "web"]).exits(1);
    place.run_kept(&["-d", "--name", "runs"], "sleep 60").works();
    clone(&["--destroy", "runs"]).fails_with(125, &["container runs is running"]);
    clone(&["--destroy", "--force", "runs", "other"]).works();
    place.usnea(&["container", "exists", "runs"]).exits(1);
    place.usnea(&["rm", "--all", "--force", "--volumes"]).works();
    place.usnea(&["volume", "rm", "-f", "data"]).works();
    place.nothing_is_left();
}

#[test]
fn a_clone_has_the_image_of_the_original() {
    let shop = with_volume();
    shop.usnea(&["create", "--name", "one", "localhost/stored", "cat", "/data/of-image"]).works();
    shop.usnea(&["container", "clone", "--destroy", "one", "two"]).works();
    shop.usnea(&["rmi", "localhost/stored"]).fails_with(125, &["in use"]);
    assert_eq!(shop.usnea(&["start", "-a", "two"]).works(), "here");
    shop.usnea(&["rm", "-v", "two"]).works();
}
