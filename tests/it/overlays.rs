//! `--overlay`: folders and squashfs files of the user above an image.

use crate::composed::{Composed, file, folder, layer, small_root};
use crate::stocked::Stocked;
use crate::support::{has_kernel_overlay, need, text};

/// A place with `localhost/image` in its store, the same image in `x.sqsh`, and the folder `o`.
fn place() -> Stocked {
    let place = Stocked::new();
    let more = layer(&[
        folder("d"),
        file("d/one", "one\n"),
        file("d/two", "two\n").mode(0o640),
        folder("d/deep"),
        file("d/deep/file", "three\n"),
    ]);
    Composed::of(&[small_root(&place), more]).write(&place, "layout");
    place.usnea(&["load", "-q", "-i", "layout"]).works();
    let id = place.usnea(&["images", "-q"]).works().to_owned();
    place.usnea(&["tag", &id, "localhost/image"]).works();
    place.usnea(&["save", "--format", "squashfs", "-o", "x.sqsh", "localhost/image"]).works();
    place.place.folder("o");
    place
}

/// Drivers that leave the image below the overlay.
fn drivers() -> Vec<&'static str> {
    crate::support::drivers().into_iter().filter(|driver| *driver != "copy").collect()
}

const CHANGE: &str =
    "cd /d; echo new > new; rm two; echo on >> one; rm -r deep; mkdir deep; echo x > deep/x";
const LOOK: &str =
    "cd /d; cat new one deep/x; ls /d /d/deep | tr '\\n' ' '; stat -c %a:%u:%g . new";

#[test]
fn a_folder_keeps_changes_between_runs_of_any_image() {
    let place = place();
    let expected = "new\none\non\nx\n/d: deep new one  /d/deep: x 755:0:0\n644:0:0";
    for first in drivers() {
        let overlay = format!("o-{first}");
        place.place.folder(&overlay);
        let run = |driver: &str, image: &str, script: &str| {
            let words = ["run", "--rm", "--storage-driver", driver, "--overlay", &overlay];
            place.usnea(&[&words[..], &[image, "sh", "-c", script]].concat()).works().to_owned()
        };
        run(first, "localhost/image", CHANGE);
        for driver in drivers() {
            for image in ["localhost/image", "sqsh:x.sqsh"] {
                let seen = run(driver, image, LOOK);
                assert_eq!(seen, expected, "{first} {driver} {image}");
            }
        }
        // Each command sees at once what the one before has written.
        for number in 0..5 {
            run(first, "sqsh:x.sqsh", &format!("echo {number} >> /d/numbers"));
        }
        assert_eq!(run(first, "localhost/image", "cat /d/numbers | tr -d '\\n'"), "01234");
        assert!(place.place.path(&format!("{overlay}/upper/d/new")).is_file());
    }
    place.usnea(&["run", "--rm", "localhost/image", "cat", "/d/two"]).works();
    place.place.nothing_is_left();
}

#[test]
fn folders_and_files_that_are_only_read_are_stacked_in_their_order() {
    if !need("mksquashfs") {
        return;
    }
    let place = place();
    place.shell(
        "usnea run --rm --overlay o localhost/image sh -c 'echo first > /d/one; rm /d/two'
        mkdir -p s/d p/upper/d; echo second > s/d/one; echo second > s/d/three; mksquashfs s s.sqsh -quiet -no-progress
        echo plain > p/upper/d/four; mkdir w",
    )
    .works();
    let script = "cat /d/one; ls /d | tr '\\n' ' '";
    for driver in crate::support::drivers() {
        let run = |words: &[&str]| {
            let start = ["run", "--rm", "--storage-driver", driver];
            let ran = place.usnea(&[&start[..], words, &["sh", "-c", script]].concat());
            ran.works().to_owned()
        };
        for image in ["localhost/image", "./x.sqsh"] {
            let seen = run(&["--overlay", "o:ro", "--overlay", "s.sqsh", image]);
            assert_eq!(seen, "second\ndeep one three", "{driver} {image}");
            let seen =
                run(&["--overlay", "s.sqsh:ro", "--overlay", "o:ro", "--overlay", "p:ro", image]);
            assert_eq!(seen, "first\ndeep four one three", "{driver} {image}");
        }
        if driver != "copy" {
            let seen = run(&["--overlay", "w", "--overlay", "s.sqsh", "./x.sqsh"]);
            assert_eq!(seen, "second\ndeep one three two", "{driver}");
        }
    }
    // Nothing was written to what is only read.
    place.shell("test \"$(cat o/upper/d/one)\" = first; test ! -e p/work; usnea run --rm --overlay o:ro localhost/image sh -c 'echo lost > /d/one'; test \"$(cat o/upper/d/one)\" = first").works();
    place.place.nothing_is_left();
}

