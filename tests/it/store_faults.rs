//! A store in trouble: a full disk, a lost list of images, a read-only file system, another place than before.

use std::fs;

use crate::stocked::Stocked;
use crate::support::text;

impl Stocked {
    /// Runs a script as root of a user namespace with a small tmpfs on `$M`.
    fn on_small_disk(&self, size: &str, script: &str) -> crate::support::Ran {
        let mount = self.place.folder("small");
        let whole = format!(
            "set -eu; M='{}'; mount -t tmpfs -o size={size} none \"$M\"; export USNEA_ROOT=\"$M/store\"\n\
             usnea() {{ '{}' \"$@\"; }}\n{script}",
            text(&mount),
            text(&crate::support::binary())
        );
        self.other("unshare", &["--user", "--map-root-user", "--mount", "sh", "-c", &whole])
    }
}

#[test]
fn images_can_be_removed_when_the_disk_is_full() {
    for removal in ["rmi localhost/one:1", "image prune -af", "system prune -af"] {
        let place = Stocked::new();
        let tar = place.tarball("one", &[("v", "x"), ("w", &"y".repeat(300_000))]);
        let script = format!(
            "usnea import -q '{tar}' one:1; usnea import -q '{tar}' two:1
             cat /dev/zero > $M/fill 2>/dev/null || true
             before=$(df --output=used $M | tail -1)
             usnea {removal} > out
             after=$(df --output=used $M | tail -1)
             [ $after -lt $before ] || echo nothing was freed
             usnea images -q | wc -l; [ -s $USNEA_ROOT/images.json.copy ] && echo copied; usnea check && echo whole",
            tar = text(&tar)
        );
        let left = if removal.starts_with("rmi") { 1 } else { 0 };
        let ran = place.on_small_disk("12m", &script);
        assert_eq!(ran.works(), format!("{left}\ncopied\nwhole"), "{removal}: {ran:?}");
    }
}

/// The store is from before there was a copy, whose room can be given up.
#[test]
fn images_can_be_removed_from_a_full_disk_without_a_copy() {
    let place = Stocked::new();
    let tar = place.tarball("one", &[("w", &"y".repeat(300_000))]);
    let script = format!(
        "usnea import -q '{}' one:1; rm $USNEA_ROOT/images.json.copy
         cat /dev/zero > $M/fill 2>/dev/null || true
         usnea rmi one:1 > out; usnea images -q | wc -l; usnea check && echo whole",
        text(&tar)
    );
    assert_eq!(place.on_small_disk("12m", &script).works(), "0\nwhole");
}

