//! `usnea save --format squashfs`: files that unsquashfs and GNU tar judge, against what `usnea image export` writes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;

use usnea::digest::Digest;
use usnea::image::squashfs::ImageTrailer;
use usnea::layer::squashfs::format::{END_ALIGNMENT, Superblock};

use crate::composed::{Composed, bytes, file, folder, layer, link, small_root};
use crate::stocked::Stocked;
use crate::support::{binary, finish, need, text};
use crate::terminal::Screen;

const SAVE: [&str; 5] = ["save", "--format", "squashfs", "-o", "x.sqsh"];

/// Bytes that zstd cannot shorten (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A place with `localhost/image`: three layers over the small root.
fn place() -> Stocked {
    let place = Stocked::new();
    let large = noise(2_800_000);
    let one = layer(&[
        folder("d"),
        file("d/a", "one\n"),
        file("d/b", "one\n"),
        file("d/c", "one\n").owner(12, 34).mode(0o4751),
        folder("gone").owner(5, 6).mode(0o1777),
        file("gone/x", "one\n"),
        folder("opaque"),
        file("opaque/below", "one\n"),
        folder("swap"),
        file("swap/x", "one\n"),
        bytes("large", &large),
        bytes("same", &large),
        link("link", "d/c"),
    ]);
    let two = layer(&[
        file("d/.wh.a", ""),
        file("d/b", "two, longer\n"),
        file(".wh.gone", ""),
        folder("opaque").mode(0o700),
        file("opaque/.wh..wh..opq", ""),
        file("opaque/own", "two\n"),
        file(".wh.swap", ""),
        file("swap", "two\n"),
    ]);
    let three = layer(&[
        file("d/.wh.b", ""),
        folder("gone"),
        file("gone/again", "three\n"),
        file("d/a", "three\n"),
    ]);
    Composed::of(&[small_root(&place), one, two, three]).write(&place, "layout");
    place.usnea(&["load", "-q", "-i", "layout"]).works();
    let id = place.usnea(&["images", "-q"]).works().to_owned();
    place.usnea(&["tag", &id, "localhost/image"]).works();
    place
}

/// Files of a listing by tar or unsquashfs: mode, owner, size, time and name. A further name of a file is told by name.
fn files(listing: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, size, day, time, name, ..] = words[..] else { return None };
        let name = name.trim_start_matches("squashfs-root").trim_matches('/');
        let target = words.iter().position(|word| *word == "->").map(|at| words[at + 1]);
        let size = if mode.starts_with('-') { size } else { "" };
        let whole = format!("{mode} {owner} {size} {day} {time} {name} {target:?}");
        // The root is not in a tar; a hard link is there without the file's facts.
        let is_told = !name.is_empty() && !mode.starts_with('h');
        is_told.then_some(whole)
    };
    listing.lines().filter_map(line).collect()
}

#[test]
fn a_squashfs_file_has_the_files_that_export_writes() {
    if !need("unsquashfs") {
        return;
    }
    let place = place();
    let ran = place.usnea(&[&SAVE[..], &["localhost/image"]].concat());
    assert_eq!(ran.works(), "");
    place.usnea(&["image", "export", "-o", "x.tar", "localhost/image"]).works();
    let ours = place.other("unsquashfs", &["-UTC", "-lln", "x.sqsh"]);
    let tar = place.other("tar", &["-tvf", "x.tar", "--utc", "--numeric-owner"]);
    let (ours, tar) = (files(ours.works()), files(tar.works()));
    let hard: usize = place.other("tar", &["-tvf", "x.tar"]).works().matches(" link to ").count();
    let theirs: BTreeSet<_> = tar.difference(&ours).collect();
    assert!(theirs.is_empty(), "{theirs:#?}");
    assert_eq!(ours.len(), tar.len() + hard);
    for name in ["d/a", "gone/again", "opaque/own", "swap"] {
        assert!(ours.iter().any(|line| line.contains(&format!(" {name} "))), "{name}: {ours:#?}");
    }
    for name in ["d/b", "gone/x", "opaque/below", "swap/x", "d/.wh.a"] {
        assert!(!ours.iter().any(|line| line.contains(&format!(" {name} "))), "{name}: {ours:#?}");
    }
    assert!(ours.iter().any(|line| line.contains("-rwsr-x--x 12/34 4 ")), "{ours:#?}");
    // The contents.
    place.other("unsquashfs", &["-n", "-d", "ours", "x.sqsh"]).works();
    place.other("tar", &["-xf", "x.tar", "--one-top-level=theirs", "--no-same-owner"]).works();
    place.other("diff", &["-r", "--no-dereference", "ours", "theirs"]).works();
    // Two equal files of 2.8 MB, once.
    let length = fs::metadata(place.place.path("x.sqsh")).expect("a file").len();
    let sum = fs::metadata(place.place.path("x.tar")).expect("a file").len();
    assert!(length + 2_700_000 < sum, "{length} of {sum}");
}

