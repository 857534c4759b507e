//! Tests of the overlay without a mount: real folders and images, and calls as the server makes them.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::*;
use crate::layer::override_stat::Records;
use crate::layer::whiteout::Whiteouts;

mod forms;
mod images;

struct Ground {
    place: tempfile::TempDir,
}

impl Ground {
    fn new(lowers: usize) -> Self {
        let ground = Self { place: tempfile::tempdir().expect("a folder") };
        for name in ["upper".into(), "work".into()].into_iter().chain((0..lowers).map(lower)) {
            fs::create_dir(ground.path(&name)).expect("a folder");
        }
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
    }

    fn layers(&self) -> OpenLayers {
        let mut lowers = Vec::new();
        while self.path(&lower(lowers.len())).exists() {
            let root = self.path(&lower(lowers.len()));
            lowers.push(match images::are_wanted() {
                true => LowerSource::Image(images::packed(&root)),
                false => LowerSource::Folder(folder(&root)),
            });
        }
        let upper = Some((folder(&self.path("upper")), folder(&self.path("work"))));
        OverlayLayers { lowers, upper }.open(|| images::LIMITS).expect("layers")
    }

    fn tree(&self) -> OverlayTree {
        self.tree_reading(OverlayRules::default())
    }

    fn tree_reading(&self, rules: OverlayRules) -> OverlayTree {
        OverlayTree::new(self.layers(), rules).expect("a tree")
    }
}

fn lower(number: usize) -> String {
    format!("lower{number}")
}

fn folder(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    rustix::fs::open(path, flags, Mode::empty()).expect("a folder")
}

fn us() -> FsCaller {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    FsCaller { uid: uid.as_raw(), gid: gid.as_raw(), umask: 0o022 }
}

/// Returns the number of the file at a path.
fn walk(tree: &OverlayTree, path: &str) -> Option<u64> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(ROOT, |parent, name| {
        let entry = tree.look_up(parent, OsStr::new(name)).expect("a lookup")?;
        Some(entry.attributes.number)
    })
}

fn content(tree: &OverlayTree, path: &str) -> String {
    let id = walk(tree, path).expect("a file");
    let file = tree.open(id, libc::O_RDONLY, us()).expect("opened");
    String::from_utf8(bytes(tree, &file, 4096)).expect("text")
}

/// Reads the first bytes of an open file, at most `size`.
fn bytes(tree: &OverlayTree, file: &OpenFile, size: usize) -> Vec<u8> {
    match tree.read(file, 0, size, &mut Vec::new()).expect("read") {
        FileBytes::Copied(bytes) => bytes.to_vec(),
        FileBytes::OfBlock(block, range) => block[range].to_vec(),
    }
}

