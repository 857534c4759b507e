//! What the server of a FUSE overlay can reach, and what the overlay shows of mounts below its layers.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::fuse_overlay::script;
use crate::support::{Place, Process, Started, finish, need, processes_with, within};

/// The server behind the command whose line has `mark` in it: it is the one with fuser's threads.
pub fn server(mark: &str) -> Process {
    let serves =
        |process: &Process| threads(process).iter().any(|thread| thread.contains("fuser-"));
    // Its threads begin when the mount is ready already.
    let mut found = None;
    within(Duration::from_secs(20), || {
        found = processes_with(mark).into_iter().find(serves);
        found.is_some()
    });
    found.expect("a server")
}

/// `status` of each thread.
fn threads(process: &Process) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.number)).into_iter().flatten();
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks.flatten().filter_map(status).collect()
}

/// Asserts that each thread of the server is restricted.
pub fn assert_filtered(server: &Process) {
    let threads = threads(server);
    assert!(threads.len() > 2, "{threads:?}");
    for thread in threads {
        let has = |line: &str| thread.lines().any(|found| found == line);
        assert!(has("NoNewPrivs:\t1") && has("Seccomp:\t2"), "{thread}");
    }
}

fn assert_nothing_in_sight(server: &Process) {
    let root = fs::read_dir(format!("/proc/{}/root", server.number)).expect("the server's root");
    let names = root.flatten().map(|entry| entry.file_name().into_string().expect("a name"));
    let mut names: BTreeSet<String> = names.collect();
    names.retain(|name| name.parse::<u32>().is_err()); // its layers
    assert_eq!(names, BTreeSet::from(["dev".into(), "proc".into()]));
    for open in fs::read_dir(format!("/proc/{}/fd", server.number)).expect("open files").flatten() {
        let target = fs::read_link(open.path()).expect("a link");
        let target = target.to_string_lossy();
        assert!(!target.starts_with("socket:") && !target.contains("/store/images"), "{target}");
    }
}

#[test]
fn a_container_s_file_server_is_confined() {
    let place = Place::new();
    let arguments = place.arguments(
        &["--storage-driver", "fuse", "--name", "confined"],
        &["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"],
    );
    let mut run = Started::new(&mut place.command(&arguments), "");
    run.wait_for("up");
    let server = server("file server of confined");
    assert_filtered(&server);
    assert_nothing_in_sight(&server);
    run.signal(rustix::process::Signal::TERM);
    run.end();
}

#[test]
fn the_server_of_a_mount_of_fusermount3_is_filtered() {
    if !need("fusermount3") {
        return;
    }
    let place = Place::new();
    place.write("lower/file", "text");
    let (lower, target) = (place.path("lower"), place.folder("m"));
    let options = format!("lowerdir={}", lower.display());
    let arguments = ["mount", "overlay", "-o", &options, target.to_str().expect("UTF-8")];
    finish(&mut place.command(&arguments), "").works();
    let server = server(&options);
    let read = fs::read_to_string(place.path("m/file"));
    let mut unmount = std::process::Command::new("fusermount3");
    let filtered = std::panic::catch_unwind(|| assert_filtered(&server));
    finish(unmount.arg("-u").arg(&target), "").works();
    assert_eq!(read.expect("the file"), "text");
    filtered.expect("filtered");
}

/// As the kernel's overlay, which clones the mounts of its layers (`clone_private_mount`).
#[test]
fn what_is_mounted_below_a_layer_is_not_seen_as_by_the_kernel_s_overlay() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "mkdir lower/d upper/e; echo below > lower/d/below; echo below > upper/e/below
         mount -t tmpfs over lower/d; mount -t tmpfs over upper/e; echo x > lower/d/over; echo x > upper/e/over
         for how in 'mount -t overlay -o userxattr,' \"$usnea mount overlay -o \"; do
             target=m; case $how in mount*) target='overlay m';; esac
             ${how}lowerdir=lower,upperdir=upper,workdir=work $target
             is \"$(ls m/d m/e | tr '\\n' ' ')\" 'm/d: below  m/e: below '
             echo new > m/d/new; is \"$(ls lower/d upper/e | tr '\\n' ' ')\" 'lower/d: over  upper/e: over '
             rm m/d/new; unmount
         done",
    );
    ran.works();
}

/// Mounts that we may not uncover are seen, and never written to.
#[test]
fn what_is_locked_below_a_layer_is_seen_and_only_read() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "mkdir lower/d; mount -t tmpfs over lower/d; echo old > lower/d/over
         unshare --user --map-root-user --mount sh -e -c '
             $USNEA_BIN mount overlay -o lowerdir=lower,upperdir=upper,workdir=work m
             test \"$(cat m/d/over)\" = old; echo new > m/d/over; echo new > m/d/new; umount m'
         is \"$(ls lower/d)\" over; is \"$(cat lower/d/over)\" old; is \"$(cat upper/d/over)\" new",
    );
    ran.works();
}

/// The mount point may lie in a layer: the server sees the layer without it.
#[test]
fn an_overlay_may_lie_in_its_own_layer() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "mkdir lower/m; echo x > lower/f; $usnea mount overlay -o lowerdir=lower lower/m
         is \"$(ls lower/m lower/m/m)\" \"$(printf 'lower/m:\\nf\\nm\\n\\nlower/m/m:')\"; umount lower/m",
    );
    ran.works();
}

#[test]
fn an_overlay_of_fusermount3_may_not_lie_in_its_own_layer() {
    if !need("fusermount3") {
        return;
    }
    let place = Place::new();
    place.folder("lower/m");
    let mut command = place.command(&["mount", "overlay", "-o", "lowerdir=lower", "lower/m"]);
    let ran = finish(&mut command, "");
    ran.fails_with(125, &["lies in the layer"]);
    ran.hints();
}