#[test]
fn the_same_image_gives_the_same_bytes_wherever_they_go() {
    let place = place();
    place.usnea(&[&SAVE[..], &["localhost/image"]].concat()).works();
    place
        .shell(
            "usnea save --format squashfs localhost/image > redirected
            usnea save --format squashfs localhost/image | cat > piped
            usnea save --format squashfs -o last localhost/image
            cmp x.sqsh redirected; cmp x.sqsh piped; cmp x.sqsh last",
        )
        .works();
    if need("taskset") {
        let binary = binary();
        let words = ["-c", "0", text(&binary), "save", "--format", "squashfs", "-o", "one"];
        let mut command = Command::new("taskset");
        place.at_home(command.args(words).arg("localhost/image"));
        finish(command.env("USNEA_ROOT", place.place.path("store")), "").works();
        place.other("cmp", &["x.sqsh", "one"]).works();
    }
    // No other file is left beside it.
    let names = fs::read_dir(place.place.path(".")).expect("a folder").flatten();
    let names = names.map(|entry| entry.file_name().into_string().expect("a name"));
    assert_eq!(names.filter(|name| name.contains("x.sqsh")).count(), 1);
}

#[test]
fn the_configuration_is_in_the_file_byte_for_byte() {
    let place = place();
    place.usnea(&[&SAVE[..], &["localhost/image"]].concat()).works();
    let file = File::open(place.place.path("x.sqsh")).expect("a file");
    let mut head = [0; Superblock::SIZE];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut head, 0).expect("a superblock");
    let end = Superblock::parse(&head).bytes_used.next_multiple_of(END_ALIGNMENT);
    let trailer = ImageTrailer::read(&file, end).expect("intact").expect("a trailer");
    let id = place.field("localhost/image", "{{.Id}}");
    assert_eq!(Digest::of(trailer.configuration.as_bytes()).to_string(), id);
    let digest = place.field("localhost/image", "{{.Digest}}");
    assert_eq!(Digest::of(trailer.manifest.as_bytes()).to_string(), digest);
    assert_eq!(trailer.names, ["localhost/image:latest"]);
}

#[test]
fn hard_links_and_attributes_are_kept() {
    if !need("unsquashfs") || !need("getfattr") {
        return;
    }
    let place = Stocked::new();
    place
        .shell(
            "mkdir -p root/a root/b; echo x > root/a/one; ln root/a/one root/b/two; ln root/a/one root/three
            echo y > root/other; setfattr -n user.note -v kept root/a/one root/other
            setfattr -n user.overlay.opaque -v y root/a
            tar --xattrs --xattrs-include='user.*' -cf root.tar -C root .
            usnea import root.tar tool:1 > /dev/null
            usnea save --format squashfs -o x.sqsh tool:1
            unsquashfs -n -d out x.sqsh > /dev/null
            [ $(stat -c %i out/a/one out/b/two out/three | sort -u | wc -l) = 1 ]
            [ $(stat -c %h out/three) = 3 ]
            cd out; getfattr -R -d -m - . > ../attributes",
        )
        .works();
    let attributes = place.place.read("attributes");
    assert_eq!(attributes.matches("user.note=\"kept\"").count(), 4, "{attributes}");
    assert_eq!(attributes.matches('=').count(), 4, "{attributes}");
}