fn names(tree: &OverlayTree, path: &str, detail: Detail) -> Vec<String> {
    let mut names = Vec::new();
    tree.read_folder(walk(tree, path).expect("a folder"), 0, detail, &mut |item| {
        names.push(item.name.to_string_lossy().into_owned());
        ReplyRoom::Left
    })
    .expect("read");
    names.retain(|name| !matches!(name.as_str(), "." | ".."));
    names.sort();
    names
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

#[test]
fn the_topmost_layer_decides_and_folders_are_one() {
    let ground = Ground::new(2);
    ground.write("lower0/d/a", "upper a");
    ground.write("lower1/d/a", "lower a");
    ground.write("lower1/d/b", "b");
    ground.write("lower1/file", "file");
    let tree = ground.tree();
    assert_eq!(content(&tree, "d/a"), "upper a");
    assert_eq!(content(&tree, "d/b"), "b");
    assert_eq!(names(&tree, "d", Detail::Names), ["a", "b"]);
    assert_eq!(names(&tree, "", Detail::Entries), ["d", "file"]);
    assert_eq!(walk(&tree, "nothing"), None);
    assert_eq!(
        tree.look_up(walk(&tree, "file").unwrap(), "x".as_ref()).unwrap_err(),
        Errno::NOTDIR
    );
}

#[test]
fn whiteouts_of_every_form_hide_what_is_below() {
    let ground = Ground::new(2);
    for name in ["device", "attribute", "name", "d/in"] {
        ground.write(&format!("lower1/{name}"), name);
    }
    let kind = rustix::fs::FileType::CharacterDevice;
    let device = ground.path("lower0/device");
    rustix::fs::mknodat(rustix::fs::CWD, device, kind, Mode::empty(), 0).expect("a whiteout");
    ground.write("lower0/.wh.name", "");
    ground.write("lower0/d/.wh..wh..opq", "");
    ground.write("lower0/attribute", "");
    let set = |name: &str, attribute: &str, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(ground.path(name), attribute, value, flags).expect("an attribute");
    };
    set("lower0", "user.overlay.opaque", b"x");
    set("lower0/attribute", "user.overlay.whiteout", b"y");
    let tree = ground
        .tree_reading(OverlayRules { whiteouts: Whiteouts::Names, ..OverlayRules::default() });
    for name in ["device", "attribute", "name", "d/in", ".wh.name"] {
        assert_eq!(walk(&tree, name), None, "{name}");
    }
    assert_eq!(names(&tree, "", Detail::Names), ["d"]);
    // Without whiteout names these are ordinary files.
    let tree =
        OverlayTree::new(OpenLayers { upper: None, ..ground.layers() }, OverlayRules::default())
            .unwrap();
    assert_eq!(content(&tree, "name"), "name");
    assert!(walk(&tree, ".wh.name").is_some());
}

