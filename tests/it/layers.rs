//! The layer over a root, in each of its forms: in memory, on disk (kernels whose tmpfs keeps no attributes), and the
//! copy where nothing can be stacked. strace plays the older kernel; without `-f`, so that newuidmap keeps its power.

use std::process::Command;

use crate::support::{Place, Ran, Started, binary, finish, need, need_subids, need_that, within};

/// What shows that a layer is whole: new files, a folder of the root replaced, owners and modes, nothing in the root.
const SCRIPT: &str = "set -e; echo changed > /etc/passwd; cat /etc/passwd; rm -r /root; mkdir /root; ls -A /root; \
                      echo new > /root/new; cat /root/new; stat -c %a /";

/// usnea where the kernel's tmpfs keeps no `user.*` attributes.
fn on_disk(place: &Place, options: &[&str], script: &str) -> Command {
    let mut command = Command::new("strace");
    command.args([
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsetxattr",
        "-e",
        "inject=fsetxattr:error=EOPNOTSUPP",
    ]);
    command.arg(binary()).args(place.arguments(options, &["sh", "-c", script]));
    place.prepare(&mut command);
    command
}

fn is_whole(ran: &Ran) {
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["changed", "new", "755"], "{ran:?}");
}

#[test]
fn a_layer_in_memory_takes_every_change() {
    let place = Place::new();
    is_whole(&place.run(&[], SCRIPT));
    assert!(!place.read("root/etc/passwd").contains("changed"));
    let device = place.run(&[], "grep ' / / ' /proc/self/mountinfo");
    assert!(device.works().contains("upperdir="), "{device:?}");
}

#[test]
fn a_layer_on_disk_takes_every_change_and_is_removed() {
    if !need("strace") {
        return;
    }
    let place = Place::new();
    is_whole(&finish(&mut on_disk(&place, &[], SCRIPT), ""));
    assert!(!place.read("root/etc/passwd").contains("changed"));
    place.nothing_is_left();
}

#[test]
fn files_of_other_ids_on_disk_are_removed_too() {
    if !need("strace") || !need_subids() {
        return;
    }
    let place = Place::new();
    let script = "mkdir -p /var/lib/x/y && echo x > /var/lib/x/y/z && chown -R 33:33 /var/lib/x && chmod 700 /var/lib/x";
    finish(&mut on_disk(&place, &[], script), "").works();
    place.nothing_is_left();
}

#[test]
fn leftovers_of_a_killed_run_are_removed_by_the_next() {
    if !need("strace") {
        return;
    }
    let place = Place::new();
    let mut started = Started::new(&mut on_disk(&place, &[], "echo ready; sleep 100"), "");
    started.wait_for("ready");
    let store = place.store();
    let left =
        || std::fs::read_dir(store.join("tmp")).is_ok_and(|mut entries| entries.next().is_some());
    assert!(left(), "the layer is not on disk");
    let family = started.family();
    for process in &family {
        if process.text("comm").trim() == "usnea" {
            let pid = rustix::process::Pid::from_raw(process.number).expect("a process");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        }
    }
    started.end();
    assert!(within(std::time::Duration::from_secs(20), || family.iter().all(|one| !one.runs())));
    assert!(left(), "nothing was left: the next lines prove nothing");
    finish(&mut on_disk(&place, &[], "true"), "").works();
    place.nothing_is_left();
}

/// Two overlays below are as many as the kernel stacks: a third is EINVAL.
#[test]
fn where_nothing_can_be_stacked_the_root_is_copied() {
    let place = Place::new();
    place.small_root();
    let script = "set -e; mount -t tmpfs none layers; cd layers; mkdir u1 w1 m1 u2 w2 m2; \
                  mount -t overlay none -o lowerdir=../root,upperdir=u1,workdir=w1,userxattr m1; \
                  mount -t overlay none -o lowerdir=m1,upperdir=u2,workdir=w2,userxattr m2; \
                  printf x > m2/etc/mode; chmod 640 m2/etc/mode; ln m2/etc/mode m2/etc/same; \
                  mkdir m2/mounted; mount -t tmpfs none m2/mounted; touch m2/mounted/hidden; \
                  \"$USNEA\" --log-level info run --rm dir:$PWD/m2 sh -c \"$SCRIPT; \"; \
                  \"$USNEA\" run --rm dir:$PWD/m2 sh -c 'stat -c %a /etc/mode; stat -c %h /etc/same; ls -A /mounted'; cat m2/etc/mode";
    place.folder("layers");
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script]).env("USNEA", binary()).env("SCRIPT", SCRIPT);
    place.prepare(&mut command);
    command.current_dir(place.path(""));
    let ran = finish(&mut command, "");
    assert_eq!(
        ran.works().lines().collect::<Vec<_>>(),
        ["changed", "new", "755", "640", "2", "x"],
        "{ran:?}"
    );
    assert!(
        need_that(
            ran.stderr.contains("copying the root"),
            "a kernel that stacks two overlays at most"
        ),
        "{ran:?}"
    );
}

/// Files of a disposable container are in the folder that the user names, and are removed with it, however it ends.
#[test]
fn a_named_scratch_folder_holds_disposable_layers() {
    let place = Place::new();
    let scratch = place.folder("scratch");
    let uid = rustix::process::getuid().as_raw();
    let own = scratch.join(format!("usnea-{uid}"));
    let layers = || {
        let folders = std::fs::read_dir(own.join("tmp")).expect("a folder");
        folders.map(|entry| entry.expect("an entry").path().join("upper/new")).collect::<Vec<_>>()
    };
    let script = "echo kept > /new; trap 'exit 3' TERM; echo ready; sleep 1000 & wait";
    let image = place.image();
    let command = |script| {
        let mut command = place.command(&["run", "--rm", image.as_str(), "sh", "-c", script]);
        command.env("USNEA_SCRATCH", &scratch);
        command
    };
    let started = || {
        let mut started = Started::new(&mut command(script), "");
        started.wait_for("ready");
        let files = layers();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(std::fs::read_to_string(&files[0]).expect("a file"), "kept\n");
        started
    };
    let ended = started();
    ended.signal(rustix::process::Signal::TERM);
    assert_eq!(ended.end().status, 3);
    assert!(layers().is_empty());
    let killed = started();
    killed.signal(rustix::process::Signal::KILL);
    killed.end();
    finish(&mut command("true"), "").works();
    assert!(layers().is_empty());

    let mode =
        std::os::unix::fs::PermissionsExt::mode(&own.metadata().expect("a folder").permissions());
    assert_eq!(mode & 0o777, 0o700);
    let refused = finish(command("true").env("USNEA_SCRATCH", "scratch"), "");
    assert_eq!(refused.status, 125, "{refused:?}");
    assert!(refused.stderr.contains("USNEA_SCRATCH=scratch: not an absolute path"), "{refused:?}");
    place.nothing_is_left();
}
