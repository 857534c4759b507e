//! A store that all users of a machine may read: nobody else can write to it, and its files are shown as the image has them,
//! whose ever they are on the disk. (`tests/run` has one of another user besides.)

use std::os::unix::fs::PermissionsExt;

use crate::composed::{Composed, file, folder, layer, small_root};
use crate::stocked::Stocked;
use crate::support::{Ran, finish, need, text};

const STAT: &str = "stat -c '%u:%g %a %n' / /etc/secret /tmp /bin/tool /wide /wide/open";

/// A place with the image `localhost/image` in the store `shared`.
fn shop() -> Stocked {
    let shop = Stocked::new();
    let entries = [
        file("etc/secret", "x").owner(7, 8).mode(0o640),
        folder("tmp").mode(0o1777),
        file("bin/tool", "x").mode(0o4755),
        folder("wide").owner(9, 9).mode(0o2777),
        file("wide/open", "x").mode(0o666),
    ];
    Composed::of(&[small_root(&shop), layer(&entries)]).write(&shop, "layout");
    let shared = shop.place.folder("shared");
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o755)).expect("another mode");
    shop.usnea_in("shared", &["load", "-i", "layout"]).works();
    let id = shop.usnea_in("shared", &["images", "-q"]).works().to_owned();
    shop.usnea_in("shared", &["tag", &id, "localhost/image"]).works();
    shop
}

/// usnea as somebody who reads that store beside his own.
fn usnea(shop: &Stocked, words: &[&str]) -> Ran {
    let mut command = shop.place.command(words);
    shop.at_home(&mut command);
    finish(command.env("USNEA_IMAGE_STORES", shop.place.path("shared")), "")
}

fn has_others() -> bool {
    std::env::var("USNEA_TEST_USER_KIND").is_ok_and(|kind| kind == "subids")
}

#[test]
fn a_shared_store_is_writable_for_its_owner_alone_and_readable_for_all() {
    let shop = shop();
    let files = walkdir::WalkDir::new(shop.place.path("shared/layers")).min_depth(1);
    let mut seen = 0;
    for entry in files {
        let entry = entry.expect("a file");
        let (metadata, path) = (entry.metadata().expect("its stat"), entry.path().display());
        let mode = metadata.permissions().mode() & 0o7777;
        let expected: &[u32] = match metadata.file_type() {
            kind if kind.is_symlink() => continue,
            kind if kind.is_dir() => &[0o755],
            _ => &[0o755, 0o644],
        };
        assert!(expected.contains(&mode), "{path}: {mode:o}");
        seen += 1;
    }
    assert!(seen > 10);
}

#[test]
fn files_of_a_shared_store_are_shown_as_the_image_has_them() {
    let shop = shop();
    let shown = |owners: [&str; 6]| {
        let rest = [
            "755 /",
            "640 /etc/secret",
            "1777 /tmp",
            "4755 /bin/tool",
            "2777 /wide",
            "666 /wide/open",
        ];
        let lines: Vec<String> =
            owners.iter().zip(rest).map(|(owner, rest)| format!("{owner} {rest}")).collect();
        lines.join("\n")
    };
    let real = shown(["0:0", "7:8", "0:0", "0:0", "9:9", "0:0"]);
    let expected = if has_others() { real.clone() } else { shown(["0:0"; 6]) };
    for driver in [&[][..], &["--storage-driver", "fuse"], &["--storage-driver", "copy"]] {
        let run = |options: &[&str], script: &str| {
            let words =
                [&["run", "--rm"], driver, options, &["localhost/image", "sh", "-ec", script]];
            usnea(&shop, &words.concat())
        };
        assert_eq!(run(&[], STAT).works(), expected, "{driver:?}");
        if !has_others() {
            assert_eq!(run(&["--root-emulation", "owners"], STAT).works(), real, "{driver:?}");
        }
        // All of it can be changed: it is root's.
        let script = "echo y >> /etc/secret; chmod 600 /etc/secret; touch /wide/new /tmp/new /new; rm /wide/open; \
                      mv /bin/tool /bin/other; cat /etc/secret; stat -c '%a' /etc/secret; stat -c '%g %a' /wide/new";
        let group = if has_others() { "9" } else { "0" };
        assert_eq!(run(&[], script).works(), format!("xy\n600\n{group} 644"), "{driver:?}");
    }
}