#[test]
fn a_lost_list_of_images_is_a_fault_and_comes_back_with_names() {
    let place = Stocked::new();
    place.import("one:1", &[("v", "x")], &[]);
    place.import("two:1", &[("v", "y")], &[]);
    place.usnea(&["tag", "one:1", "q.io/three"]).works();
    let list = place.place.path("store/images.json");
    let before = place.usnea(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    for damage in ["", "{\"version\": 1, \"images\": [{\"man"] {
        match damage {
            "" => fs::remove_file(&list).expect("the list"),
            text => drop(place.place.write("store/images.json", text)),
        }
        for words in [&["image", "prune", "-af"][..], &["images"], &["rmi", "one:1"]] {
            let ran = place.usnea(words);
            ran.fails_with(125, &["images.json"]);
            assert!(ran.stderr.contains("usnea check --repair"), "{ran:?}");
        }
        assert!(place.usnea(&["check"]).exits(1).contains("images.json"));
        place.usnea(&["check", "--repair"]).works();
        let after = place.usnea(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        assert_eq!(before.works(), after.works(), "after {damage:?}");
    }
    // Without a copy there are no names, and the images are there all the same.
    fs::remove_file(&list).expect("the list");
    fs::remove_file(place.place.path("store/images.json.copy")).expect("the copy");
    assert!(place.usnea(&["check"]).exits(1).contains("images.json"));
    place.usnea(&["check", "--repair"]).works();
    assert_eq!(place.usnea(&["images", "-q"]).works().lines().count(), 2);
    place.usnea(&["check"]).works();
}

#[test]
fn a_store_that_cannot_be_written_is_checked_and_measured() {
    let place = Stocked::new();
    let tar = place.tarball("one", &[("v", "x")]);
    let script = format!(
        "usnea import -q '{}' one:1; rm $USNEA_ROOT/images.lock
         mount -o remount,bind,ro $M; usnea check && echo whole
         usnea system df --format '{{{{.Type}}}} {{{{.TotalCount}}}}' | grep Images
         usnea images -q | wc -l; usnea check --repair 2> error || true; grep -q Read-only error && echo refused",
        text(&tar)
    );
    let ran = place.on_small_disk("12m", &script);
    assert_eq!(ran.works(), "whole\nImages 1\n1\nrefused", "{ran:?}");
}

#[test]
fn containers_are_what_they_were_in_a_store_that_was_moved() {
    let place = Stocked::new();
    let root = place.place.small_root();
    let tar = place.place.path("root.tar");
    place.other("tar", &["-C", text(&root), "-cf", text(&tar), "."]).works();
    place.usnea(&["import", "-q", text(&tar), "base:1"]).works();
    let script = "echo $(cat /vol/x /w 2>/dev/null) $((n+1)) >> /w; echo in volume > /vol/x";
    let words = ["run", "--name", "mv", "-v", "data:/vol", "base:1", "sh", "-c", script];
    place.usnea(&words).works();
    let moved = |name: &str, how: &str| {
        place.shell(&format!("cd '{}'; {how} {name}", text(&place.place.path("")))).works();
        let usnea = |arguments: &[&str]| place.usnea_in(name, arguments);
        let image = usnea(&["images", "-aq"]).works().to_owned();
        usnea(&["start", "-a", "mv"]).works();
        assert!(usnea(&["diff", "mv"]).works().contains("A /w"));
        usnea(&["rmi", "base:1"]).fails_with(125, &["in use by container"]);
        usnea(&["commit", "-q", "mv", "made"]).works();
        let read = usnea(&["run", "--rm", "made", "cat", "/w"]);
        assert!(read.works().lines().last().is_some_and(|line| line.starts_with("in volume")));
        usnea(&["export", "-o", "exported.tar", "mv"]).works();
        usnea(&["cp", "mv:/w", "copied"]).works();
        usnea(&["rmi", "made"]).works();
        assert_eq!(usnea(&["images", "-aq"]).works(), image);
        let mounts = usnea(&["inspect", "-f", "{{json .Mounts}}", "mv"]);
        assert!(mounts.works().contains(&format!("/{name}/volumes/data")), "{mounts:?}");
    };
    moved("moved", "mv store");
    // A copy beside the first is one of its own.
    let as_base = "unshare --user --map-root-user --map-auto cp -a";
    let copy = format!(
        "x() {{ {as_base} $1 $2 2> said || {{ chmod -R u+rwx $1; cp -a $1 $2; }}; }}; x moved"
    );
    moved("copy", &copy);
    place.usnea_in("copy", &["rm", "mv"]).works();
    place.usnea_in("moved", &["rm", "mv"]).works();
}

#[test]
fn check_sees_every_change_of_an_unpacked_file() {
    let place = Stocked::new();
    let top = place.place.folder("files");
    place.shell(
        "cd files; mkdir -p etc/sub; echo content > etc/file; echo other > etc/second; ln etc/file etc/same
         ln -s file etc/link; chmod 640 etc/second; truncate -s 1M etc/hole; echo end >> etc/hole
         tar -Scf ../files.tar --owner=0 --group=0 .",
    );
    assert!(top.is_dir());
    place.usnea(&["import", "-q", "files.tar", "one"]).works();
    place.usnea(&["check"]).works();
    for (what, change, said) in [
        ("content", "printf CONTENT > etc/file; printf '\\n' >> etc/file", "content of /etc/file"),
        ("a hole", "printf x | dd of=etc/hole conv=notrunc status=none", "content of /etc/hole"),
        ("a mode", "chmod 4777 etc/second", "mode of /etc/second"),
        ("a folder's mode", "chmod 700 etc/sub", "mode of /etc/sub"),
        ("a link", "ln -sf nowhere etc/link", "target of /etc/link"),
        ("a kind", "rm etc/link; mkdir etc/link", "kind of /etc/link"),
        ("a hard link", "cp -p etc/same x; mv x etc/same", "hard links of /etc/"),
        ("a name", "mv etc/second etc/third", "etc/second is missing"),
        ("an attribute", "setfattr -n user.x -v y etc/file", "extended attributes of /etc/file"),
    ] {
        if what == "an attribute" && !crate::support::need("setfattr") {
            continue;
        }
        let script = format!("cd store/layers/*/fs; {change}");
        let ids = ["--user", "--map-root-user", "--map-auto", "sh", "-c", &script];
        if place.other("unshare", &ids).status != 0 {
            place.shell(&script).works();
        }
        let ran = place.usnea(&["check"]);
        assert!(ran.exits(1).contains(said), "{what}: {ran:?}");
        assert!(ran.stdout.contains("localhost/one"), "{what}: {ran:?}");
        place.usnea(&["check", "--repair"]).works();
        assert_eq!(place.usnea(&["check"]).works(), "", "{what}");
    }
}

#[test]
fn a_link_among_the_blobs_goes_for_good() {
    let place = Stocked::new();
    place.import("one", &[("v", "x")], &[]);
    place.shell("ln -s /etc/passwd store/blobs/sha256/$(printf %064d 0)").works();
    assert!(place.usnea(&["check"]).exits(1).contains("0000"));
    place.usnea(&["check", "--repair"]).works();
    assert_eq!(place.usnea(&["check"]).works(), "");
}

#[test]
fn a_pull_that_finds_no_room_gives_back_what_it_took() {
    let place = Stocked::new();
    // Digits that do not compress to nothing: unpacked the layer is larger than what is free.
    place
        .shell("seq 1 900000 > numbers; mkdir big; mv numbers big; tar -cf big.tar -C big .")
        .works();
    let small = place.tarball("one", &[("v", "x")]);
    place.usnea(&["import", "-q", "big.tar", "big"]).works();
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "big"]).works();
    let script = format!(
        "usnea import -q '{}' one; before=$(df --output=used -k $M | tail -1)
         usnea load -q -i layout 2> error && exit 1; cat error >&2
         after=$(df --output=used -k $M | tail -1); echo $((after - before < 200)); usnea check && echo whole",
        text(&small)
    );
    let ran = place.on_small_disk("5m", &script);
    assert_eq!(ran.works(), "1\nwhole", "{ran:?}");
    assert!(
        ran.stderr.contains("cannot load") && ran.stderr.contains("usnea image prune"),
        "{ran:?}"
    );
}

