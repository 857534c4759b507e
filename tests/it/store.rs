//! What removes, counts and checks images: rmi, tag, untag, prune, system df, check.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stocked::Stocked;

/// A place with the image `localhost/one:latest`.
fn with_one() -> Stocked {
    let shop = Stocked::new();
    shop.import("localhost/one", &[("etc/a", "first\n"), ("b", "second\n")], &[]);
    shop
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

impl Stocked {
    fn blobs(&self) -> Vec<PathBuf> {
        files(&self.place.store().join("blobs/sha256"))
    }

    fn layers(&self) -> Vec<PathBuf> {
        files(&self.place.store().join("layers"))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.place.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The image's files as its layers have them.
    #[track_caller]
    fn has_its_files(&self, image: &str) {
        let listed = self.shell(&format!("usnea export {image} | tar -xO etc/a b"));
        assert_eq!(listed.works(), "second\nfirst");
    }

    /// Does something to files of the layers, which may be another ID's.
    fn in_layers(&self, script: &str) {
        let layers = self.place.store().join("layers");
        let script = format!("cd '{}' && {script}", layers.display());
        let ids = ["--user", "--map-root-user", "--map-auto", "sh", "-c", &script];
        if self.other("unshare", &ids).status != 0 {
            self.other("sh", &["-c", &script]).works();
        }
    }
}

#[test]
fn rmi_takes_names_then_the_image() {
    let shop = with_one();
    shop.usnea(&["tag", "one", "two:2", "q.io/three"]).works();
    let id = shop.field("one", "{{.Id}}");
    shop.usnea(&["rmi", &id]).fails_with(125, &["several names", "localhost/two:2"]);
    assert_eq!(shop.usnea(&["rmi", "two:2"]).works(), "Untagged: localhost/two:2");
    assert_eq!(shop.usnea(&["image", "rm", "q.io/three"]).works(), "Untagged: q.io/three:latest");
    shop.has_its_files("one");
    let last = shop.usnea(&["rmi", "one"]);
    assert!(last.works().ends_with(&format!("Deleted: {id}")), "{last:?}");
    assert!(last.works().starts_with("Untagged: localhost/one:latest\n"), "{last:?}");
    assert_eq!((shop.blobs(), shop.layers()), (vec![], vec![]));
    shop.usnea(&["rmi", "one"]).fails_with(125, &["no image 'one'"]);
    shop.usnea(&["rmi", "-i", "one"]).works();
    shop.usnea(&["rmi"]).fails_with(125, &["IMAGE"]);
}

#[test]
fn rmi_goes_on_after_a_name_that_there_is_not() {
    let shop = with_one();
    let ran = shop.usnea(&["rmi", "nope", "one", "nor-this"]);
    assert_eq!(ran.status, 125, "{ran:?}");
    assert!(ran.stdout.contains("Untagged: localhost/one:latest"), "{ran:?}");
    assert!(ran.stderr.contains("'nope'") && ran.stderr.contains("'nor-this'"), "{ran:?}");
    assert_eq!(shop.blobs(), [] as [PathBuf; 0]);
}

#[test]
fn an_image_in_use_is_not_removed_even_with_force() {
    let shop = with_one();
    let manifest = shop.blob(&shop.field("one", "{{.Digest}}"));
    let held = fs::File::open(manifest).unwrap();
    held.lock_shared().unwrap();
    for arguments in [&["rmi", "one"][..], &["rmi", "-f", "one"]] {
        let ran = shop.usnea(arguments);
        ran.fails_with(125, &["in use by a running container"]);
        ran.hints();
    }
    shop.usnea(&["system", "prune", "-af"]).works();
    shop.has_its_files("one");
    let active = shop.usnea(&["system", "df", "--format", "{{.Type}} {{.Active}}"]);
    assert!(active.works().starts_with("Images 1"), "{active:?}");
    drop(held);
    shop.usnea(&["rmi", "-f", "one"]).works();
}

#[test]
fn a_container_that_does_not_run_needs_its_image_until_it_is_removed() {
    let shop = with_one();
    let container = shop.usnea(&["create", "one", "command"]).works().to_owned();
    let ran = shop.usnea(&["rmi", "one"]);
    ran.fails_with(125, &["in use by container", &container[..12]]);
    ran.hints();
    let freed = shop.usnea(&["image", "prune", "-af"]);
    assert_eq!(freed.works(), "Total reclaimed space: 0B");
    let active = shop.usnea(&["system", "df", "--format", "{{.Type}} {{.Active}}"]);
    assert!(active.works().starts_with("Images 1"), "{active:?}");
    // With force it has no name any more, and all that the container needs is there.
    let removed = shop.usnea(&["rmi", "-f", "one"]);
    assert!(removed.works().starts_with("Untagged: localhost/one:latest"), "{removed:?}");
    assert!(!removed.stdout.contains("Deleted"), "{removed:?}");
    assert_eq!(shop.usnea(&["images", "-q"]).works(), "");
    let layers = shop.layers();
    shop.usnea(&["image", "prune", "-af"]).works();
    assert_eq!(shop.layers(), layers);
    // Its command is none of the image's, but the image is: it is looked for in it.
    shop.usnea(&["start", &container]).fails_with(1, &["command", "No such file"]);
    shop.usnea(&["rm", &container]).works();
    shop.usnea(&["image", "prune", "-f"]).works();
    assert_eq!((shop.layers().len(), shop.blobs().len()), (0, 0));
}

#[test]
fn names_go_from_one_image_to_another() {
    let shop = with_one();
    shop.import("localhost/other", &[("c", "3")], &[]);
    shop.usnea(&["image", "tag", "one", "other"]).works();
    assert_eq!(shop.field("other", "{{.Id}}"), shop.field("one", "{{.Id}}"));
    shop.usnea(&["untag", "one", "nope"]).fails_with(125, &["is not called 'nope'"]);
    shop.usnea(&["tag", "one", "Upper"]).fails_with(125, &["not a valid name"]);
    let id = shop.field("one", "{{.Id}}");
    shop.usnea(&["untag", "one"]).works();
    shop.usnea(&["rmi", "one"]).fails_with(125, &["no image 'one'"]);
    shop.usnea(&["tag", &id, "one"]).works();
    let freed = shop.usnea(&["image", "prune", "-f"]);
    assert!(freed.works().contains("Total reclaimed space: "), "{freed:?}");
    assert_eq!(freed.works().matches("Deleted: ").count(), 1, "{freed:?}");
    shop.has_its_files("one");
}

#[test]
fn prune_asks_at_a_terminal_and_removes_unused_data() {
    let shop = with_one();
    for command in ["image", "system"] {
        let ran = shop.usnea(&[command, "prune"]);
        ran.fails_with(125, &["not a terminal"]);
        ran.hints();
    }
    shop.place.write("store/downloads/sha256-0123", "half a blob");
    shop.usnea(&["image", "prune", "--force"]).works();
    assert_eq!(files(&shop.place.store().join("downloads")), [] as [PathBuf; 0]);
    shop.has_its_files("one");
    shop.usnea(&["image", "prune", "-a", "-f"]).works();
    assert_eq!((shop.blobs(), shop.layers()), (vec![], vec![]));
}

#[test]
fn df_says_what_takes_how_much() {
    let shop = with_one();
    let table = shop.usnea(&["system", "df"]);
    let head = "TYPE         TOTAL     ACTIVE    SIZE      RECLAIMABLE";
    assert!(table.works().starts_with("TYPE"), "{table:?}");
    assert_eq!(
        table.works().lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        head.split_whitespace().collect::<Vec<_>>()
    );
    assert!(table.works().contains("(100%)"), "{table:?}");
    let verbose = shop.usnea(&["system", "df", "-v"]);
    assert!(verbose.works().contains("localhost/one"), "{verbose:?}");
    let json = shop.usnea(&["system", "df", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.works()).unwrap();
    assert_eq!(json[0]["Type"], "Images");
    assert_eq!(json[0]["TotalCount"], "1");
}

#[test]
fn each_kind_of_damage_is_found_and_mended() {
    let shop = with_one();
    shop.usnea(&["check"]).works();
    let list = shop.place.store().join("images.json");
    let whole = fs::read(&list).unwrap();
    let damages: [(&str, &dyn Fn()); 4] = [
        ("1 files", &|| shop.in_layers("rm */fs/etc/a")),
        ("bytes, not", &|| shop.in_layers("for file in */fs/b; do echo more >> $file; done")),
        ("not unpacked", &|| shop.in_layers("rm -r *")),
        ("images.json", &|| fs::write(&list, &whole[..whole.len() / 2]).unwrap()),
    ];
    for (phrase, damage) in &damages[..3] {
        damage();
        let found = shop.usnea(&["check"]);
        assert_eq!(found.status, 1, "{found:?}");
        let phrase = phrase.strip_prefix("1 ").unwrap_or(phrase);
        assert!(found.stdout.contains(phrase), "{phrase}: {found:?}");
        assert!(found.stdout.contains("localhost/one:latest"), "{found:?}");
        let mended = shop.usnea(&["check", "--repair"]);
        assert!(mended.works().contains("mended: unpacked anew"), "{mended:?}");
        assert_eq!(shop.usnea(&["check"]).works(), "");
        shop.has_its_files("one");
    }
    let id = shop.field("one", "{{.Id}}");
    damages[3].1();
    shop.usnea(&["images"]).fails_with(125, &["images.json"]);
    let found = shop.usnea(&["check", "--format", "json"]);
    assert_eq!(found.status, 1, "{found:?}");
    let json: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!((&json[0]["what"], &json[0]["outcome"]), (&"images.json".into(), &"found".into()));
    let mended = shop.usnea(&["check", "--repair"]);
    assert!(mended.works().contains("without a name"), "{mended:?}");
    shop.usnea(&["tag", &id, "one"]).works();
    shop.has_its_files("one");
}

#[test]
fn damaged_and_lost_blobs_are_found_and_a_load_brings_them_back() {
    let shop = with_one();
    shop.usnea(&["save", "--format", "oci-dir", "-o", "saved", "localhost/one"]).works();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[0] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    for at in 0..shop.blobs().len() {
        for damage in [&flip as &dyn Fn(&Path), &|path: &Path| fs::remove_file(path).unwrap()] {
            damage(&shop.blobs()[at]);
            let found = shop.usnea(&["check"]);
            assert_eq!(found.status, 1, "{found:?}");
            shop.usnea(&["check", "--repair"]);
            shop.usnea(&["load", "-i", "saved"]).works();
            assert_eq!(shop.usnea(&["check"]).works(), "");
            shop.has_its_files("localhost/one");
        }
    }
}

#[test]
fn a_login_whose_umask_lets_the_group_write_leaves_nothing_for_the_group_to_write_to() {
    for first in ["usnea images", "usnea run --rm host:true true"] {
        let shop = Stocked::new();
        let script = "usnea check; ls -ld \"$USNEA_ROOT/layers\" \"$USNEA_ROOT/tmp\"";
        let ran = shop.shell(&format!("umask 002; {first} >&2; {script}"));
        let lines: Vec<&str> = ran.works().lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("drwxr-xr-x"), "{ran:?}");
        assert!(lines[1].starts_with("drwx------"), "{ran:?}");
    }
}
