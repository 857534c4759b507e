//! Files that a process in the folder exchanges while they are written (`usnea cp c:/out .`, and `.` is mounted in the
//! container).

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::RenameFlags;

use super::super::destination::{MemberDestination, MemberOwners, OtherKind, extract};
use super::archive::{Item, Tar};

const PIPES: usize = 1500;

#[test]
fn a_pipe_that_is_exchanged_for_a_link_changes_nothing_else() {
    for _ in 0..4 {
        put_pipes();
    }
}

fn put_pipes() {
    let top = tempfile::tempdir().unwrap();
    let (to, links) = (top.path().join("to"), top.path().join("links"));
    let secret = top.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::create_dir(&links).unwrap();
    let names: Vec<String> = (0..PIPES).map(|number| format!("{number}")).collect();
    for name in &names {
        symlink(&secret, links.join(name)).unwrap();
    }
    let tar = Tar::of(names.iter().map(|name| Item::pipe(name).mode(0o777))).end();
    let (into, from) = (File::open(&to).unwrap(), File::open(&links).unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |name: &String| {
                rustix::fs::renameat_with(&from, name, &into, name, RenameFlags::EXCHANGE).is_ok()
            };
            for name in &names {
                while !exchange(name) && !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        });
        // Each entry is copied alone: an exchanged file ends the copy with an error.
        let mut rest = &tar[..];
        while rest.len() > 1024 {
            let member = [&rest[..512], &[0; 1024]].concat();
            let folder = MemberDestination::In(File::open(&to).unwrap().into());
            let _ = extract(&member[..], MemberOwners::User, OtherKind::Refused, |_| Ok(folder));
            rest = &rest[512..];
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(secret.metadata().unwrap().mode() & 0o777, 0o600);
}