#[test]
fn what_is_kept_of_a_container_has_the_image_s_owners_and_its_own() {
    let shop = shop();
    for driver in ["fuse", "copy", "overlay"] {
        let script = "touch /new; chown 5:6 /new; chmod 600 /etc/secret; rm -r /wide";
        let script = if driver == "overlay" { "true" } else { script };
        let words = ["run", "--name", "box", "--storage-driver", driver];
        let ran = usnea(&shop, &[&words[..], &["localhost/image", "sh", "-ec", script]].concat());
        assert_eq!(ran.status, 0, "{driver}: {ran:?}");
        let tar = shop.place.path("export.tar");
        usnea(&shop, &["export", "-o", text(&tar), "box"]).works();
        let listed = |tar: &std::path::Path| {
            let ran = shop.other("tar", &["--numeric-owner", "-tvf", text(tar)]);
            let lines = ran.works().lines().map(|line| {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                format!("{} {} {}", words[0], words[1], words[5])
            });
            lines.collect::<Vec<_>>()
        };
        let has = |lines: &[String], line: &str| {
            assert!(lines.iter().any(|other| other == line), "{driver}: {line} in {lines:?}");
        };
        let lines = listed(&tar);
        has(&lines, "drwxrwxrwt 0/0 tmp/");
        has(&lines, "-rwsr-xr-x 0/0 bin/tool");
        if driver == "overlay" {
            has(&lines, "-rw-r----- 7/8 etc/secret");
            has(&lines, "drwxrwsrwx 9/9 wide/");
        } else {
            has(&lines, "-rw-r--r-- 5/6 new");
            has(&lines, "-rw------- 7/8 etc/secret");
            let changes = usnea(&shop, &["diff", "box"]);
            assert_eq!(changes.works(), "C /etc\nC /etc/secret\nA /new\nD /wide", "{driver}");
            // Of one that does not run, by other means.
            let copied = shop.place.path("copied.tar");
            let line = format!(
                "'{}' cp box:/etc - > '{}'",
                text(&crate::support::binary()),
                text(&copied)
            );
            let mut command = std::process::Command::new("sh");
            shop.at_home(command.args(["-c", &line]));
            finish(command.env("USNEA_IMAGE_STORES", shop.place.path("shared")), "").works();
            has(&listed(&copied), "-rw------- 7/8 etc/secret");
            usnea(&shop, &["commit", "-q", "box", "localhost/made"]).works();
            let run = ["run", "--rm", "localhost/made", "stat", "-c", "%a", "/etc/secret"];
            assert_eq!(usnea(&shop, &run).works(), "600");
            usnea(&shop, &["rmi", "localhost/made"]).works();
        }
        usnea(&shop, &["rm", "box"]).works();
    }
}

/// Its owner puts a link to a folder of the reader's where a layer was, after the container was made from it.
#[test]
fn no_link_in_a_store_of_another_user_s_leads_to_the_reader_s_files() {
    if !has_others() || !need("unshare") {
        return;
    }
    let shop = shop();
    let as_others = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--map-auto", "sh", "-ec", script]);
        finish(command.arg(text(&shop.place.path("shared"))).arg(shop.place.path("mine")), "")
            .works();
    };
    as_others("chown -Rh 1:1 \"$0\"");
    for driver in ["fuse", "copy", "overlay"] {
        let words = ["create", "--name", "box", "--storage-driver", driver, "localhost/image"];
        let ran = usnea(&shop, &[&words[..], &["sh", "-c", "cat /etc/secret || :"]].concat());
        assert_eq!(ran.status, 0, "{driver}: {ran:?}");
        let started = usnea(&shop, &["start", "-a", "box"]);
        assert_eq!(started.works(), "x", "{driver}");

        as_others(
            "cd \"$0/layers\"; layer=$(dirname $(dirname $(dirname $(ls -d */fs/etc/secret)))); \
             cp -a $layer \"$1\"; chown -R 0:0 \"$1\"; echo mine > \"$1/fs/etc/secret\"; \
             setfattr -x user.containers.override_stat \"$1/fs/etc/secret\" 2> /dev/null || :; \
             mv $layer ../away; ln -s \"$1\" $layer",
        );
        let started = usnea(&shop, &["start", "-a", "box"]);
        assert!(!started.stdout.contains("mine"), "{driver}: {started:?}");
        // A copy was made at the first start.
        if driver != "copy" {
            assert_eq!(started.status, 125, "{driver}: {started:?}");
        }
        as_others(
            "cd \"$0/layers\"; layer=$(find . -maxdepth 1 -type l); rm $layer; mv ../away $layer; rm -r \"$1\"",
        );
        usnea(&shop, &["rm", "box"]).works();
    }
    as_others("chown -Rh 0:0 \"$0\"");
}