/// Once packed and once unpacked: there is no third copy on the way.
#[test]
fn an_import_needs_the_space_of_its_layer_twice() {
    let place = Stocked::new();
    place
        .shell("mkdir big; head -c 4000000 /dev/urandom > big/random; tar -cf big.tar -C big .; gzip -k big.tar")
        .works();
    for tar in ["big.tar", "big.tar.gz", "- < big.tar"] {
        let ran = place.on_small_disk(
            "10m",
            &format!("usnea import {tar} big > said && usnea check && echo whole"),
        );
        assert_eq!(ran.works(), "whole", "{tar}: {ran:?}");
    }
    let ran = place.on_small_disk("6m", "usnea import -q big.tar big");
    ran.fails_with(125, &["cannot import", "No space left on device"]);
    assert!(ran.stderr.contains("usnea image prune"), "{ran:?}");
}

#[test]
fn a_sound_blob_is_not_suspected_when_what_is_in_it_is_refused() {
    let place = Stocked::new();
    place.shell("mkdir f; echo x > f/.wh.; tar -cf bad.tar f").works();
    for _ in 0..2 {
        let ran = place.usnea(&["import", "bad.tar", "bad"]);
        assert_eq!(ran.status, 125, "{ran:?}");
        assert!(ran.stderr.contains("cannot import bad.tar"), "{ran:?}");
        assert!(!ran.stderr.contains("damaged") && !ran.stderr.contains("pull"), "{ran:?}");
    }
}

