//! Upper layers on file systems without devices, attributes, or both, and on failing disks: a seccomp filter makes the
//! calls of the test's thread fail.

use super::*;
use crate::sys::process::set_no_new_privileges;
use crate::sys::seccomp::{self, Instruction, Listening};

const ATTRIBUTES: [libc::c_long; 3] =
    [libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr];

/// Runs `action` in a thread that cannot make devices, or cannot set attributes.
fn without(devices: bool, attributes: bool, action: impl FnOnce() + Send) {
    let calls = devices.then_some((libc::SYS_mknodat, libc::EPERM)).into_iter();
    let more = ATTRIBUTES.iter().map(|call| (*call, libc::EOPNOTSUPP)).filter(|_| attributes);
    failing(&calls.chain(more).collect::<Vec<_>>(), action);
}

/// Runs `action` in a thread for which some calls fail.
fn failing(calls: &[(libc::c_long, i32)], action: impl FnOnce() + Send) {
    let instruction = |code: u32, k: u32, jf: u8| Instruction { code: code as u16, jt: 0, jf, k };
    let returns = |value| instruction(libc::BPF_RET | libc::BPF_K, value, 0);
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (call, errno) in calls {
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, 1));
        program.push(returns(libc::SECCOMP_RET_ERRNO | *errno as u32));
    }
    program.push(returns(libc::SECCOMP_RET_ALLOW));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_no_new_privileges().expect("no new privileges");
            seccomp::install(&program, 0, Listening::No).expect("a filter");
            action();
        });
        thread.join().expect("a thread without a panic");
    });
}

/// Removes, makes again and renames files, with a check after each step, and after the next mount too.
fn removes_and_makes_again(ground: &Ground) {
    for name in ["file", "d/in", "d/other", "moved", "again/below"] {
        ground.write(&format!("lower0/{name}"), "lower");
    }
    let tree = ground.tree();
    let d = walk(&tree, "d").unwrap();
    for name in ["file", "moved", "d/in", "again/below"] {
        walk(&tree, name).unwrap();
    }
    tree.unlink(ROOT, "file".as_ref()).unwrap();
    tree.unlink(d, "in".as_ref()).unwrap();
    tree.rename(ROOT, "moved".as_ref(), d, "here".as_ref(), RenameMode::Replace).unwrap();
    let again = walk(&tree, "again").unwrap();
    tree.unlink(again, "below".as_ref()).unwrap();
    tree.remove_folder(ROOT, "again".as_ref()).unwrap();
    assert_eq!(walk(&tree, "again"), None);
    tree.make(ROOT, "again".as_ref(), NewFile::Folder(0o755), us()).unwrap();
    let check = |tree: &OverlayTree| {
        for name in ["file", "moved", "d/in", "again/below"] {
            assert_eq!(walk(tree, name), None, "{name}");
        }
        for detail in [Detail::Names, Detail::Entries] {
            assert_eq!(names(tree, "", detail), ["again", "d"]);
            assert_eq!(names(tree, "d", detail), ["here", "other"]);
            assert_eq!(names(tree, "again", detail), Vec::<String>::new());
        }
        assert_eq!(content(tree, "d/here"), "lower");
    };
    check(&tree);
    drop(tree);
    let tree = ground.tree();
    check(&tree);
    // A file made in place of a removed one is like any other, and can be removed.
    tree.create(ROOT, "file".as_ref(), 0o644, libc::O_RDWR, us()).unwrap();
    assert_eq!(content(&tree, "file"), "");
    tree.unlink(ROOT, "file".as_ref()).unwrap();
    tree.rename(ROOT, "again".as_ref(), ROOT, "moved".as_ref(), RenameMode::Replace).unwrap();
    assert_eq!(names(&tree, "", Detail::Entries), ["d", "moved"]);
    drop(tree);
    let tree = ground.tree();
    assert_eq!(names(&tree, "", Detail::Entries), ["d", "moved"]);
    assert_eq!(names(&tree, "moved", Detail::Entries), Vec::<String>::new());
    drop(tree);
    assert_eq!(fs::read_dir(ground.path("work/work")).unwrap().count(), 0);
}

#[test]
fn with_devices_and_attributes_whiteouts_are_devices() {
    let ground = Ground::new(1);
    removes_and_makes_again(&ground);
    assert!(is_whiteout(&ground.path("upper/file")) && is_whiteout(&ground.path("upper/again")));
}

#[test]
fn without_devices_whiteouts_are_attributes() {
    let ground = Ground::new(1);
    without(true, false, || removes_and_makes_again(&ground));
    assert_eq!(fs::metadata(ground.path("upper/file")).unwrap().len(), 0);
    assert!(
        rustix::fs::lgetxattr_query(ground.path("upper/file"), "user.overlay.whiteout").is_ok()
    );
}

#[test]
fn without_attributes_folders_are_opaque_by_name_and_whiteouts_are_devices() {
    let ground = Ground::new(1);
    without(false, true, || removes_and_makes_again(&ground));
    assert!(is_whiteout(&ground.path("upper/file")));
    assert!(ground.path("upper/moved/.wh..wh..opq").exists());
}