#[test]
fn a_write_copies_up_and_the_number_stays() {
    let ground = Ground::new(1);
    ground.write("lower0/d/file", "old");
    fs::set_permissions(ground.path("lower0/d/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    let tree = ground.tree();
    let id = walk(&tree, "d/file").unwrap();
    let reader = tree.open(id, libc::O_RDONLY, us()).unwrap();
    let before = tree.attributes(id).unwrap();
    let file = tree.open(id, libc::O_RDWR, us()).unwrap();
    assert_eq!(tree.attributes(id).unwrap().modified, before.modified);
    tree.write(&file, 3, b" and new", WritePrivileges::Kept).unwrap();
    assert_eq!(fs::read_to_string(ground.path("lower0/d/file")).unwrap(), "old");
    assert_eq!(fs::read_to_string(ground.path("upper/d/file")).unwrap(), "old and new");
    let after = tree.attributes(id).unwrap();
    assert_eq!((after.number, after.mode & 0o7777), (id, 0o4751));
    assert_eq!(walk(&tree, "d/file"), Some(id));
    assert_eq!(
        bytes(&tree, &reader, 32),
        b"old and new",
        "a descriptor from before sees what it is now"
    );
    tree.write(&file, 0, b"O", WritePrivileges::DroppedBy(us())).unwrap();
    assert_eq!(tree.attributes(id).unwrap().mode & 0o7777, 0o751);
}

#[test]
fn removed_files_stay_removed_and_open_ones_stay() {
    let ground = Ground::new(1);
    ground.write("lower0/d/file", "lower");
    let tree = ground.tree();
    let id = walk(&tree, "d/file").unwrap();
    let d = walk(&tree, "d").unwrap();
    let open = tree.open(id, libc::O_RDONLY, us()).unwrap();
    assert_eq!(tree.remove_folder(ROOT, "d".as_ref()).unwrap_err(), Errno::NOTEMPTY);
    tree.unlink(d, "file".as_ref()).unwrap();
    assert!(is_whiteout(&ground.path("upper/d/file")));
    assert_eq!(bytes(&tree, &open, 8), b"lower");
    let (entry, _) = tree.create(d, "file".as_ref(), 0o644, libc::O_RDWR, us()).unwrap();
    assert_ne!(entry.attributes.number, id);
    assert_eq!(content(&tree, "d/file"), "");
    tree.unlink(d, "file".as_ref()).unwrap();
    tree.remove_folder(ROOT, "d".as_ref()).unwrap();
    assert!(is_whiteout(&ground.path("upper/d")));
    assert_eq!(names(&tree, "", Detail::Entries), Vec::<String>::new());
    // The new folder has no entries of the old one.
    tree.make(ROOT, "d".as_ref(), NewFile::Folder(0o755), us()).unwrap();
    assert_eq!(names(&tree, "d", Detail::Entries), Vec::<String>::new());
    drop(tree);
    assert_eq!(names(&ground.tree(), "d", Detail::Entries), Vec::<String>::new());
    assert_eq!(fs::read_dir(ground.path("work/work")).unwrap().count(), 0);
}

#[test]
fn hard_links_stay_one_file_also_in_the_next_life() {
    let ground = Ground::new(1);
    ground.write("lower0/one", "old");
    fs::create_dir(ground.path("lower0/d")).unwrap();
    fs::hard_link(ground.path("lower0/one"), ground.path("lower0/d/two")).unwrap();
    let tree = ground.tree();
    let id = walk(&tree, "one").unwrap();
    let file = tree.open(id, libc::O_RDWR, us()).unwrap();
    tree.write(&file, 0, b"new", WritePrivileges::Kept).unwrap();
    assert_eq!(walk(&tree, "d/two"), Some(id));
    assert_eq!(content(&tree, "d/two"), "new");
    assert_eq!(tree.attributes(id).unwrap().links, 2);
    tree.unlink(ROOT, "one".as_ref()).unwrap();
    assert_eq!(content(&tree, "d/two"), "new");
    drop((tree, file));
    let tree = ground.tree();
    assert_eq!(content(&tree, "d/two"), "new");
    tree.unlink(walk(&tree, "d").unwrap(), "two".as_ref()).unwrap();
    assert_eq!(walk(&tree, "d/two"), None);
}

#[test]
fn a_folder_of_a_lower_layer_is_not_moved_and_one_of_ours_is() {
    let ground = Ground::new(1);
    ground.write("lower0/d/file", "lower");
    let tree = ground.tree();
    let rename = |from: &str, to: &str| {
        tree.rename(ROOT, OsStr::new(from), ROOT, OsStr::new(to), RenameMode::Replace)
    };
    walk(&tree, "d");
    assert_eq!(rename("d", "e").unwrap_err(), Errno::XDEV);
    tree.make(ROOT, "own".as_ref(), NewFile::Folder(0o755), us()).unwrap();
    let own = walk(&tree, "own").unwrap();
    tree.make(own, "in".as_ref(), NewFile::Node(libc::S_IFREG | 0o644, 0), us()).unwrap();
    rename("own", "other").unwrap();
    assert_eq!(walk(&tree, "own"), None);
    assert_eq!(walk(&tree, "other"), Some(own));
    assert_eq!(content(&tree, "other/in"), "");
}

#[test]
fn nodes_are_kept_as_long_as_the_kernel_or_a_child_needs_them() {
    let ground = Ground::new(1);
    ground.write("lower0/a/b/c", "");
    let tree = ground.tree();
    let ids: Vec<u64> = ["a", "a/b", "a/b/c"].map(|path| walk(&tree, path).unwrap()).to_vec();
    assert_eq!(tree.node_count(), 4);
    // Looked up three, two and one times. The folders first: their child keeps them.
    tree.forget(ids[0], 3);
    tree.forget(ids[1], 2);
    assert_eq!(tree.node_count(), 4);
    tree.forget(ids[2], 1);
    assert_eq!(tree.node_count(), 1);
    assert_eq!(tree.attributes(ids[2]).unwrap_err(), Errno::STALE);
}

#[test]
fn a_list_stays_as_it_was_while_the_folder_changes() {
    let ground = Ground::new(1);
    for name in ["a", "b", "c"] {
        ground.write(&format!("lower0/{name}"), "");
    }
    let tree = ground.tree();
    let mut seen = Vec::new();
    let mut offset = 0;
    for turn in 0..6 {
        let mut next = offset;
        let mut visit = |item: Item<'_>| {
            if seen.len() > turn {
                return ReplyRoom::None;
            }
            seen.push(item.name.to_string_lossy().into_owned());
            next = item.next;
            ReplyRoom::Left
        };
        tree.read_folder(ROOT, offset, Detail::Names, &mut visit).unwrap();
        offset = next;
        let _ = tree.unlink(ROOT, ["a", "b", "c"][turn % 3].as_ref());
        let _ = tree.create(ROOT, format!("new{turn}").as_ref(), 0o644, 2, us());
    }
    seen.sort();
    assert_eq!(seen, [".", "..", "a", "b", "c"]);
}

/// As when too many folders are read at once, and no list is kept.
#[test]
fn reading_goes_on_in_a_list_made_anew_and_misses_nothing_that_stayed() {
    let ground = Ground::new(1);
    for number in 0..2000 {
        ground.write(&format!("lower0/{number}"), "");
    }
    let tree = ground.tree();
    let mut seen = Vec::new();
    let mut offset = 0;
    loop {
        let (before, mut next) = (seen.len(), offset);
        let mut visit = |item: Item<'_>| {
            if seen.len() == before + 50 {
                return ReplyRoom::None;
            }
            seen.push(item.name.to_string_lossy().into_owned());
            next = item.next;
            ReplyRoom::Left
        };
        tree.read_folder(ROOT, offset, Detail::Names, &mut visit).unwrap();
        if seen.len() == before {
            break;
        }
        offset = next;
        assert!(offset <= 1 << 31, "a program of 32 bits has no room for {offset}");
        // Listed files are removed, and others are made.
        for name in &seen[before..] {
            if let Ok(number) = name.parse::<u32>() {
                walk(&tree, name).unwrap();
                tree.unlink(ROOT, name.as_ref()).unwrap();
                tree.create(ROOT, format!("new{number}").as_ref(), 0o644, 2, us()).unwrap();
            }
        }
        tree.lists.drop(ROOT);
    }
    seen.retain(|name| name.parse::<u32>().is_ok());
    let told = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((told, seen.len()), (2000, 2000));
}

