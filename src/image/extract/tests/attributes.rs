//! Owners, modes, times, extended attributes.

use super::*;
use crate::image::owners::{FileType, OVERRIDE_STAT, OverrideStat};

fn record(node: &Node) -> Option<OverrideStat> {
    node.xattrs.get(OVERRIDE_STAT).map(|value| OverrideStat::parse(value).unwrap())
}

fn stat(uid: u32, gid: u32, mode: u32, file_type: FileType) -> OverrideStat {
    OverrideStat { uid, gid, mode, file_type: Some(file_type) }
}

#[test]
fn owners_and_setuid_are_recorded_and_not_on_disk() {
    let (place, _) = unpacked(Tar::of([
        Item::file("plain", "x"),
        Item::file("sudo", "x").mode(0o4755),
        Item::file("wall", "x").mode(0o2555).owner(0, 5),
        Item::folder("mail").mode(0o3775).owner(8, 8),
        Item::folder("closed").mode(0),
        Item::file("closed/inner", "x").mode(0).owner(1, 2),
        Item::symlink("link", "x").owner(1, 2),
        Item::folder("tmp").mode(0o1777),
    ]));
    let tree = place.tree();
    assert_eq!((record(&tree["plain"]), tree["plain"].mode), (None, 0o644));
    assert_eq!(record(&tree["sudo"]), Some(stat(0, 0, 0o4755, FileType::File)));
    assert_eq!(tree["sudo"].mode, 0o755);
    assert_eq!(record(&tree["wall"]), Some(stat(0, 5, 0o2555, FileType::File)));
    assert_eq!(tree["wall"].mode, 0o555);
    assert_eq!(record(&tree["mail"]), Some(stat(8, 8, 0o3775, FileType::Folder)));
    assert_eq!(tree["mail"].mode, 0o1775);
    assert_eq!(record(&tree["closed"]), Some(stat(0, 0, 0, FileType::Folder)));
    assert_eq!(tree["closed"].mode, 0o700);
    assert_eq!(record(&tree["closed/inner"]), Some(stat(1, 2, 0, FileType::File)));
    assert_eq!(tree["closed/inner"].mode, 0);
    assert_eq!((record(&tree["tmp"]), tree["tmp"].mode), (None, 0o1777));
    let process = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    assert!(tree.values().all(|node| node.owner == process), "{tree:?}");
}

#[test]
fn shared_layers_are_readable_for_all_and_writable_for_none() {
    let place = Place::new();
    let tar = Tar::of([
        Item::file("plain", "x"),
        Item::file("secret", "x").mode(0o600).owner(1, 2),
        Item::file("open", "x").mode(0o666),
        Item::file("sudo", "x").mode(0o4711),
        Item::folder("tmp").mode(0o1777),
        Item::folder("closed").mode(0),
        Item::file("closed/inner", "x").mode(0o666),
    ]);
    place.unpack_with(&tar.end(), &Owners::Shared, &LayerLimits::default()).unwrap();
    let tree = place.tree();
    for (name, mode, recorded) in [
        ("plain", 0o644, None),
        ("secret", 0o644, Some(stat(1, 2, 0o600, FileType::File))),
        ("open", 0o644, Some(stat(0, 0, 0o666, FileType::File))),
        ("sudo", 0o755, Some(stat(0, 0, 0o4711, FileType::File))),
        ("tmp", 0o755, Some(stat(0, 0, 0o1777, FileType::Folder))),
        ("closed", 0o755, Some(stat(0, 0, 0, FileType::Folder))),
        ("closed/inner", 0o644, Some(stat(0, 0, 0o666, FileType::File))),
    ] {
        assert_eq!((record(&tree[name]), tree[name].mode), (recorded, mode), "{name}");
    }
}

