//! `usnea run` of images: what their configs say, what their layers make together, and when they are pulled.

use serde_json::json;

use crate::composed::{
    Composed, bytes, file, folder, layer, link, publish, small_root, write_index,
};
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{Ran, need, need_no_subids, need_subids};

const PLAIN: &str = "--tls-verify=false";

fn run(place: &Stocked, options: &[&str], image: &str, command: &[&str]) -> Ran {
    place.usnea(&[&["run", "--rm"], options, &[image], command].concat())
}

#[test]
fn entrypoint_and_cmd_are_what_runs() {
    let place = Stocked::new();
    let config = json!({"Entrypoint": ["/bin/echo", "from"], "Cmd": ["the", "image"]});
    Composed::of(&[small_root(&place)]).config(config).write(&place, "layout");
    let image = "oci:layout";
    assert_eq!(run(&place, &[], image, &[]).works(), "from the image");
    assert_eq!(run(&place, &[], image, &["me"]).works(), "from me");
    // Another entrypoint drops the image's CMD, as with docker.
    assert_eq!(run(&place, &["--entrypoint", "/bin/echo"], image, &[]).works(), "");
    assert_eq!(run(&place, &["--entrypoint", "/bin/echo"], image, &["x"]).works(), "x");
    Composed::of(&[small_root(&place)]).write(&place, "nothing");
    run(&place, &["-q"], "oci:nothing", &[]).fails_with(125, &["command"]);
    assert_eq!(run(&place, &[], "oci:nothing", &["echo", "x"]).works(), "x");
}

#[test]
fn env_and_workdir_are_the_images() {
    let place = Stocked::new();
    let config = json!({
        "Env": ["PATH=/bin", "A=of the image", "B=b=b"], "WorkingDir": "/not/there/yet",
    });
    Composed::of(&[small_root(&place)]).config(config).write(&place, "layout");
    let script = "echo $A,$B,$PATH,$PWD; pwd";
    let ran = run(&place, &[], "oci:layout", &["sh", "-c", script]);
    assert_eq!(ran.works(), "of the image,b=b,/bin,/not/there/yet\n/not/there/yet");
    let ran = run(&place, &["-e", "A=mine", "-w", "/tmp"], "oci:layout", &["sh", "-c", script]);
    assert_eq!(ran.works(), "mine,b=b,/bin,/tmp\n/tmp");
}

#[test]
fn the_images_user_runs_it() {
    let place = Stocked::new();
    // The account is in the second layer alone.
    let accounts = [
        file("etc/passwd", "root:x:0:0::/root:/bin/sh\nlichen:x:77:78::/tmp:/bin/sh\n"),
        file("etc/group", "root:x:0:\nlichen:x:78:\nmore:x:79:lichen\n"),
    ];
    let image = Composed::of(&[small_root(&place), layer(&accounts)]);
    let command = ["sh", "-c", "id -u; id -g"];
    for (number, user) in ["lichen", "lichen:more", "77", "nobody-there"].into_iter().enumerate() {
        image.clone().config(json!({"User": user})).write(&place, &format!("l{number}"));
    }
    run(&place, &["-q"], "oci:l3", &command).fails_with(125, &["nobody-there"]);
    assert_eq!(run(&place, &["-u", "0"], "oci:l3", &command).works(), "0\n0");
    if need_subids() {
        assert_eq!(run(&place, &[], "oci:l0", &command).works(), "77\n78");
        assert_eq!(run(&place, &[], "oci:l1", &command).works(), "77\n79");
        assert_eq!(run(&place, &[], "oci:l2", &command).works(), "77\n78");
    }
    if need_no_subids() {
        // That user is the one ID that there is.
        assert_eq!(run(&place, &[], "oci:l0", &command).works(), "77\n78");
        assert_eq!(run(&place, &[], "oci:l1", &command).works(), "77\n79");
        let ran = run(&place, &["-u", "77"], "oci:l0", &command);
        assert!(ran.status == 125 && ran.stderr.contains("77"), "{ran:?}");
    }
}

