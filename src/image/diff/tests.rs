//! Layers made by hand: their changes, their tars as GNU tar lists them, and merged trees against a simple model.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType as OnDisk, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::ids::{IdMap, IdMaps};
use crate::image::owners::Owners;
use crate::layer::whiteout::Whiteouts;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn layers(&self, names: &[&str]) -> Vec<LayerSource> {
        names.iter().map(|name| self.path(name).into()).collect()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.path(name)
    }

    /// A whiteout device, which the kernel lets any user make (since 5.8).
    fn whiteout(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(CWD, path, OnDisk::CharacterDevice, 0.into(), 0).unwrap();
    }

    fn opaque(&self, name: &str) {
        set(&self.dir(name), "user.overlay.opaque", b"y");
    }

    /// Sets all files to the same time: the times of folders depend on chance otherwise.
    fn same_times(&self) {
        let time = Timespec { tv_sec: 1_700_000_000, tv_nsec: 5 };
        let times = Timestamps { last_access: time, last_modification: time };
        for entry in walkdir::WalkDir::new(self.folder.path()).contents_first(true) {
            let path = entry.unwrap().into_path();
            rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    fn changes(&self, upper: &str, lowers: &[&str]) -> Vec<String> {
        let found = changes(
            &self.path(upper).into(),
            UpperForm::Changes,
            &self.layers(lowers),
            &Owners::Recorded,
        )
        .unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    /// The listing of GNU tar: kind and mode, owner, size or device, name.
    fn list(&self, tar: &[u8]) -> Vec<String> {
        let path = self.path("x.tar");
        fs::write(&path, tar).unwrap();
        let mut command = Command::new("tar");
        command.args(["tvf"]).arg(&path).args(["--numeric-owner", "--utc", "--full-time"]);
        let output = command.env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(&path).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (head, time, name) = (&words[..3], words[3..5].join("T"), words[5..].join(" "));
            assert!(
                time.starts_with("2023-11-14T22:13:20") || time.starts_with("1970-01-01T00:00:00"),
                "{line}"
            );
            format!("{} {name}", head.join(" "))
        };
        text.lines().map(line).collect()
    }
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty())
        .expect("a filesystem with extended attributes for TMPDIR");
}

fn layer(upper: &Path) -> crate::error::Result<Vec<u8>> {
    layer_tar(&upper.to_owned().into(), &Owners::Recorded, Vec::new())
}

/// Records an owner for all files in a folder, so that the tests give the same result for every user.
fn own(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_file() || metadata.is_dir() {
            let mode = metadata.permissions().mode() & 0o7777;
            set(
                entry.path(),
                "user.containers.override_stat",
                format!("0:0:{mode:04o}").as_bytes(),
            );
        }
    }
}

#[test]
fn whiteouts_by_name_say_the_same_as_devices_do() {
    let place = Place::new();
    for name in ["low/gone", "low/again", "low/d/old", "low/d/sub/x", "low/e/in", "low/e/stays"] {
        place.file(name, "old");
    }
    for root in ["devices", "names"] {
        for name in ["again", "d/new", "e/other"] {
            place.file(&format!("{root}/{name}"), "new");
        }
    }
    place.whiteout("devices/gone");
    place.whiteout("devices/e/in");
    place.opaque("devices/d");
    let marks = [".wh.gone", "e/.wh.in", "d/.wh..wh..opq"];
    marks.iter().for_each(|mark| drop(place.file(&format!("names/{mark}"), "")));
    place.same_times();
    let folder = |name: &str, whiteouts| LayerSource { whiteouts, ..place.path(name).into() };
    let both = [folder("devices", Whiteouts::Overlay), folder("names", Whiteouts::Names)];
    let owners = Owners::Recorded;
    let [devices, names] = both.map(|upper| {
        let changes =
            changes(&upper, UpperForm::Changes, &place.layers(&["low"]), &owners).unwrap();
        let layer = layer_tar(&upper, &owners, Vec::new()).unwrap();
        let low = place.path("low").into();
        let merged = merged_tar(&[upper, low], &owners, Vec::new()).unwrap();
        (changes, place.list(&layer), place.list(&merged))
    });
    assert_eq!(devices.0.len(), 9, "{:?}", devices.0);
    assert_eq!(devices, names);
    // As names, the whiteouts are files, and no layer can have such files.
    assert!(layer(&place.path("names")).is_err());
}