#[test]
fn owners_in_the_range_are_real_and_others_recorded() {
    if !is_root() {
        return; // chown(2) is root's
    }
    let place = Place::new();
    let tar = Tar::of([
        Item::folder("mail").mode(0o2775).owner(8, 12),
        Item::file("mail/root", "x"),
        Item::folder("mail/inner"),
        Item::symlink("mail/link", "x"),
        Item::pipe("mail/pipe"),
        Item::file("mail/missing/x", "x"),
        Item::file("sudo", "x").mode(0o4755).owner(1, 1),
        Item::symlink("link", "x").owner(3, 4),
        Item::pipe("pipe").owner(3, 4).mode(0o4622),
        Item::file("far", "x").mode(0o4755).owner(70_000, 1),
        Item::folder("far-folder").mode(0o2711).owner(1, 4_294_967_294),
        Item::folder("closed").mode(0).owner(5, 5),
        Item::file("closed/inner", "x"),
    ]);
    place.unpack_with(&tar.end(), &identity(), &LayerLimits::default()).unwrap();
    let tree = place.tree();
    let of = |name: &str| (tree[name].owner, tree[name].mode);
    assert_eq!(of("mail"), ((8, 12), 0o2775));
    for name in ["mail/root", "mail/link", "mail/pipe", "mail/missing/x", "closed/inner"] {
        assert_eq!(tree[name].owner, (0, 0), "{name}");
    }
    assert_eq!(of("mail/inner"), ((0, 0), 0o755));
    assert_eq!(of("mail/missing"), ((0, 0), 0o755));
    assert_eq!(of("sudo"), ((1, 1), 0o4755));
    assert_eq!(tree["link"].owner, (3, 4));
    assert_eq!(of("pipe"), ((3, 4), 0o4622));
    assert_eq!(of("far"), ((0, 0), 0o755));
    assert_eq!(record(&tree["far"]), Some(stat(70_000, 1, 0o4755, FileType::File)));
    assert_eq!(of("far-folder"), ((0, 0), 0o711));
    let far = stat(1, 4_294_967_294, 0o2711, FileType::Folder);
    assert_eq!(record(&tree["far-folder"]), Some(far));
    assert_eq!(of("closed"), ((5, 5), 0));
    let recorded = tree.values().filter(|node| record(node).is_some()).count();
    assert_eq!(recorded, 2);
}

#[test]
fn folders_keep_their_times_however_they_are_filled() {
    let (place, _) = unpacked(Tar::of([
        Item::folder("./").mtime(11).mode(0o750),
        Item::folder("a").mtime(1),
        Item::folder("a/b").mtime(2),
        Item::file("a/b/x", "x").mtime(3),
        Item::folder("c").mtime(4),
        Item::file("a/b/y", "y").pax("mtime", "5.123456789"),
        Item::file("a/z", "z").pax("mtime", "-1.5"),
        Item::symlink("c/link", "x").mtime(7),
        Item::hard_link("c/hard", "a/z"),
        Item::file("a/.wh.gone", ""),
        Item::file("a/b/.wh..wh..opq", ""),
        Item::folder("a").mtime(8).mode(0o711),
    ]));
    let tree = place.tree();
    let time = |name: &str| tree[name].mtime;
    assert_eq!((time("."), tree["."].mode), ((11, 0), 0o750));
    assert_eq!((time("a"), tree["a"].mode), ((8, 0), 0o711));
    assert_eq!([time("a/b"), time("c"), time("c/link")], [(2, 0), (4, 0), (7, 0)]);
    assert_eq!([time("a/b/x"), time("a/b/y")], [(3, 0), (5, 123_456_789)]);
    assert_eq!(time("a/z"), (-2, 500_000_000));
}

#[test]
fn missing_folders_are_roots_and_0755() {
    let (place, unpacked) = unpacked(Tar::of([Item::file("a/b/c", "x").owner(1, 1)]));
    let tree = place.tree();
    assert_eq!(names(&tree), [".", "a", "a/b", "a/b/c"]);
    assert_eq!((tree["a/b"].mode, record(&tree["a/b"]), tree["."].mode), (0o755, None, 0o755));
    assert_eq!(unpacked.entries, 3);
}

#[test]
fn devices_that_cannot_be_are_empty_files_that_say_so() {
    let (place, _) = unpacked(Tar::of([
        Item::device("dev/null", b'3', (1, 3)).mode(0o666),
        Item::device("dev/sda", b'4', (8, 0)).owner(0, 6),
    ]));
    let tree = place.tree();
    let null = &tree["dev/null"];
    assert_eq!((null.kind.as_str(), null.content.len(), null.mode), ("file", 0, 0o666));
    assert_eq!(record(null), Some(stat(0, 0, 0o666, FileType::Character(1, 3))));
    assert_eq!(record(&tree["dev/sda"]), Some(stat(0, 6, 0o660, FileType::Block(8, 0))));
}

