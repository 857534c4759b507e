//! How a FUSE overlay ends: by a signal to the command in the foreground, and without one.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::fuse_confined::server;
use crate::fuse_overlay::{inside, is_inside, script};
use crate::support::{Place, binary, finish, need, within};

fn mounts_on(place: &Place) -> usize {
    let target = place.path("m");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    mounts.lines().filter(|line| line.contains(&*target.to_string_lossy())).count()
}

fn start(place: &Place) -> Child {
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let child = Command::new(binary())
        .args(["mount", "overlay", "-f", "-o", options, "m"])
        .current_dir(place.path("."))
        .stderr(Stdio::piped())
        .spawn()
        .expect("usnea");
    assert!(within(std::time::Duration::from_secs(20), || mounts_on(place) == 1), "no mount");
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}

fn layers() -> Place {
    let place = Place::for_root_of_a_namespace();
    for name in ["lower", "upper", "work", "m"] {
        place.folder(name);
    }
    place
}

fn ends_by(of: Signal) {
    let place = layers();
    let mut child = start(&place);
    std::fs::write(place.path("m/file"), "written").expect("written");
    signal(&child, of);
    assert!(child.wait().expect("ended").success());
    assert_eq!(mounts_on(&place), 0);
    assert_eq!(place.read("upper/file"), "written");
}

#[test]
fn a_signal_unmounts_what_the_foreground_serves() {
    if need("unshare") {
        inside("fuse_ends::signals_inside");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn signals_inside() {
    if !is_inside() {
        return;
    }
    for of in [Signal::INT, Signal::TERM, Signal::HUP] {
        ends_by(of);
    }
}

#[test]
fn a_signal_unmounts_what_fusermount3_has_mounted() {
    if !need("fusermount3") {
        return;
    }
    ends_by(Signal::INT);
}

#[test]
fn an_overlay_in_use_ends_at_the_second_signal() {
    if need("unshare") {
        inside("fuse_ends::in_use_inside");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn in_use_inside() {
    if !is_inside() {
        return;
    }
    let place = layers();
    let mut child = start(&place);
    let open = std::fs::File::create(place.path("m/file")).expect("a file");
    signal(&child, Signal::INT);
    assert!(within(std::time::Duration::from_secs(20), || mounts_on(&place) == 0), "still there");
    assert!(child.try_wait().expect("usnea").is_none(), "it left its user");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().expect("ended").code(), Some(128 + 2));
    assert!(open.metadata().is_err());
}

#[test]
fn a_mount_whose_server_was_killed_is_reported_and_can_be_unmounted() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "echo x > lower/f
         $usnea mount overlay -f -o lowerdir=lower,upperdir=upper,workdir=work m & p=$!
         until test -e m/f; do sleep 0.01; done
         kill -9 $p; wait $p || true; until ! ls m 2> /dev/null; do sleep 0.01; done
         fails $usnea mount overlay -o lowerdir=lower m; says 'FUSE mount whose server has died'; says 'umount -l m'
         fails $usnea mount overlay -o lowerdir=m lower; says 'FUSE mount whose server has died'
         umount -l m; mount_with ''; is \"$(cat m/f)\" x; unmount",
    );
    ran.works();
}

/// Nobody who reads what `run -d` writes waits for the container, and its log says what has become of its files.
#[test]
fn the_death_of_a_container_s_file_server_is_in_its_log() {
    let place = Place::new();
    let script = "trap 'exit 3' TERM; echo up; while :; do read line; done";
    let words = ["run", "-d", "--name", "served", "--storage-driver", "fuse"];
    let image = place.image();
    let started = [&words[..], &[&image, "sh", "-c", script]].concat();
    place.usnea(&started).works();
    let up = || place.usnea(&["logs", "served"]).stdout.trim_end() == "up";
    assert!(within(std::time::Duration::from_secs(20), up));
    let server = server("file server of served");
    kill_process(Pid::from_raw(server.number).expect("a number"), Signal::KILL).expect("killed");
    let logged = || {
        place
            .usnea(&["logs", "served"])
            .stderr
            .contains("the file server of the container has died")
    };
    let heard = within(std::time::Duration::from_secs(20), logged);
    assert!(heard, "{:?}", place.usnea(&["logs", "served"]));
    let error = || place.usnea(&["inspect", "-f", "{{.State.Running}} {{.State.Error}}", "served"]);
    let said = "the file server of the container has died";
    let told = || error().works().starts_with(&format!("true {said}"));
    assert!(within(std::time::Duration::from_secs(20), told), "{:?}", error());
    place.usnea(&["kill", "served"]).works();
    assert!(error().works().starts_with(&format!("false {said}")), "{:?}", error());
    place.usnea(&["rm", "-f", "served"]).works();
}

/// The server may see the end of the mount before anybody sees the end of the container: no word of that.
#[test]
fn a_file_server_that_ends_with_its_container_is_not_said_to_have_died() {
    let place = Place::new();
    for _ in 0..10 {
        let ran = place.run(&["--storage-driver", "fuse"], "sleep 0.05 & exit 4");
        ran.exits(4);
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn a_dead_mount_of_fusermount3_is_reported_and_can_be_unmounted() {
    if !need("fusermount3") {
        return;
    }
    let place = layers();
    let mut child = start(&place);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let mut command = Command::new(binary());
    command.args(["mount", "overlay", "-o", "lowerdir=lower", "m"]).current_dir(place.path("."));
    let dead = || std::fs::read_dir(place.path("m")).is_err();
    assert!(within(std::time::Duration::from_secs(20), dead), "the server lives on");
    let ran = finish(&mut command, "");
    ran.fails_with(125, &["FUSE mount whose server has died"]);
    assert!(ran.stderr.contains("fusermount3 -uz m"), "{ran:?}");
    let mut unmount = Command::new("fusermount3");
    finish(unmount.arg("-uz").arg(place.path("m")), "").works();
}
