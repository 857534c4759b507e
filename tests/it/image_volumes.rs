//! Squashfs images as read-only volumes: `-v FILE:DIR:squashfs`, `--mount type=squashfs`, and config.json.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::support::{Place, finish, need, text};

/// Makes an image of two files, one of them a program, in `folder/t.sqsh`; returns its path.
pub fn image(place: &Place, folder: &str) -> PathBuf {
    let at = |name: &str| format!("{folder}/{name}");
    place.write(&at("src/text"), "hello\n");
    place.write(&at("src/sub/deep"), "deep\n");
    let program = place.write(&at("src/program"), "#!/bin/sh\necho ran\n");
    let mut make = Command::new("chmod");
    make.args(["4755", text(&program)]);
    finish(&mut make, "").works();
    let mut make = Command::new("mksquashfs");
    make.args(["src", "t.sqsh", "-quiet", "-no-progress", "-noappend"]);
    finish(make.current_dir(place.path(folder)), "").works();
    place.path(&at("t.sqsh"))
}

fn volume(image: &std::path::Path) -> String {
    format!("{}:/data:squashfs", text(image))
}

#[test]
fn an_image_is_a_read_only_volume() {
    if !need("mksquashfs") {
        return;
    }
    let place = Place::new();
    let image = image(&place, "image");
    let script = "cd /data; ls; cat text sub/deep; (echo x > new) 2> /dev/null || echo refused
        ./program; grep ' /data ' /proc/self/mounts | cut -d' ' -f3,4 | cut -d, -f1-3";
    let script =
        script.replace("| cut -d' ' -f3,4 | cut -d, -f1-3", "| awk '{ print substr($4, 1, 15) }'");
    let ran = place.run(&["-v", &volume(&image)], &script);
    assert_eq!(ran.works(), "program\nsub\ntext\nhello\ndeep\nrefused\nran\nro,nosuid,nodev");
    let ran = place.run(&["-v", &format!("{},noexec", volume(&image))], "/data/program || echo no");
    assert_eq!(ran.works(), "no");
    place.nothing_is_left();
}

#[test]
fn an_image_in_a_larger_file_is_mounted_from_its_offset_on() {
    if !need("mksquashfs") {
        return;
    }
    let place = Place::new();
    let image = fs::read(image(&place, "image")).expect("an image");
    let file = place.write("larger", [&[0; 4096][..], &image].concat());
    let mount = format!("type=squashfs,source={},target=/data,offset=4096", text(&file));
    assert_eq!(place.run(&["--mount", &mount], "cat /data/text").works(), "hello");
    let short = format!("{}:/data:squashfs,offset=4096", text(&file));
    assert_eq!(place.run(&["-v", &short], "cat /data/text").works(), "hello");
    let explained = place.usnea(&place.arguments(&["--explain", "--mount", &mount], &["true"]));
    let line = format!("usnea mount squashfs -o ro,nosuid,nodev,offset=4096 {} ", text(&file));
    assert!(explained.works().contains(&line), "{}", explained.stdout);
    let wrong = format!("type=squashfs,source={},target=/data", text(&file));
    place.run(&["--mount", &wrong], "true").fails_with(125, &["holds no squashfs image at byte 0"]);
    let none = format!("{}:/data:squashfs", text(&place.path("none")));
    place.run(&["-v", &none], "true").fails_with(125, &["none", "no such file"]);
    place.run(&["-v", "/etc:/data:squashfs"], "true").fails_with(125, &["no regular file"]);
    place.nothing_is_left();
}

#[test]
fn a_kept_container_shows_its_image_before_while_and_after_it_runs() {
    if !need("mksquashfs") {
        return;
    }
    let place = Place::new();
    let image = image(&place, "image");
    let root = place.image();
    let words = ["create", "--name", "one", "-v", &volume(&image), &root];
    place
        .usnea(
            &[&words[..], &["sh", "-c", "until test -e /tmp/go; do sleep 0.05; done; rm /tmp/go"]]
                .concat(),
        )
        .works();
    place.usnea(&["cp", "one:/data/text", "before"]).works();
    assert_eq!(place.read("before"), "hello\n");
    place.usnea(&["start", "one"]).works();
    assert_eq!(place.usnea(&["exec", "one", "cat", "/data/sub/deep"]).works(), "deep");
    place.usnea(&["cp", "one:/data/sub/deep", "while"]).works();
    assert_eq!(place.read("while"), "deep\n");
    let form = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}";
    let wanted = format!("squashfs {} /data false", text(&image));
    assert_eq!(place.usnea(&["inspect", "-f", form, "one"]).works(), wanted);
    let ran = place.run(&["--volumes-from", "one"], "cat /data/text");
    assert_eq!(ran.works(), "hello");
    place.usnea(&["exec", "one", "touch", "/tmp/go"]).works();
    assert_eq!(place.usnea(&["wait", "one"]).works(), "0");
    place.usnea(&["cp", "one:/data/text", "after"]).works();
    assert_eq!(place.read("after"), "hello\n");
    // The file of the next start is the one that is there then.
    place.write("image/src/text", "changed\n");
    let mut make = Command::new("mksquashfs");
    make.args(["src", "t.sqsh", "-quiet", "-no-progress", "-noappend"]);
    finish(make.current_dir(place.path("image")), "").works();
    place.usnea(&["start", "one"]).works();
    assert_eq!(place.usnea(&["exec", "one", "cat", "/data/text"]).works(), "changed");
    place.usnea(&["rm", "-f", "-t", "0", "one"]).works();
    place.nothing_is_left();
}

#[test]
fn the_spec_of_an_image_is_a_mount_that_the_oci_runtime_reads_back() {
    if !need("mksquashfs") {
        return;
    }
    let bundle = Bundle::new("cat /data/text; ls /proc | grep -c '^[0-9]'");
    let image = image(&bundle.place, "image");
    let place = &bundle.place;
    let words = ["spec", "-v", &format!("{},offset=0", volume(&image)), &place.image(), "true"];
    let spec: Value = serde_json::from_str(place.usnea(&words).works()).expect("JSON");
    let mounts = spec["mounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["destination"] == "/data").expect("the mount");
    let wanted = json!({
        "destination": "/data", "type": "squashfs", "source": text(&image),
        "options": ["ro", "nosuid", "nodev"],
    });
    assert_eq!(*mount, wanted);
    bundle.change(|config| {
        config["mounts"].as_array_mut().expect("mounts").push(wanted);
    });
    // The servers are not in the container's PID namespace: the shell, ls and grep are alone there.
    assert_eq!(bundle.oci(&["run", "one"]).works(), "hello\n3");
    bundle.change(|config| {
        let last = config["mounts"].as_array_mut().expect("mounts").last_mut().expect("a mount");
        last["options"] = json!(["ro", "bogus"]);
    });
    bundle.oci(&["run", "one"]).fails_with(1, &["an image has no option 'bogus'"]);
    place.nothing_is_left();
}