#[test]
fn attributes_are_kept_but_for_those_that_are_not_the_layers() {
    let (place, _) = unpacked(Tar::of([
        Item::file("file", "x").mode(0o444).xattr("user.a", "1\n=\0").xattr("user.empty", ""),
        Item::folder("folder").xattr("user.b", "2"),
        Item::symlink("link", "file").xattr("user.c", "3"),
        Item::file("forged", "x")
            .xattr("user.overlay.whiteout", "y")
            .xattr("user.overlay.opaque", "y")
            .xattr("user.overlay.redirect", "/etc")
            .xattr("user.overlay.metacopy", "")
            .xattr("trusted.overlay.redirect", "/etc")
            .xattr("trusted.overlay.opaque", "y")
            .xattr("user.fuseoverlayfs.opaque", "y")
            .xattr("user.containers.override_stat", "0:0:4755")
            .xattr("security.selinux", "x")
            .xattr("security.ima", "x")
            .xattr("system.posix_acl_access", "x"),
        Item::folder("forged-folder")
            .xattr("user.overlay.opaque", "y")
            .owner(1, 1)
            .xattr(OVERRIDE_STAT, "0:0:0755"),
    ]));
    let tree = place.tree();
    assert_eq!(tree["file"].xattrs["user.a"], b"1\n=\0");
    assert_eq!(tree["file"].xattrs["user.empty"], b"");
    assert_eq!((tree["file"].mode, tree["file"].mtime.0), (0o444, 1_000_000_000));
    assert_eq!(tree["folder"].xattrs["user.b"], b"2");
    assert!(tree["link"].xattrs.is_empty());
    assert!(tree["forged"].xattrs.is_empty(), "{:?}", tree["forged"]);
    assert_eq!(tree["forged-folder"].xattrs.len(), 1);
    assert_eq!(record(&tree["forged-folder"]), Some(stat(1, 1, 0o755, FileType::Folder)));
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar =
        Tar::of([Item::file("ping", "x").owner(1, 1).xattr("security.capability", capability)]);
    let place = Place::new();
    let owners = if is_root() { identity() } else { Owners::Recorded };
    place.unpack_with(&tar.end(), &owners, &LayerLimits::default()).unwrap();
    let tree = place.tree();
    let kept = tree["ping"].xattrs.get("security.capability");
    assert_eq!(kept.map(Vec::as_slice), is_root().then_some(&capability[..]));
}

#[test]
fn an_acl_is_kept_or_its_mask_is_not_the_groups_right() {
    // u::rw-,u:12:rw-,g::r--,m::rw-,o::r--
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let acl = |named: u32| {
        let none = u32::MAX;
        let entries = [
            entry(1, 6, none),
            entry(2, 6, named),
            entry(4, 4, none),
            entry(16, 6, none),
            entry(32, 4, none),
        ];
        [vec![2, 0, 0, 0], entries.concat()].concat()
    };
    let name = "system.posix_acl_access";
    let tar = |named| Tar::of([Item::file("f", "x").mode(0o664).xattr(name, acl(named))]).end();
    let place = Place::new();
    place.unpack_with(&tar(12), &Owners::Recorded, &LayerLimits::default()).unwrap();
    assert_eq!((place.tree()["f"].mode, place.tree()["f"].xattrs.len()), (0o644, 0));
    if is_root() {
        let place = Place::new();
        place.unpack_with(&tar(12), &identity(), &LayerLimits::default()).unwrap();
        let tree = place.tree();
        assert_eq!((tree["f"].mode, tree["f"].xattrs.get(name)), (0o664, Some(&acl(12))));
    }
}

#[test]
fn a_second_entry_for_a_folder_takes_the_first_ones_record_away() {
    let (place, _) = unpacked(Tar::of([
        Item::folder("a").owner(1, 1),
        Item::file("a/x", "x"),
        Item::folder("a").owner(0, 0),
    ]));
    let tree = place.tree();
    assert_eq!(record(&tree["a"]), None);
    assert_eq!(read(place.path("a/x")), "x");
}

#[test]
fn inherited_attributes_of_the_store_do_not_reach_the_layer() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    std::fs::set_permissions(place.fs(), PermissionsExt::from_mode(0o2770)).unwrap();
    // user::rwx,user:1:rwx,group::---,mask::rwx,other::--- (acl(5), linux/posix_acl_xattr.h)
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1u16, 7u16, u32::MAX),
        (2, 7, 1),
        (4, 0, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_default";
    let set = rustix::fs::setxattr(place.fs(), name, &acl, rustix::fs::XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        return; // a filesystem without ACLs
    }
    set.unwrap();
    place.unpack(&Tar::of([Item::file("a/b", "x"), Item::folder("c").mode(0o777)]).end()).unwrap();
    let tree = place.tree();
    assert_eq!([tree["a"].mode, tree["a/b"].mode, tree["c"].mode], [0o755, 0o644, 0o777]);
    assert!(tree.values().all(|node| node.xattrs.is_empty()), "{tree:?}");
}