#[test]
fn a_store_that_cannot_be_read_does_not_stop_the_others() {
    let shop = shop();
    let other = shop.place.folder("other");
    let stores = format!("{}:{}", text(&other), text(&shop.place.path("shared")));
    let made = std::process::Command::new("mkfifo").arg(other.join("images.json")).status();
    assert!(made.expect("mkfifo").success());
    let usnea = |words: &[&str]| {
        let mut command = shop.place.command(words);
        shop.at_home(&mut command);
        finish(command.env("USNEA_IMAGE_STORES", &stores), "")
    };
    for words in
        [&["images"][..], &["info"], &["run", "--rm", "localhost/image", "/bin/sh", "-c", ":"]]
    {
        let ran = usnea(words);
        ran.works();
        let told = "images.json: it is not a regular file: this store of images is left out";
        assert_eq!(ran.stderr.matches(told).count(), 1, "{ran:?}");
    }
    assert!(usnea(&["images"]).works().contains("localhost/image"));
}

/// Replaces the blobs of the store that `is_one` picks by their sizes.
fn spoil(shop: &Stocked, is_one: impl Fn(&[u8]) -> bool, spoiled: impl Fn(&std::path::Path)) {
    let blobs = std::fs::read_dir(shop.place.path("shared/blobs/sha256")).expect("the blobs");
    let is_one = |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|bytes| is_one(&bytes));
    let found: Vec<_> =
        blobs.map(|blob| blob.expect("a blob").path()).filter(|path| is_one(path)).collect();
    assert!(!found.is_empty());
    found.iter().for_each(|path| spoiled(path));
}

#[test]
fn no_push_hands_on_what_is_not_the_blob() {
    let is_config = |bytes: &[u8]| bytes.windows(10).any(|part| part == b"\"diff_ids\"");
    let is_layer = |bytes: &[u8]| !bytes.starts_with(b"{");
    let zeros = |path: &std::path::Path| {
        let length = std::fs::metadata(path).expect("its size").len() as usize;
        std::fs::remove_file(path).expect("removed");
        std::fs::write(path, vec![0; length]).expect("written");
    };
    let pipe = |path: &std::path::Path| {
        std::fs::remove_file(path).expect("removed");
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    };
    for number in 0..4 {
        let shop = shop();
        let phrase = if number < 2 { "damaged" } else { "not a regular file" };
        match number {
            0 => spoil(&shop, is_config, zeros),
            1 => spoil(&shop, is_layer, zeros),
            2 => spoil(&shop, is_config, pipe),
            _ => spoil(&shop, is_layer, pipe),
        }
        for (at, words) in [
            &["push", "localhost/image", "oci:made"][..],
            &["push", "localhost/image", "oci-archive:made.tar"],
            &["push", "localhost/image", "docker-archive:made.tar"],
            &["save", "-o", "made.tar", "localhost/image"],
        ]
        .iter()
        .enumerate()
        {
            let ran = usnea(&shop, words);
            assert_eq!(ran.status, 125, "{words:?} {ran:?}");
            let is_told = ran.stderr.contains(phrase) || (at >= 2 && phrase == "damaged");
            assert!(is_told, "{number} {words:?} {ran:?}");
        }
        let named = std::fs::read_to_string(shop.place.path("made/index.json"));
        assert!(!named.is_ok_and(|index| index.contains("sha256")), "a broken image is named");
    }
}