/// As our overlay writes them: a name that was removed and made again keeps its whiteout.
#[test]
fn files_beside_the_whiteout_of_their_name_are_the_layer_s_own() {
    let place = Place::new();
    for name in ["low/file", "low/folder/old", "low/gone"] {
        place.file(name, "old");
    }
    for root in ["devices", "names"] {
        place.file(&format!("{root}/file"), "new");
        place.file(&format!("{root}/folder/new"), "new");
    }
    place.whiteout("devices/gone");
    place.opaque("devices/folder");
    for name in ["file", "folder", "gone", ".wh.plnk"] {
        place.file(&format!("names/.wh.{name}"), "");
    }
    place.same_times();
    let folder = |name: &str, whiteouts| LayerSource { whiteouts, ..place.path(name).into() };
    let both = [folder("devices", Whiteouts::Overlay), folder("names", Whiteouts::Names)];
    let owners = Owners::Recorded;
    let [devices, names] = both.map(|upper| {
        let changes =
            changes(&upper, UpperForm::Changes, &place.layers(&["low"]), &owners).unwrap();
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        let layer = layer_tar(&upper, &owners, Vec::new()).unwrap();
        let merged = merged_tar(&[upper, place.path("low").into()], &owners, Vec::new()).unwrap();
        (changes, place.list(&layer), place.list(&merged))
    });
    assert_eq!(devices.0, ["C /file", "C /folder", "A /folder/new", "D /folder/old", "D /gone"]);
    assert_eq!(devices, names);
}

/// A process of the container can set these attributes on a root that is a copy.
#[test]
fn attributes_of_overlayfs_mean_nothing_in_a_copied_tree() {
    let place = Place::new();
    place.file("low/d/old", "old");
    place.file("up/d/old", "old");
    place.file("up/d/new", "new");
    place.opaque("up/d");
    place.same_times();
    let (upper, owners) = (place.path("up").into(), Owners::Recorded);
    let changed = changes(&upper, UpperForm::Whole, &place.layers(&["low"]), &owners).unwrap();
    let tar = changes_tar(&upper, &changed, &owners, Vec::new()).unwrap();
    let names: Vec<_> =
        place.list(&tar).iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["d/", "d/new"]);
}

#[test]
fn a_copy_with_other_ids_has_the_image_s_owners() {
    let place = Place::new();
    place.file("up/file", "");
    place.same_times();
    let metadata = place.path("up/file").metadata().unwrap();
    let line = |id| vec![IdMap::new(7, id, 1)];
    let shown = IdMaps::new(line(metadata.uid()), line(metadata.gid()));
    let upper = LayerSource { shown: Some(shown), ..place.path("up").into() };
    let owners = Owners::Recorded;
    let changed = changes(&upper, UpperForm::Whole, &[], &owners).unwrap();
    for tar in [
        layer_tar(&upper, &owners, Vec::new()),
        changes_tar(&upper, &changed, &owners, Vec::new()),
        merged_tar(std::slice::from_ref(&upper), &owners, Vec::new()),
    ] {
        let listed = place.list(&tar.unwrap());
        assert!(listed.iter().any(|line| line.contains(" 7/7 ")), "{listed:?}");
    }
}

