//! A store that can only be read: on a read-only mount, or without the permission to write. Verbs that read give the
//! same answers as before, and write nothing there.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::composed::{Composed, file, layer, small_root};
use crate::stocked::Stocked;
use crate::support::{Ran, finish, has_subids, need, text};

/// Verbs whose whole output must be the same; those with a file at the end write it outside of the store.
const VERBS: [&str; 32] = [
    "ps -a --format {{.ID}}|{{.Names}}|{{.Image}}|{{.State}}",
    "ps -aq --no-trunc",
    "images --format {{.ID}}|{{.Repository}}|{{.Size}}",
    "inspect ended",
    "inspect localhost/image",
    "image inspect localhost/image",
    "history -q localhost/image",
    "image tree localhost/image",
    "image diff localhost/image",
    "image diff localhost/image localhost/other",
    "image exists localhost/image",
    "export localhost/image",
    "image export localhost/image",
    "save localhost/image",
    "save --format oci-archive localhost/image localhost/other",
    "logs ended",
    "cp ended:/written -",
    "cp ended:/etc/added -",
    "diff ended",
    "export ended",
    "diff local",
    "cp local:/written -",
    "container exists ended",
    "port ended",
    "wait ended",
    "volume ls",
    "volume inspect data",
    "volume export data",
    "network ls",
    "pod ps",
    "check",
    "system df",
];

/// A place with two images, a volume, and two containers that have ended.
fn stock() -> Stocked {
    let stock = Stocked::new();
    let top = layer(&[file("etc/added", "x").owner(7, 8).mode(0o640)]);
    Composed::of(&[small_root(&stock), top]).write(&stock, "layout");
    stock.usnea(&["load", "-i", "layout"]).works();
    let id = stock.usnea(&["images", "-q"]).works().to_owned();
    stock.usnea(&["tag", &id, "localhost/image"]).works();
    stock.import("localhost/other", &[("f", "other")], &[]);
    let script = "echo said; echo kept > /data/f; echo w > /written";
    let run = ["run", "--name", "ended", "-v", "data:/data", "localhost/image", "sh", "-c"];
    stock.usnea(&[&run[..], &[script]].concat()).works();
    let run = ["run", "--name", "local", "host:sh", "sh", "-c", "echo w > /written"];
    stock.usnea(&run).works();
    stock
}

/// The place of all files of the store, with the time of their last change.
fn changes(stock: &Stocked) -> BTreeMap<PathBuf, (i64, i64)> {
    let entries = walkdir::WalkDir::new(stock.place.store()).into_iter().filter_map(Result::ok);
    let change = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().expect("its stat");
        (entry.into_path(), (metadata.ctime(), metadata.ctime_nsec()))
    };
    entries.map(change).collect()
}