#[test]
fn recorded_owners_are_shown_and_remembered() {
    let ground = Ground::new(1);
    ground.write("lower0/file", "");
    let flags = rustix::fs::XattrFlags::empty();
    let record = |name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(ground.path(name), "user.containers.override_stat", value, flags)
            .expect("an attribute");
    };
    record("lower0/file", b"33:44:4755");
    ground.write("lower0/broken", "");
    record("lower0/broken", b"33:44:999");
    ground.write("lower0/null", "");
    record("lower0/null", b"0:0:666:char-1-3");
    let tree = ground
        .tree_reading(OverlayRules { records: Records::Everywhere, ..OverlayRules::default() });
    let id = walk(&tree, "file").unwrap();
    let shown = tree.attributes(id).unwrap();
    assert_eq!((shown.uid, shown.gid, shown.mode), (33, 44, libc::S_IFREG | 0o4755));
    let change = AttributeChange { uid: Some(55), mode: Some(0o600), ..AttributeChange::default() };
    let shown = tree.change(id, change, None, us()).unwrap();
    assert_eq!((shown.uid, shown.gid, shown.mode), (55, 44, libc::S_IFREG | 0o600));
    assert_eq!(tree.look_up(ROOT, "broken".as_ref()).unwrap_err(), Errno::IO);
    let null = tree.attributes(walk(&tree, "null").unwrap()).unwrap();
    assert_eq!((null.mode, null.rdev), (libc::S_IFCHR | 0o666, rustix::fs::makedev(1, 3)));
    assert!(tree.xattrs(id).unwrap().is_empty());
    let block = NewFile::Node(libc::S_IFBLK | 0o600, rustix::fs::makedev(8, 1));
    let made = tree.make(ROOT, "disk".as_ref(), block, us()).unwrap();
    assert_eq!(made.attributes.mode, libc::S_IFBLK | 0o600);
    assert_eq!(made.attributes.rdev, rustix::fs::makedev(8, 1));
}