#[test]
fn changes_are_those_of_docker_diff() {
    let place = Place::new();
    for name in
        ["low/etc/passwd", "low/etc/gone", "low/bin/sh", "low/old/a", "low/old/b/c", "low/was/x"]
    {
        place.file(name, "old");
    }
    place.file("low2/lib/l", "old");
    place.file("low/file", "old");
    place.file("up/etc/passwd", "new");
    place.whiteout("up/etc/gone");
    place.whiteout("up/never");
    place.dir("up/bin");
    place.file("up/lib/l", "changed");
    place.file("up/new/n", "");
    place.opaque("up/old");
    place.file("up/old/b/d", "");
    place.whiteout("up/was");
    place.dir("up/file");
    symlink("/etc", place.path("up/link")).unwrap();
    place.same_times();
    assert_eq!(
        place.changes("up", &["low", "low2"]),
        [
            "C /etc",
            "D /etc/gone",
            "C /etc/passwd",
            "C /file",
            "C /lib",
            "C /lib/l",
            "A /link",
            "A /new",
            "A /new/n",
            "C /old",
            "D /old/a",
            "C /old/b",
            "D /old/b/c",
            "A /old/b/d",
            "D /was",
        ]
    );
    fs::set_permissions(place.path("up/bin"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(place.changes("up", &["low", "low2"]).contains(&"C /bin".to_owned()));
    assert_eq!(place.changes("low2", &[]), ["A /lib", "A /lib/l"]);
    assert_eq!(place.changes("low2", &["low2"]), ["C /lib", "C /lib/l"]);
}

#[test]
fn a_whiteout_may_be_an_attribute() {
    let place = Place::new();
    place.file("up/kept", "");
    set(&place.file("up/gone", ""), "user.overlay.whiteout", b"y");
    set(&place.file("up/content", "x"), "user.overlay.whiteout", b"y");
    set(&place.path("up"), "user.overlay.opaque", b"x");
    own(&place.path("up"));
    place.same_times();
    let tar = layer(&place.path("up")).unwrap();
    let listed = place.list(&tar);
    let names: Vec<_> = listed.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(names, ["content", ".wh.gone", "kept"]);
}

#[test]
fn a_layers_tar_has_all_kinds_of_files_in_order() {
    let place = Place::new();
    place.file("up/b/file", "12345");
    place.file("up/b-c", "");
    fs::hard_link(place.path("up/b/file"), place.path("up/b/again")).unwrap();
    fs::hard_link(place.path("up/b/file"), place.path("up/z")).unwrap();
    symlink("../out", place.path("up/b/link")).unwrap();
    place.opaque("up/o");
    place.file("up/o/kept", "");
    place.whiteout("up/gone");
    let long = format!("up/{}/{}", "d".repeat(120), "é".repeat(60));
    place.file(&long, "long");
    rustix::fs::mknodat(CWD, place.path("up/pipe"), OnDisk::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("up/socket")).unwrap();
    fs::set_permissions(place.path("up/b/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    own(&place.path("up"));
    let device = place.file("up/null", "");
    set(&device, "user.containers.override_stat", b"5:7:0666:char-1-3");
    set(&device, "user.kept", b"a\nb");
    place.same_times();

    let tar = layer(&place.path("up")).unwrap();
    let me = rustix::process::geteuid().as_raw();
    let us = rustix::process::getegid().as_raw();
    let listed = place.list(&tar);
    let expected = [
        "drwxr-xr-x 0/0 0 b/".to_owned(),
        "-rwsr-xr-x 0/0 5 b/again".to_owned(),
        "hrwsr-xr-x 0/0 0 b/file link to b/again".to_owned(),
        format!("lrwxrwxrwx {me}/{us} 0 b/link -> ../out"),
        "-rw-r--r-- 0/0 0 b-c".to_owned(),
        format!("drwxr-xr-x 0/0 0 {}/", "d".repeat(120)),
        format!("-rw-r--r-- 0/0 4 {}/{}", "d".repeat(120), "\\303\\251".repeat(60)),
        "---------- 0/0 0 .wh.gone".to_owned(),
        "crw-rw-rw- 5/7 1,3 null".to_owned(),
        "drwxr-xr-x 0/0 0 o/".to_owned(),
        "---------- 0/0 0 o/.wh..wh..opq".to_owned(),
        "-rw-r--r-- 0/0 0 o/kept".to_owned(),
        format!("prw------- {me}/{us} 0 pipe"),
        "hrwsr-xr-x 0/0 0 z link to b/again".to_owned(),
    ];
    // A folder comes right before its content.
    let unlinked = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.retain(|line| !line.contains(" b/link") && !line.contains(" pipe"));
        lines
    };
    assert_eq!(unlinked(&listed), unlinked(&expected));
    assert_eq!(layer(&place.path("up")).unwrap(), tar, "the same twice");
    let holds = |text: &[u8]| tar.windows(text.len()).any(|window| window == text);
    assert!(holds(b"SCHILY.xattr.user.kept=a\nb\n"));
    assert!(!holds(b"override_stat") && !holds(b"overlay.opaque"));
}

#[test]
fn files_that_a_layer_cannot_hold_are_an_error() {
    let place = Place::new();
    place.file("up/a/.wh.x", "");
    let error = layer(&place.path("up")).unwrap_err().to_string();
    assert_eq!(error, "/a/.wh.x: no layer can have a file of this name: .wh. begins a whiteout");
    fs::remove_file(place.path("up/a/.wh.x")).unwrap();
    assert!(layer(&place.path("nothing")).unwrap_err().to_string().contains("No such file"));
}

#[test]
fn what_anybody_in_a_container_can_set_hides_no_file() {
    let place = Place::new();
    let marks = [
        ("user.overlay.redirect", "/b"),
        ("user.overlay.metacopy", ""),
        ("user.containers.override_stat", "root"),
    ];
    for (number, (name, value)) in marks.iter().enumerate() {
        set(&place.file(&format!("up/{number}"), "x"), name, value.as_bytes());
        set(&place.dir(&format!("up/folder-{number}")), name, value.as_bytes());
    }
    place.same_times();
    let listed = place.list(&layer(&place.path("up")).unwrap());
    assert_eq!(listed.len(), 2 * marks.len(), "{listed:?}");
    // A tree from an overlay, or a whole tree, has no whiteouts.
    set(&place.file("part/empty", ""), "user.overlay.whiteout", b"y");
    place.whiteout("part/device");
    place.same_times();
    let root = fs::File::open(place.path("part")).unwrap();
    let part = TarPart { path: Path::new("."), last: LastLink::Followed, name: ".".as_ref() };
    let listed = place.list(&part_tar(&root, &part, &Owners::Recorded, Vec::new()).unwrap());
    assert_eq!(listed.len(), 3, "{listed:?}");
}

#[test]
fn setuid_that_is_in_an_attribute_alone_is_of_an_image_or_of_nobody() {
    let place = Place::new();
    let name = "user.containers.override_stat";
    set(&place.file("up/forged", "x"), name, b"0:0:4755");
    let given = place.file("up/given", "x");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o6755)).unwrap();
    set(&given, name, b"0:5:6755");
    place.same_times();
    let image = LayerSource::from(place.path("up"));
    let written = LayerSource { is_written: true, ..image.clone() };
    for (folder, forged) in [(image, "-rwsr-xr-x 0/0"), (written, "-rwxr-xr-x 0/0")] {
        let listed = place.list(&layer_tar(&folder, &Owners::Recorded, Vec::new()).unwrap());
        assert!(listed.iter().any(|line| line.starts_with(forged)), "{listed:?}");
        assert!(listed.iter().any(|line| line.starts_with("-rwsr-sr-x 0/5")), "{listed:?}");
    }
}

#[test]
fn a_record_counts_with_real_owners_only_where_those_could_not_be_had() {
    use crate::ids::{IdMap, IdMaps};
    let place = Place::new();
    let forged = place.file("up/forged", "");
    set(&forged, "user.containers.override_stat", b"0:0:4755");
    let far = place.file("up/real", "");
    set(&far, "user.containers.override_stat", b"70000:70000:2755");
    place.same_times();
    let line = vec![IdMap::new(0, 0, 65536)];
    let owners = Owners::Mapped(IdMaps::new(line.clone(), line));
    let listed = place.list(&layer_tar(&place.path("up").into(), &owners, Vec::new()).unwrap());
    assert!(listed[0].starts_with("-rw-r--r--"), "{listed:?}");
    assert_eq!(listed[1], "-rwxr-sr-x 70000/70000 0 real");
}

#[test]
fn a_merged_tree_honours_whiteouts_and_opaque_folders() {
    let place = Place::new();
    for name in ["l0/a/one", "l0/b/x", "l0/c/d/deep", "l0/f", "l0/g/h", "l0/keep"] {
        place.file(name, "0");
    }
    place.file("l1/a/two", "11");
    place.whiteout("l1/a/one");
    place.opaque("l1/b");
    place.file("l1/b/y", "11");
    place.whiteout("l1/c");
    place.dir("l1/f");
    place.file("l1/g", "11");
    place.file("l2/c/new", "222");
    place.whiteout("l2/a/two");
    place.file("l2/f/in", "222");
    place.whiteout("l2/none");
    symlink("a", place.path("l2/z")).unwrap();
    own(&place.path("l0"));
    own(&place.path("l1"));
    own(&place.path("l2"));
    place.same_times();
    let names = |layers: &[&str]| -> Vec<String> {
        let tar = merged_tar(&place.layers(layers), &Owners::Recorded, Vec::new()).unwrap();
        let line = |line: String| line.split(' ').skip(2).collect::<Vec<_>>().join(" ");
        let lines = place.list(&tar).into_iter().map(line);
        lines.filter(|line| !line.contains(" z ")).collect()
    };
    assert_eq!(
        names(&["l2", "l1", "l0"]),
        ["0 a/", "0 b/", "2 b/y", "0 c/", "3 c/new", "0 f/", "3 f/in", "2 g", "1 keep"]
    );
    assert_eq!(names(&["l0"]).len(), 11);
    assert_eq!(names(&[]), Vec::<String>::new());
    let error = merged_tar(&place.layers(&["no"]), &Owners::Recorded, Vec::new()).unwrap_err();
    assert!(error.to_string().contains("No such file"));
}

#[test]
fn no_link_of_a_layer_is_followed() {
    let place = Place::new();
    place.file("secret/s", "the host's");
    place.file("l0/d/f", "0");
    symlink(place.path("secret"), place.dir("l1").join("d")).unwrap();
    place.same_times();
    let tar = merged_tar(&place.layers(&["l1", "l0"]), &Owners::Recorded, Vec::new()).unwrap();
    assert!(!String::from_utf8_lossy(&tar).contains("the host's"));
    assert_eq!(place.changes("l1", &["l0"]), ["C /d"]);
}

#[derive(Clone, Debug)]
enum Op {
    File(String),
    Folder(String),
    Opaque(String),
    Whiteout(String),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let path = "[ab](/[ab]){0,2}";
    let op = prop_oneof![
        path.prop_map(Op::File),
        path.prop_map(Op::Folder),
        path.prop_map(Op::Opaque),
        path.prop_map(Op::Whiteout),
    ];
    proptest::collection::vec(op, 0..6)
}

/// The tree that overlayfs shows: each layer applied to the tree below, path by path. `None`: a folder.
fn model(layers: &[BTreeMap<String, Op>]) -> BTreeMap<String, Option<usize>> {
    let mut tree: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (number, layer) in layers.iter().enumerate() {
        let mut next = tree.clone();
        for (path, op) in layer {
            let below = format!("{path}/");
            let is_folder = matches!(op, Op::Folder(_) | Op::Opaque(_));
            if !is_folder || matches!(op, Op::Opaque(_)) || !matches!(next.get(path), Some(None)) {
                next.retain(|other, _| other != path && !other.starts_with(&below));
            }
            match op {
                Op::File(_) => drop(next.insert(path.clone(), Some(number))),
                Op::Whiteout(_) => {}
                Op::Folder(_) | Op::Opaque(_) => drop(next.insert(path.clone(), None)),
            }
        }
        tree = next;
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_layers_merge_as_overlayfs_would(layers in proptest::collection::vec(ops(), 1..4)) {
        let place = Place::new();
        let mut made = Vec::new();
        for (number, ops) in layers.iter().enumerate() {
            let root = format!("l{number}");
            place.dir(&root);
            let mut layer: BTreeMap<String, Op> = BTreeMap::new();
            for op in ops {
                let (Op::File(path) | Op::Folder(path) | Op::Opaque(path) | Op::Whiteout(path)) = op;
                let parents: Vec<String> = Path::new(path).ancestors().skip(1)
                    .map(|parent| parent.to_str().unwrap().to_owned()).filter(|parent| !parent.is_empty()).collect();
                let is_taken = layer.contains_key(path) || parents.iter().any(|parent| {
                    matches!(layer.get(parent), Some(Op::File(_) | Op::Whiteout(_)))
                });
                if is_taken {
                    continue;
                }
                for parent in parents {
                    layer.entry(parent.clone()).or_insert(Op::Folder(parent));
                }
                let name = format!("{root}/{path}");
                match op {
                    Op::File(_) => drop(place.file(&name, &number.to_string())),
                    Op::Folder(_) => drop(place.dir(&name)),
                    Op::Opaque(_) => place.opaque(&name),
                    Op::Whiteout(_) => place.whiteout(&name),
                }
                layer.insert(path.clone(), op.clone());
            }
            made.push(layer);
        }
        place.same_times();
        let folders: Vec<LayerSource> = (0..layers.len()).rev().map(|number| place.path(&format!("l{number}")).into()).collect();
        let tar = merged_tar(&folders, &Owners::Recorded, Vec::new()).unwrap();
        let out = place.dir("out");
        fs::write(place.path("m.tar"), tar).unwrap();
        let done = Command::new("tar").arg("xf").arg(place.path("m.tar")).arg("-C").arg(&out).status().unwrap();
        prop_assert!(done.success());
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&out).min_depth(1) {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(&out).unwrap().to_str().unwrap().to_owned();
            let content = entry.file_type().is_file().then(|| fs::read_to_string(entry.path()).unwrap().parse().unwrap());
            found.insert(name, content);
        }
        prop_assert_eq!(found, model(&made));
    }
}