/// Asserts that no file has changed.
fn same(before: &BTreeMap<PathBuf, (i64, i64)>, after: &BTreeMap<PathBuf, (i64, i64)>) {
    let all = before.keys().chain(after.keys());
    let changed: Vec<&PathBuf> = all.filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

fn words(verb: &str) -> Vec<&str> {
    verb.split(' ').collect()
}

/// usnea with a folder for temporary files of its own, which must be empty afterwards.
fn usnea(stock: &Stocked, program: &str, arguments: &[&str]) -> Ran {
    let mut command = std::process::Command::new(program);
    stock.at_home(command.args(arguments));
    let tmp = stock.place.folder("temporary");
    let ran = finish(command.env("TMPDIR", &tmp), "");
    assert_eq!(std::fs::read_dir(&tmp).expect("a folder").count(), 0, "{arguments:?}: in TMPDIR");
    ran
}

#[test]
fn verbs_that_read_say_the_same_where_no_permission_to_write_is_left() {
    let stock = stock();
    let program = crate::support::binary();
    let run = |verb: &str| usnea(&stock, text(&program), &words(verb));
    let before: Vec<(String, String)> =
        VERBS.iter().map(|verb| (run(verb).works().to_owned(), run(verb).stderr)).collect();
    // All but the content of layers, whose modes are part of them, and of the containers' own layers.
    let is_content = |entry: &walkdir::DirEntry| {
        let path = entry.path();
        let name = |path: &Path| path.file_name().map(|name| name.to_owned());
        let folder = path.parent().and_then(name);
        let above = path.parent().and_then(Path::parent).and_then(name);
        folder.is_some_and(|name| name == "_data")
            || above.as_ref().is_some_and(|name| name == "layers")
            || above.is_some_and(|name| name == "containers") && path.is_dir()
    };
    let own: Vec<PathBuf> = walkdir::WalkDir::new(stock.place.store())
        .into_iter()
        .filter_entry(|entry| !is_content(entry))
        .filter_map(Result::ok)
        .filter(|entry| !entry.path_is_symlink())
        .map(walkdir::DirEntry::into_path)
        .collect();
    let modes: Vec<u32> =
        own.iter().map(|path| path.metadata().expect("its stat").permissions().mode()).collect();
    let set = |path: &PathBuf, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("another mode");
    };
    own.iter().zip(&modes).for_each(|(path, mode)| set(path, mode & !0o222));
    let unchanged = changes(&stock);
    let answers: Vec<Ran> = VERBS.iter().map(|verb| run(verb)).collect();
    let after = changes(&stock);
    own.iter().zip(&modes).for_each(|(path, mode)| set(path, *mode));
    clear(&stock);
    for ((verb, ran), (stdout, stderr)) in VERBS.iter().zip(&answers).zip(&before) {
        let is_same = (ran.works(), &*ran.stderr) == (&**stdout, &**stderr);
        assert!(is_same, "{verb}: {:.2000} {:.2000}", ran.stdout, ran.stderr);
    }
    same(&unchanged, &after);
}

#[test]
fn verbs_that_read_work_on_a_mount_that_is_read_only() {
    if !need("unshare") {
        return;
    }
    let stock = stock();
    let program = crate::support::binary();
    let unchanged = changes(&stock);
    let answers = VERBS.iter().filter(|verb| !has_subids() || !needs_ids(verb)).map(|verb| {
        let ran = usnea(&stock, "unshare", &[&mounted(text(&program)), &words(verb)[..]].concat());
        (verb, ran)
    });
    let answers: Vec<(&&str, Ran)> = answers.collect();
    let after = changes(&stock);
    clear(&stock);
    for (verb, ran) in answers {
        assert_eq!(ran.status, 0, "{verb}: {ran:?}");
        assert!(!ran.stderr.contains("cannot"), "{verb}: {}", ran.stderr);
    }
    same(&unchanged, &after);
}

/// True for verbs that enter the container's user namespace: the subordinate IDs are not in the one of [`mounted`].
fn needs_ids(verb: &str) -> bool {
    ["cp ", "diff ", "export ended"].iter().any(|prefix| verb.starts_with(prefix))
}

/// unshare(1) with a program that sees the store on a read-only mount, as the user.
fn mounted(program: &str) -> Vec<&str> {
    vec!["-rm", "sh", "-euc", SCRIPT, "sh", program]
}

const SCRIPT: &str =
    "user=$(awk '{ print $2 }' /proc/self/uid_map); group=$(awk '{ print $2 }' /proc/self/gid_map)
    mount --bind \"$USNEA_ROOT\" \"$USNEA_ROOT\"
    mount -o remount,bind,ro \"$USNEA_ROOT\"
    if touch \"$USNEA_ROOT/written\" 2>/dev/null; then exit 9; fi
    exec unshare -U --map-user=$user --map-group=$group \"$@\"";

fn clear(stock: &Stocked) {
    stock.usnea(&["rm", "-a"]).works();
    stock.usnea(&["volume", "rm", "-a"]).works();
}

#[test]
fn what_cannot_be_written_there_is_an_error_that_says_so() {
    if !need("unshare") {
        return;
    }
    let stock = stock();
    let program = crate::support::binary();
    for verb in ["tag localhost/image localhost/again", "rmi localhost/other", "volume create more"]
    {
        let ran = usnea(&stock, "unshare", &[&mounted(text(&program)), &words(verb)[..]].concat());
        assert_ne!(ran.status, 0, "{verb}");
        assert!(ran.stderr.contains("Read-only file system"), "{verb}: {}", ran.stderr);
    }
    clear(&stock);
}