#[test]
fn users_are_those_of_the_merged_root() {
    let place = Stocked::new();
    let passwd = "root:x:0:0::/root:/bin/sh\nlichen:x:0:0::/tmp:/bin/sh\n";
    let below =
        [folder("etc"), file("etc/passwd", passwd), folder("usr"), file("usr/users", passwd)];
    let away = [file(".wh.etc", "")];
    let linked = [folder("etc"), link("etc/passwd", "../usr/users")];
    let layers = [small_root(&place), layer(&below), layer(&away), layer(&linked)];
    for (count, is_known) in [(2, true), (3, false), (4, true)] {
        let layout = format!("l{count}");
        Composed::of(&layers[..count]).write(&place, &layout);
        let ran = run(&place, &["-q", "-u", "lichen"], &format!("oci:{layout}"), &["echo", "x"]);
        match is_known {
            true => assert_eq!(ran.works(), "x", "{count}"),
            false => ran.fails_with(125, &["user lichen", "/etc/passwd"]),
        }
    }
}

#[test]
fn volumes_are_writable_in_a_root_that_is_not() {
    let place = Stocked::new();
    let entries = [folder("data"), file("data/given", "of the image\n"), folder("etc")];
    let config = json!({"Volumes": {"/data": {}, "/new/one": {}}});
    Composed::of(&[small_root(&place), layer(&entries)]).config(config).write(&place, "layout");
    let script = "cat /data/given; echo x > /data/x; echo y > /new/one/y; cat /data/x /new/one/y\n\
                  touch /root/z 2> /dev/null || echo read-only; echo > /data/given";
    for _ in 0..2 {
        let ran = run(&place, &["--read-only"], "oci:layout", &["sh", "-c", script]);
        assert_eq!(ran.works(), "of the image\nx\ny\nread-only");
    }
    // What is mounted there by hand is mounted.
    place.place.write("mine/given", "mine\n");
    let ran = run(&place, &["-v", "./mine:/data"], "oci:layout", &["cat", "/data/given"]);
    assert_eq!(ran.works(), "mine");
}

#[test]
fn whiteouts_and_opaque_folders_hide_what_is_below() {
    let place = Stocked::new();
    let below = [
        folder("d"),
        file("d/a", "1"),
        file("d/b", "1"),
        folder("o"),
        file("o/x", "1"),
        folder("o/sub"),
        file("o/sub/y", "1"),
        folder("gone"),
        file("gone/z", "1"),
        folder("swap"),
        file("swap/inside", "1"),
        file("plain", "1"),
    ];
    let middle = [
        folder("d"),
        file("d/.wh.a", ""),
        folder("o"),
        // Members of the same layer stay, whether they come before the mark or after it.
        file("o/before", "2"),
        file("o/.wh..wh..opq", ""),
        file("o/after", "2"),
        file(".wh.gone", ""),
        file("swap", "2"),
        folder("plain"),
        file("plain/inside", "2"),
    ];
    let above = [file("d/a", "3"), folder("gone"), file("gone/new", "3"), file("o/sub/y", "3")];
    let layers = [small_root(&place), layer(&below), layer(&middle), layer(&above)];
    let image = Composed::of(&layers);
    image.write(&place, "layout");
    let script =
        "cd /; find d o gone swap plain -type f | sort | while read f; do echo $f $(cat $f); done";
    let expected =
        "d/a 3\nd/b 1\ngone/new 3\no/after 2\no/before 2\no/sub/y 3\nplain/inside 2\nswap 2";
    assert_eq!(run(&place, &[], "oci:layout", &["sh", "-c", script]).works(), expected);
    // The lower layers are as they were for images that end there.
    Composed::of(&layers[..2]).write(&place, "lower");
    let script = "find d o gone swap plain -type f | wc -l";
    assert_eq!(run(&place, &["-w", "/"], "oci:lower", &["sh", "-c", script]).works(), "7");
    Composed::of(&layers[..3]).write(&place, "mid");
    let script = "ls -A d o; ls -d gone";
    let ran = run(&place, &["-w", "/"], "oci:mid", &["sh", "-c", script]);
    assert_eq!(ran.exits(1), "d:\nb\n\no:\nafter\nbefore");
}