#[test]
fn a_commit_stands_beside_its_own_layer_in_the_history() {
    let place = Stocked::new();
    let root = place.place.small_root();
    let tar = place.place.path("root.tar");
    place.other("tar", &["-C", text(&root), "-cf", text(&tar), "."]).works();
    place.usnea(&["import", "-q", text(&tar), "base"]).works();
    place.usnea(&["save", "--format", "oci-dir", "-o", "layout", "base"]).works();
    // The same image without a history.
    let script = r#"
import json, hashlib
index = json.load(open("layout/index.json"))
def blob(value):
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    open("layout/blobs/sha256/" + digest, "wb").write(data)
    return "sha256:" + digest, len(data)
read = lambda digest: json.load(open("layout/blobs/sha256/" + digest.split(":")[1]))
manifest = read(index["manifests"][0]["digest"])
config = read(manifest["config"]["digest"])
del config["history"]
manifest["config"]["digest"], manifest["config"]["size"] = blob(config)
index["manifests"][0]["digest"], index["manifests"][0]["size"] = blob(manifest)
json.dump(index, open("layout/index.json", "w"))
"#;
    place.other("python3", &["-c", script]).works();
    place.usnea(&["pull", "-q", "oci:layout"]).works();
    place
        .usnea(&["run", "--name", "box", "localhost/layout", "sh", "-c", "echo 12345 > /n"])
        .works();
    place.usnea(&["commit", "-q", "box", "made"]).works();
    let steps =
        place.usnea(&["history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", "made"]);
    let first = steps.works().lines().next().unwrap_or_default();
    assert!(first.starts_with("6 sh -c echo 12345"), "{steps:?}");
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn a_quick_check_reads_no_content_and_finds_what_is_missing_or_shorter() {
    let place = Stocked::new();
    place.import("one", &[("etc/file", "content")], &[]);
    let damage = |script: &str| place.shell(&format!("cd store; {script}")).works().to_owned();
    damage("for f in layers/*/fs/etc/file; do chmod u+w $f; printf CONTENT > $f; done");
    assert_eq!(place.usnea(&["check", "--quick"]).works(), "");
    assert!(place.usnea(&["check"]).exits(1).contains("content of /etc/file"));
    place.usnea(&["check", "--repair"]).works();
    damage("rm -f layers/*/fs/etc/file");
    place.usnea(&["check", "-q"]).exits(1);
    place.usnea(&["check", "-q", "--repair"]).works();
    assert_eq!(place.usnea(&["check"]).works(), "");
    damage("f=$(ls -S blobs/sha256/* | head -n 1); chmod u+w $f; printf x >> $f");
    assert!(place.usnea(&["check", "-q"]).exits(1).contains("blobs/sha256/"));
}

#[test]
fn a_store_that_lost_the_list_and_its_copy_is_not_taken_for_an_empty_one() {
    let place = Stocked::new();
    // A new store is empty, and has a list from then on.
    assert_eq!(place.usnea(&["images", "-q"]).works(), "");
    place.usnea(&["image", "prune", "-f"]).works();
    place.import("one:1", &[("v", "x")], &[]);
    let blobs = |place: &Stocked| {
        fs::read_dir(place.place.path("store/blobs/sha256")).expect("the blobs").count()
    };
    let before = blobs(&place);
    for name in ["images.json", "images.json.copy"] {
        fs::remove_file(place.place.path(&format!("store/{name}"))).expect("the list");
    }
    let tar = place.tarball("two", &[("v", "y")]);
    for words in [
        &["image", "prune", "-f"][..],
        &["image", "prune", "-af"],
        &["system", "prune", "-f"],
        &["images"],
        &["import", text(&tar), "two:1"],
    ] {
        let ran = place.usnea(words);
        assert_ne!(ran.status, 0, "{words:?}: {ran:?}");
        assert!(ran.stderr.contains("images.json is missing"), "{ran:?}");
        assert!(ran.stderr.contains("usnea check --repair"), "{ran:?}");
    }
    assert!(blobs(&place) >= before, "nothing was removed");
    assert!(place.usnea(&["check"]).exits(1).contains("images.json"));
    place.usnea(&["check", "--repair"]).works();
    assert_eq!(place.usnea(&["images", "-q"]).works().lines().count(), 1);
    place.usnea(&["image", "prune", "-af"]).works();
    assert_eq!(blobs(&place), 0);
}

#[test]
fn a_manifest_list_can_be_removed_when_the_disk_is_full() {
    let place = Stocked::new();
    let tar = place.tarball("one", &[("w", &"y".repeat(300_000))]);
    for copy in ["", "rm $USNEA_ROOT/images.json.copy"] {
        let script = format!(
            "usnea import -q '{}' one:1; usnea manifest create many one:1 > out
             usnea manifest create other one:1 >> out; {copy}
             cat /dev/zero > $M/fill 2>/dev/null || true
             usnea manifest rm many >> out; usnea manifest exists many && echo still there
             usnea manifest exists other && usnea check && echo whole",
            text(&tar)
        );
        let ran = place.on_small_disk("12m", &script);
        assert_eq!(ran.works(), "whole", "{copy}: {ran:?}");
    }
}