#[test]
fn without_both_whiteouts_are_names_which_nobody_else_can_have() {
    let ground = Ground::new(1);
    without(true, true, || {
        removes_and_makes_again(&ground);
        let tree = ground.tree();
        for name in [".wh.mine", ".wh."] {
            let made = tree.create(ROOT, name.as_ref(), 0o644, libc::O_RDWR, us());
            assert_eq!(made.map(drop).unwrap_err(), Errno::PERM, "{name}");
            let folder = tree.make(ROOT, name.as_ref(), NewFile::Folder(0o755), us());
            assert_eq!(folder.unwrap_err(), Errno::PERM, "{name}");
        }
        let (d, other) = (walk(&tree, "d").unwrap(), walk(&tree, "d/other").unwrap());
        assert_eq!(tree.link(other, ROOT, ".wh.d".as_ref()).unwrap_err(), Errno::PERM);
        let from = OsStr::new("other");
        let moved = tree.rename(d, from, ROOT, ".wh.d".as_ref(), RenameMode::Replace);
        assert_eq!(moved.unwrap_err(), Errno::PERM);
    });
    assert!(ground.path("upper/.wh.file").exists() && !ground.path("upper/file").exists());
}

/// A file that is removed while its folder is being read is no longer listed, in any form of whiteout.
#[test]
fn what_was_removed_since_a_folder_was_opened_is_not_shown_with_attributes() {
    for (devices, attributes) in [(false, false), (true, false), (true, true)] {
        let ground = Ground::new(1);
        ground.write("lower0/a", "");
        ground.write("lower0/b", "");
        ground.write("upper/c", "");
        ground.write("lower0/c", "");
        without(devices, attributes, || {
            let tree = ground.tree();
            let mut first = true;
            let mut seen = Vec::new();
            tree.read_folder(ROOT, 0, Detail::Names, &mut |_| match std::mem::take(&mut first) {
                true => ReplyRoom::Left,
                false => ReplyRoom::None,
            })
            .unwrap();
            for name in ["a", "c"] {
                walk(&tree, name).unwrap();
                tree.unlink(ROOT, name.as_ref()).unwrap();
            }
            tree.read_folder(ROOT, 2, Detail::Entries, &mut |item| {
                if item.entry.is_some() {
                    seen.push(item.name.to_string_lossy().into_owned());
                }
                ReplyRoom::Left
            })
            .unwrap();
            assert_eq!(seen, ["b"], "{devices} {attributes}");
        });
    }
}

/// The kernel's overlay does so too (`fsync=auto`, and not with `volatile`).
#[test]
fn a_copy_is_on_disk_before_it_is_the_file_unless_the_upper_layer_is_disposable() {
    for (is_disposable, wanted) in [(false, Err(Errno::IO)), (true, Ok(()))] {
        let ground = Ground::new(1);
        ground.write("lower0/file", "old");
        failing(&[(libc::SYS_fsync, libc::EIO), (libc::SYS_ioctl, libc::EOPNOTSUPP)], || {
            let tree =
                ground.tree_reading(OverlayRules { is_disposable, ..OverlayRules::default() });
            let id = walk(&tree, "file").unwrap();
            assert_eq!(tree.open(id, libc::O_RDWR, us()).map(drop), wanted);
            assert_eq!(content(&tree, "file"), "old");
        });
        assert_eq!(ground.path("upper/file").exists(), is_disposable);
        assert_eq!(fs::read_dir(ground.path("work/work")).unwrap().count(), 0);
    }
}

#[test]
fn a_failed_write_back_is_reported_by_fsync() {
    let ground = Ground::new(1);
    failing(&[(libc::SYS_fsync, libc::EIO), (libc::SYS_fdatasync, libc::ENOSPC)], || {
        let tree = ground.tree();
        let (_, file) = tree.create(ROOT, "new".as_ref(), 0o644, libc::O_RDWR, us()).unwrap();
        assert_eq!(tree.sync(&file, Synced::All), Err(Errno::IO));
        assert_eq!(tree.sync(&file, Synced::Data), Err(Errno::NOSPC));
        assert_eq!(tree.sync_folder(ROOT), Err(Errno::IO));
    });
}

#[test]
fn a_copy_that_a_quota_stops_leaves_the_old_file_and_nothing_else() {
    let ground = Ground::new(1);
    ground.write("lower0/d/file", "old");
    let calls = [(libc::SYS_pwrite64, libc::EDQUOT), (libc::SYS_ioctl, libc::EOPNOTSUPP)];
    failing(&calls, || {
        let tree = ground.tree();
        let (d, id) = (walk(&tree, "d").unwrap(), walk(&tree, "d/file").unwrap());
        let quota = Errno::DQUOT;
        assert_eq!(tree.open(id, libc::O_RDWR, us()).map(drop), Err(quota));
        let change = AttributeChange { mode: Some(0o600), ..AttributeChange::default() };
        assert_eq!(tree.change(id, change, None, us()).map(drop), Err(quota));
        let moved = tree.rename(d, "file".as_ref(), ROOT, "to".as_ref(), RenameMode::Replace);
        assert_eq!(moved, Err(quota));
        assert_eq!(tree.link(id, ROOT, "to".as_ref()).map(drop), Err(quota));
        assert_eq!(content(&tree, "d/file"), "old");
        assert_eq!(names(&tree, "", Detail::Entries), ["d"]);
        let (_, file) = tree.create(d, "new".as_ref(), 0o644, libc::O_RDWR, us()).unwrap();
        assert_eq!(tree.write(&file, 0, b"x", WritePrivileges::Kept), Err(quota));
    });
    assert!(!ground.path("upper/d/file").exists());
    assert_eq!(fs::read_dir(ground.path("work/work")).unwrap().count(), 0);
}