/// 500 layers, or as many as the hard limit of open files allows: a pull holds two descriptors for each layer (docker's
/// images have at most 127).
#[test]
fn five_hundred_layers_run() {
    let place = Stocked::new();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let count = hard.map_or(500, |hard| hard.saturating_sub(100) / 2).min(500);
    assert!(count > 127, "a hard limit of {hard:?} open files is too low for this test");
    let mut layers = vec![small_root(&place)];
    for number in 1..count {
        let mut entries =
            vec![file(&format!("many/{number}"), "x"), file("last", &number.to_string())];
        if number > 1 && number % 10 == 0 {
            entries.push(file(&format!("many/.wh.{}", number - 1), ""));
        }
        layers.push(layer(&entries));
    }
    Composed::of(&layers).write(&place, "layout");
    let script = "ls /many | wc -l; cat /last; echo; echo new > /many/1; cat /many/1; rm -r /many";
    for _ in 0..2 {
        let ran = run(&place, &["-q"], "oci:layout", &["sh", "-c", script]);
        let last = count - 1;
        assert_eq!(ran.works(), format!("{}\n{last}\nnew", last - last / 10));
    }
    place.usnea(&["check"]).works();
}

/// Who has subordinate IDs sees every owner; who has none sees one.
#[test]
fn an_image_of_many_owners_runs_for_everybody() {
    let place = Stocked::new();
    let busybox = std::fs::read(place.place.small_root().join("bin/busybox")).expect("busybox");
    let mut entries = vec![
        bytes("sbin/raised", &busybox).owner(33, 34).mode(0o6755),
        folder("var/spool").owner(8, 12).mode(0o1777),
        file("closed", "secret\n").owner(1, 1).mode(0o600),
        folder("none").owner(2, 2).mode(0o000),
        file("none/inside", "inside\n").owner(65534, 65534).mode(0o000),
    ];
    entries.extend((0..200).map(|id| file(&format!("of/{id}"), "x").owner(id, 1000 - id)));
    Composed::of(&[small_root(&place), layer(&entries)]).write(&place, "layout");
    let everybody = "cat /closed /none/inside; ls /of | wc -l; stat -c %a /var/spool /closed; \
                     chmod 600 /closed; rm -r /of /none; /sbin/raised true";
    // busybox as `raised` knows no applet of that name: its first argument is what it runs.
    let everybody = everybody.replace("/sbin/raised true", "test -x /sbin/raised");
    let ran = run(&place, &[], "oci:layout", &["sh", "-c", &everybody]);
    assert_eq!(ran.works(), "secret\ninside\n200\n1777\n600");
    if need_subids() {
        let script = "stat -c '%u:%g %a' /sbin/raised /var/spool /closed /none /of/7 /none/inside";
        let ran = run(&place, &[], "oci:layout", &["sh", "-c", script]);
        let expected = "33:34 6755\n8:12 1777\n1:1 600\n2:2 0\n7:993 644\n65534:65534 0";
        assert_eq!(ran.works(), expected);
    }
    // Again, as it is in the store: modes and owners survive.
    let out =
        place.shell("usnea export oci-layout 2>/dev/null || usnea export localhost/layout > x.tar");
    assert_eq!(out.status, 0, "{out:?}");
    let listed = place.other("tar", &["--numeric-owner", "-tvf", "x.tar", "sbin/raised", "none"]);
    assert!(listed.works().contains("-rwsr-sr-x 33/34"), "{listed:?}");
    assert!(listed.works().contains("d--------- 2/2"), "{listed:?}");
}

fn version(place: &Stocked, there: &str, number: &str) {
    let layers = [small_root(place), layer(&[file("v", number)])];
    let layout = format!("v{number}");
    Composed::of(&layers).config(json!({"Cmd": ["cat", "/v"]})).write(place, &layout);
    publish(place, &layout, there);
}