#[test]
fn a_folder_is_written_by_one_container_at_a_time() {
    let place = place();
    place
        .shell("usnea run -d --name web --overlay o ./x.sqsh sleep 1000 > /dev/null; mkdir other")
        .works();
    let said = ["--overlay", "another container uses ", "/o"];
    for words in [&["run", "--rm"][..], &["run", "-d"]] {
        let ran = place.usnea(&[words, &["--overlay", "o", "localhost/image", "true"]].concat());
        ran.fails_with(125, &said);
        ran.hints();
    }
    let reading = ["run", "--rm", "--overlay", "o:ro", "localhost/image", "true"];
    place.usnea(&reading).fails_with(125, &["--overlay o:ro", "another container writes to "]);
    // The same image, whose server is shared, with another folder; and creation alone.
    place.usnea(&["run", "--rm", "--overlay", "other", "./x.sqsh", "true"]).works();
    place.usnea(&["create", "--name", "late", "--overlay", "o", "./x.sqsh", "true"]).works();
    place.usnea(&["start", "-a", "late"]).fails_with(125, &said[2..]);
    place.usnea(&["restart", "-t", "0", "web"]).works();
    // The lock ends with its holders, also where others of the image live on.
    place
        .shell(
            "usnea run -d --name second --overlay other ./x.sqsh sleep 1000 > /dev/null
            usnea rm -f -t 0 web > /dev/null; usnea start -a late; usnea start -a late
            usnea run --rm --overlay o ./x.sqsh true
            pid=$(usnea inspect -f '{{.State.ConmonPid}}' second); kill -9 $pid
            until usnea run --rm --overlay other ./x.sqsh true 2> error; do
                grep -q 'another container uses' error; tries=${tries-}x; test ${#tries} -lt 30; done
            usnea rm -f second late > /dev/null; test -d o/upper -a -d o/work -a -d other/upper",
        )
        .works();
    let readers = "usnea run -d --name r1 --overlay o:ro ./x.sqsh sleep 1000 > /dev/null
        usnea run --rm --overlay o:ro ./x.sqsh true; usnea rm -f -t 0 r1";
    place.shell(readers).works();
}

#[test]
fn a_kept_container_has_its_overlays_in_all_commands() {
    if !need("mksquashfs") {
        return;
    }
    let place = place();
    place
        .shell("mkdir -p s/d; echo low > s/d/low; mksquashfs s s.sqsh -quiet -no-progress")
        .works();
    for driver in drivers() {
        for image in ["localhost/image", "./x.sqsh"] {
            let script = format!(
                "w=$(mktemp -d -p .); here=$(pwd -P)
                usnea create --name web --storage-driver {driver} --overlay s.sqsh --overlay $w {image} sh -c 'echo new > /d/new; rm /d/two' > /dev/null
                mkdir -p elsewhere; cd elsewhere
                usnea start -a web; usnea start -a web 2>&1 | grep -q two
                usnea diff web | grep -v hosts | tr '\\n' ' '; echo
                usnea inspect -f '{{{{.GraphDriver.Data.UpperDir}}}}' web | grep -qx \"$here/${{w#./}}/upper\"
                usnea cp web:/d/low -  | tar -xO; echo put > put; usnea cp put web:/d/put
                test \"$(cat ../$w/upper/d/put)\" = put
                usnea commit -q web localhost/made > /dev/null
                usnea container clone web other > /dev/null; usnea rm -f other > /dev/null
                usnea rm web > /dev/null; test -f ../$w/upper/d/new
                usnea run --rm localhost/made sh -c 'cat /d/new /d/low /d/one; test ! -e /d/two'"
            );
            let shown = place.shell(&script).works().to_owned();
            let lines: Vec<&str> = shown.lines().map(str::trim).collect();
            let expected = ["C /d A /d/new D /d/two", "low", "new", "low", "one"];
            assert_eq!(&lines[1..], &expected[1..], "{driver} {image}");
            for word in ["A /d/new", "C /d", "D /d/two"] {
                assert!(lines[0].contains(word), "{driver} {image}: {shown}");
            }
        }
    }
    place.place.nothing_is_left();
}

#[test]
fn a_user_who_was_added_in_the_overlay_is_known() {
    let place = place();
    place
        .shell("usnea run --rm --overlay o localhost/image sh -c 'echo added:x:0:0::/:/bin/sh >> /etc/passwd'")
        .works();
    for overlay in ["o", "o:ro"] {
        let run = ["run", "--rm", "-u", "added", "--overlay", overlay, "./x.sqsh", "id", "-u"];
        assert_eq!(place.usnea(&run).works(), "0");
    }
}

#[test]
fn what_is_no_overlay_is_refused_with_a_way_out() {
    let place = place();
    place.shell("mkdir empty two; echo text > file; cp x.sqsh y.sqsh; truncate -s 4M ext3").works();
    if need("mke2fs") {
        place.other("mke2fs", &["-q", "-t", "ext3", "ext3"]).works();
        let ran = place.usnea(&["run", "--rm", "--overlay", "ext3", "./x.sqsh", "true"]);
        ran.fails_with(125, &["--overlay ext3: an ext3 image"]);
        ran.hints();
    }
    for (flags, said) in [
        (&["missing"][..], "No such file"),
        (&["file"], "no squashfs"),
        (&["x.sqsh:rw"], "a file is only read"),
        (&["empty:ro"], "no folder 'upper'"),
        (&["o", "two"], "writes to"),
        (&["o:ro", "o"], "given twice"),
    ] {
        let overlays: Vec<&str> = flags.iter().flat_map(|flag| ["--overlay", flag]).collect();
        let ran = place.usnea(&[&["run", "--rm"], &overlays[..], &["./x.sqsh", "true"]].concat());
        ran.fails_with(125, &["--overlay", said]);
    }
    let words = ["run", "--rm", "--rw-root", "--overlay", "o", "dir:empty", "true"];
    place.usnea(&words).fails_with(125, &["--rw-root and --overlay exclude each other"]);
    let words = ["run", "--rm", "--storage-driver", "copy", "--overlay", "o", "./x.sqsh", "true"];
    let ran = place.usnea(&words);
    ran.fails_with(125, &["--overlay", "the image would be copied into it"]);
    ran.hints();
    assert!(std::fs::read_dir(place.place.path("o/upper")).expect("a folder").next().is_none());
}

#[test]
fn the_explanation_mounts_the_overlay_and_makes_nothing() {
    let place = place();
    let driver = if has_kernel_overlay() { "overlay" } else { "fuse" };
    let words =
        ["run", "--explain", "--storage-driver", driver, "--overlay", "o", "./x.sqsh", "true"];
    let shown = place.usnea(&words).works().to_owned();
    let folder = place.place.path("o").canonicalize().expect("a folder");
    assert!(
        shown.contains(&format!("upperdir={0}/upper,workdir={0}/work", text(&folder))),
        "{shown}"
    );
    assert!(!shown.contains("volatile") && !shown.contains("/o/image-"), "{shown}");
    assert!(std::fs::read_dir(folder).expect("a folder").next().is_none());
}

#[test]
fn an_overlay_partition_of_a_sif_file_is_above_its_root() {
    if !need("siftool") || !need("mksquashfs") {
        return;
    }
    let place = place();
    let arch = if cfg!(target_arch = "aarch64") { 4 } else { 2 };
    let script = format!(
        "mkdir -p s/d; echo partition > s/d/one; mksquashfs s s.sqsh -quiet -no-progress
        siftool new i.sif
        siftool add --datatype 4 --partfs 1 --parttype 2 --partarch {arch} --groupid 1 i.sif x.sqsh
        siftool add --datatype 4 --partfs 1 --parttype 4 --partarch {arch} --groupid 1 i.sif s.sqsh
        usnea run --rm sif:i.sif cat /d/one /d/two
        usnea run --rm --overlay o sif:i.sif sh -c 'echo more >> /d/one'
        usnea run --rm --overlay o sif:i.sif cat /d/one
        usnea run --name web sif:i.sif true; usnea commit -q web localhost/made > /dev/null; usnea rm web > /dev/null
        usnea run --rm localhost/made cat /d/one"
    );
    let seen = place.shell(&script);
    assert_eq!(seen.works(), "partition\ntwo\npartition\nmore\npartition");
    let ran = place.usnea(&["load", "-q", "-i", "i.sif"]);
    ran.works();
    assert!(ran.stderr.contains("overlay partition"), "{ran:?}");
}
