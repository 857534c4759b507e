//! A store in a home on NFS, with the locks of that: on the machine of tests/vm, which serves one to itself.

use std::path::Path;

use crate::stocked::Stocked;
use crate::support::{finish, not_applicable};

/// linux/magic.h
const NFS: u64 = 0x6969;

/// A place on NFS. `None`: temporary files of these tests are elsewhere.
fn place_on_nfs() -> Option<Stocked> {
    let shop = Stocked::new();
    let kind = rustix::fs::statfs(shop.place.path(".")).unwrap().f_type as u64;
    if kind != NFS {
        not_applicable("the temporary files of the tests are not on NFS");
        return None;
    }
    Some(shop)
}

fn with_image() -> Option<Stocked> {
    let shop = place_on_nfs()?;
    let root = shop.place.small_root();
    std::fs::create_dir_all(root.join("etc/deep/deeper/deepest")).unwrap();
    std::fs::write(root.join("etc/deep/deeper/deepest/file"), "x").unwrap();
    shop.shell("tar -C root -cf root.tar . && usnea import root.tar localhost/small").works();
    Some(shop)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn nothing_is_in_tmp(shop: &Stocked) {
    let left = names(&shop.place.store().join("tmp"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_image_is_used_and_removed_whole() {
    let Some(shop) = with_image() else { return };
    shop.usnea(&["run", "--rm", "localhost/small", "cat", "/etc/deep/deeper/deepest/file"]).works();
    let detached = ["run", "-d", "--name", "box", "localhost/small", "sleep", "1000"];
    shop.usnea(&detached).works();
    shop.usnea(&["exec", "box", "sh", "-c", "echo new > /new; cat /new"]).works();
    shop.usnea(&["rmi", "localhost/small"]).fails_with(125, &["in use"]);
    let active = shop.usnea(&["system", "df", "--format", "{{.Type}} {{.Active}}"]);
    assert!(active.works().contains("Images 1"), "{active:?}");
    shop.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    shop.usnea(&["check"]).works();
    shop.usnea(&["rmi", "localhost/small"]).works();
    shop.usnea(&["system", "prune", "-a", "-f"]).works();
    assert!(names(&shop.place.store().join("blobs/sha256")).is_empty());
    nothing_is_in_tmp(&shop);
}

#[test]
fn files_in_an_images_folders_can_be_changed() {
    let Some(shop) = with_image() else { return };
    let script =
        "set -e; echo changed >> /etc/passwd; rm /etc/group; touch /etc/new; mkdir /etc/folder
                  rm -r /etc/deep; chown 0:0 /etc/new; ls /etc";
    let ran = shop.usnea(&["run", "--rm", "localhost/small", "sh", "-c", script]);
    // Beside the files that every container has.
    let ours = |name: &&str| !matches!(*name, "hostname" | "hosts" | "resolv.conf");
    let seen: Vec<&str> = ran.works().split_whitespace().filter(ours).collect();
    assert_eq!(seen, ["folder", "new", "passwd"]);
    shop.usnea(&["rmi", "localhost/small"]).works();
    nothing_is_in_tmp(&shop);
}

#[test]
fn volumes_are_filled_and_removed() {
    let Some(shop) = with_image() else { return };
    let list = ["run", "--rm", "-v", "data:/etc", "localhost/small", "ls", "/etc"];
    for _ in 0..2 {
        assert!(shop.usnea(&list).works().contains("passwd"));
    }
    shop.usnea(&["volume", "rm", "data"]).works();
    shop.usnea(&["rmi", "localhost/small"]).works();
    nothing_is_in_tmp(&shop);
}

#[test]
fn many_first_starts_at_once_leave_one_root_and_nothing_else() {
    let Some(shop) = place_on_nfs() else { return };
    let script =
        "for i in 0 1 2; do usnea run --rm host:sh,true sh -c true || echo failed & done; wait";
    assert_eq!(shop.shell(script).works(), "");
    assert_eq!(names(&shop.place.store().join("layers")).len(), 1);
    nothing_is_in_tmp(&shop);
    shop.usnea(&["system", "reset", "-f"]).works();
    assert!(!shop.place.store().exists());
}

#[test]
fn another_machine_sees_what_runs_here_and_leaves_it_alone() {
    let Some(shop) = with_image() else { return };
    let place = &shop.place;
    shop.usnea(&["run", "-d", "--name", "box", "localhost/small", "sleep", "1000"]).works();
    let id = shop.usnea(&["inspect", "-f", "{{.Id}}", "box"]).works().to_owned();
    let folder = place.store().join("containers").join(&id);
    // What this machine's kernel has for its own is not carried: an exclusive lock is refused by the server's.
    let carrier = folder.join(".usnea-lock");
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open(&carrier).unwrap();
    assert!(matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
    // The kernel would rename it instead of removing it.
    drop(file);
    // Another host name and other numbers of processes, as another machine has.
    let mut node = std::process::Command::new("unshare");
    let script = "hostname node7; exec \"$@\"";
    let words = ["--user", "--map-root-user", "--uts", "--pid", "--fork", "--mount-proc"];
    node.args(words).args(["sh", "-c", script, "sh"]).arg(crate::support::binary());
    shop.at_home(node.args(["ps", "--format", "{{.Names}} {{.Status}}"]));
    let shown = finish(node.env("USNEA_ROOT", place.store()), "");
    assert!(shown.works().starts_with("box Up ") && shown.works().contains(" on "), "{shown:?}");
    shop.usnea(&["exec", "box", "true"]).works();
    shop.usnea(&["rm", "-f", "-t", "0", "box"]).works();
    nothing_is_in_tmp(&shop);
}