#[test]
fn a_full_disk_leaves_no_file() {
    let place = Stocked::new();
    place.place.write("root/noise", noise(6_000_000));
    place.place.folder("small");
    let script = "tar -cf root.tar -C root .; $usnea import root.tar tool:1 > /dev/null
        mount -t tmpfs -o size=1m small small
        if $usnea save --format squashfs -o small/x.sqsh tool:1; then exit 9; fi
        [ -z \"$(ls -A small)\" ]
        if $usnea save --format squashfs tool:1 > /dev/full; then exit 10; fi
        umount small";
    let mut command = Command::new("unshare");
    place.at_home(command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]));
    command.env("usnea", binary()).env("USNEA_ROOT", place.place.path("inner"));
    let ran = finish(&mut command, "");
    assert_eq!(ran.status, 0, "{ran:?}");
    let place = "cannot save localhost/tool:1 to small/x.sqsh";
    for phrase in [place, "cannot write small/x.sqsh", "No space left"] {
        assert!(ran.stderr.contains(phrase), "{phrase}: {ran:?}");
    }
    ran.hints();
}

#[test]
fn what_a_squashfs_file_cannot_hold_is_refused() {
    let place = Stocked::new();
    place.import("one:1", &[("a", "1")], &[]);
    place.import("two:2", &[("b", "1")], &[]);
    place.usnea(&[&SAVE[..], &["one:1", "two:2"]].concat()).fails_with(125, &["a single image"]);
    place.usnea(&[&SAVE[..], &["three"]].concat()).fails_with(125, &["no image 'three'"]);
    assert!(!place.place.path("x.sqsh").exists());
    let missing = ["save", "--format", "squashfs", "-o", "no/x.sqsh", "one:1"];
    place.usnea(&missing).fails_with(125, &["cannot write no/x.sqsh"]);
    let words = ["save", "--format", "squashfs", "one:1"].map(str::to_owned);
    let screen = Screen::start_with(&place.place, &words, |command| place.at_home(command));
    let (status, shown) = screen.end();
    assert_eq!(status, 125, "{shown}");
    assert!(shown.contains("terminal") && shown.contains("hint: "), "{shown}");
}

#[test]
fn a_terminal_shows_progress_unless_it_is_not_wanted() {
    let place = Stocked::new();
    place.import("one:1", &[("a", "1")], &[]);
    for (quiet, is_shown) in [(&[][..], true), (&["-q"], false)] {
        let words = [&SAVE[..], quiet, &["one:1"]].concat();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let screen = Screen::start_with(&place.place, &words, |command| {
            place.at_home(command);
            command.env("TERM", "xterm");
        });
        let (status, shown) = screen.end();
        assert_eq!(status, 0, "{shown}");
        assert_eq!(shown.contains("Saved"), is_shown, "{shown}");
    }
}

#[test]
fn load_makes_an_image_of_one_layer_with_the_same_configuration() {
    let place = place();
    place.usnea(&[&SAVE[..], &["localhost/image"]].concat()).works();
    let ran = place.usnea_in("other", &["load", "-q", "-i", "x.sqsh"]);
    assert_eq!(ran.works(), "");
    let field = |template| {
        let words = ["image", "inspect", "-f", template, "localhost/image"];
        place.usnea_in("other", &words).works().to_owned()
    };
    for template in ["{{json .Config}}", "{{.Os}}/{{.Architecture}}"] {
        assert_eq!(field(template), place.field("localhost/image", template), "{template}");
    }
    assert_eq!(field("{{len .RootFS.Layers}}"), "1");
    // The same files, and from them the same file system.
    place.usnea_in("other", &["image", "export", "-o", "other.tar", "localhost/image"]).works();
    place.usnea(&["image", "export", "-o", "x.tar", "localhost/image"]).works();
    place.other("cmp", &["x.tar", "other.tar"]).works();
    // From a pipe, with compression around, and damaged.
    place
        .shell(
            "cat x.sqsh | USNEA_ROOT=$PWD/third usnea load -q
            gzip -k x.sqsh; USNEA_ROOT=$PWD/fourth usnea load -q -i x.sqsh.gz
            mkdir empty; mksquashfs empty foreign.sqsh -quiet -no-progress > /dev/null
            head -c 5000 x.sqsh > short.sqsh",
        )
        .works();
    for store in ["third", "fourth"] {
        place.usnea_in(store, &["image", "exists", "localhost/image"]).works();
    }
    for (file, phrases) in [
        ("foreign.sqsh", ["foreign.sqsh", "no image configuration"]),
        ("short.sqsh", ["short.sqsh", "squashfs"]),
    ] {
        place.usnea_in("other", &["load", "-i", file]).fails_with(125, &phrases);
    }
}