#[test]
fn each_pull_policy_pulls_when_it_says() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let there = format!("{}/a/tool:1", registry.host);
    let with = |policy: &str| run(&place, &[PLAIN, "-q", "--pull", policy], &there, &[]);
    version(&place, &there, "1");
    with("never").fails_with(125, &["no image", &there]);
    with("never").hints();
    assert_eq!(with("missing").works(), "1");
    version(&place, &there, "2");
    assert_eq!(with("missing").works(), "1");
    assert_eq!(with("never").works(), "1");
    assert_eq!(run(&place, &[], &there, &[]).works(), "1");
    assert_eq!(with("newer").works(), "2");
    let asked = registry.log().matches("/manifests/").count();
    assert_eq!(with("newer").works(), "2");
    assert!(registry.log().matches("/manifests/").count() > asked);
    version(&place, &there, "3");
    assert_eq!(with("always").works(), "3");
    drop(registry);
    let ran = with("newer");
    assert_eq!(ran.works(), "3");
    assert!(ran.stderr.contains("the local image is used"), "{ran:?}");
    with("always").fails_with(125, &["cannot pull", &there]);
    assert_eq!(with("missing").works(), "3");
}

#[test]
fn flags_of_pulls_are_refused_where_nothing_is_pulled() {
    let place = Stocked::new();
    let root = place.place.image();
    for flags in [&["--pull", "always"][..], &["--platform", "linux/arm64"], &[PLAIN], &["-q"]] {
        for image in [root.as_str(), "host:true"] {
            run(&place, flags, image, &["true"]).fails_with(125, &[image, "nothing is pulled"]);
        }
    }
    run(&place, &["--pull", "sometimes"], "tool", &["true"]).exits(125);
}

#[test]
fn an_index_gives_each_machine_its_image() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let host = usnea::image::manifest::Platform::host().to_string();
    // Its programs are of this machine all the same, so that it runs.
    let all = ["linux/riscv64", host.as_str()].map(|platform| {
        let layers = [small_root(&place), layer(&[file("for", platform)])];
        Composed::of(&layers).config(json!({"Cmd": ["cat", "/for"]})).platform(platform)
    });
    let index = write_index(&place, "layout", &all);
    let there = format!("{}/a/tool:1", registry.host);
    publish(&place, "layout", &there);
    let by_digest = format!("{}/a/tool@{index}", registry.host);
    assert_eq!(run(&place, &[PLAIN], &there, &[]).works(), host);
    assert_eq!(run(&place, &["--pull", "never"], &by_digest, &[]).works(), host);
    let ran = run(&place, &[PLAIN, "--platform", "linux/riscv64"], &there, &[]);
    assert_eq!(ran.works(), "linux/riscv64");
    assert!(ran.stderr.contains("the image is for linux/riscv64"), "{ran:?}");
    assert_eq!(run(&place, &[PLAIN, "--platform", &host], &there, &[]).works(), host);
    let ran = run(&place, &[PLAIN, "--platform", "linux/s390x"], &there, &[]);
    ran.fails_with(125, &["linux/s390x", "linux/riscv64", &host]);
}

#[test]
fn a_digest_is_that_image_and_no_other() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let there = format!("{}/a/tool", registry.host);
    let image = Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["echo", "that one"]}));
    let digest = image.write(&place, "layout");
    publish(&place, "layout", &format!("{there}:1"));
    version(&place, &format!("{there}:1"), "2");
    for name in [format!("{there}@{digest}"), format!("{there}:1@{digest}")] {
        assert_eq!(run(&place, &[PLAIN], &name, &[]).works(), "that one", "{name}");
    }
    let other = format!("{there}@sha256:{}", "0".repeat(64));
    run(&place, &[PLAIN], &other, &[]).fails_with(125, &["cannot pull", &other]);
    run(&place, &[PLAIN], &format!("{there}@sha256:12"), &[]).fails_with(125, &["sha256"]);
}