#[test]
fn recorded_owners_of_lower_layers_are_real_above() {
    let ground = Ground::new(2);
    let flags = rustix::fs::XattrFlags::empty();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let record = format!("{uid}:{gid}:1640");
    for name in ["lower0/above", "lower1/below", "upper/upper"] {
        ground.write(name, "");
        let path = ground.path(name);
        rustix::fs::lsetxattr(path, "user.containers.override_stat", record.as_bytes(), flags)
            .expect("an attribute");
    }
    ground.write("lower1/without", "");
    let mode = |tree: &OverlayTree, name: &str| {
        let shown = tree.attributes(walk(tree, name).unwrap()).unwrap();
        (shown.uid, shown.gid, shown.mode & 0o7777)
    };
    let recorded = OverlayRules { records: Records::InLowers, ..OverlayRules::default() };
    let tree = ground.tree_reading(recorded.clone());
    assert_eq!(mode(&tree, "below"), (uid, gid, 0o1640));
    assert_eq!(mode(&tree, "above"), (uid, gid, 0o1640));
    assert_eq!(mode(&tree, "upper"), (uid, gid, 0o644));
    assert_eq!(mode(&tree, "without"), (0, 0, 0o644));
    // A copied-up file has the recorded values for real, and no record remains.
    let below = walk(&tree, "below").unwrap();
    assert!(tree.xattrs(below).unwrap().is_empty());
    let change = AttributeChange { modified: Some(NewTime::Now), ..AttributeChange::default() };
    assert_eq!(tree.change(below, change, None, us()).unwrap().mode & 0o7777, 0o1640);
    assert_eq!(mode(&tree, "below"), (uid, gid, 0o1640));
    let on_disk = fs::metadata(ground.path("upper/below")).unwrap();
    assert_eq!(on_disk.permissions().mode() & 0o7777, 0o1640);
    let copied = ground.path("upper/below");
    assert!(rustix::fs::lgetxattr_query(copied, "user.containers.override_stat").is_err());
    drop(tree);
    // The topmost lower layer may be a container's own.
    let tree = ground.tree_reading(OverlayRules { real_lowers: 1, ..recorded.clone() });
    assert_eq!(mode(&tree, "above"), (uid, gid, 0o644));
    drop(tree);
    // A single user owns all files.
    let tree = ground.tree_reading(OverlayRules { has_one_id: true, ..recorded });
    assert_eq!(mode(&tree, "without"), (uid, gid, 0o644));
    assert_eq!(tree.xattrs(walk(&tree, "above").unwrap()).unwrap().len(), 30);
}

#[test]
fn marks_of_the_kernels_overlay_that_usnea_does_not_know_are_refused() {
    let ground = Ground::new(2);
    let flags = rustix::fs::XattrFlags::empty();
    fs::create_dir(ground.path("lower0/moved")).unwrap();
    let moved = ground.path("lower0/moved");
    rustix::fs::lsetxattr(moved, "user.overlay.redirect", b"/elsewhere", flags).unwrap();
    let hole = fs::File::create(ground.path("lower0/hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    let path = ground.path("lower0/hole");
    rustix::fs::lsetxattr(path, "user.overlay.metacopy", b"", flags).unwrap();
    let tree = ground.tree();
    assert_eq!(tree.look_up(ROOT, "moved".as_ref()).unwrap_err(), Errno::PERM);
    let id = walk(&tree, "hole").unwrap();
    for flags in [libc::O_RDONLY, libc::O_RDWR] {
        assert!(matches!(tree.open(id, flags, us()), Err(Errno::IO)));
    }
}

#[test]
fn one_upper_layer_has_one_server() {
    let ground = Ground::new(1);
    let tree = ground.tree();
    assert!(matches!(OverlayTree::new(ground.layers(), OverlayRules::default()), Err(Errno::BUSY)));
    drop(tree);
    drop(ground.tree());
}
