//! `usnea run --explain`: the plan as the steps of an administrator. It makes nothing, and it tells the truth: the same
//! words in a shell do the same.

use std::process::Command;

use crate::composed::{Composed, small_root};
use crate::stocked::Stocked;
use crate::support::{Place, finish, need_that, on_path};

const PROGRAMS: &str = "host:sh,umount,setpriv,id,ls,hostname";

#[test]
fn explaining_makes_nothing() {
    let place = Place::new();
    place.small_root();
    for words in [
        &["run", "--explain", PROGRAMS, "id"][..],
        &["run", "--explain", "dir:root", "id"],
        &["run", "--explain", "-v", "./root:/data", "-t", "--hostname", "box", "dir:root", "id"],
    ] {
        assert_ne!(place.usnea(words).works(), "");
        assert!(!place.store().exists(), "{words:?} made the store");
    }
    assert!(!place.path("root/data").exists());
}

#[test]
fn explaining_an_image_makes_nothing() {
    let place = Stocked::new();
    for (layout, layers) in [("none", &[][..]), ("one", &[small_root(&place)])] {
        Composed::of(layers).write(&place, layout);
        place.usnea(&["pull", "-q", &format!("oci:{layout}")]).works();
        let names = || place.other("find", &["store"]).works().to_owned();
        let before = names();
        let image = format!("localhost/{layout}");
        assert!(place.usnea(&["run", "--explain", &image, "id"]).works().contains("pivot_root"));
        assert_eq!(names(), before, "{layout}");
    }
}

#[test]
fn the_steps_are_numbered_and_in_the_words_of_the_shell() {
    let place = Place::new();
    let ran = place.usnea(&["run", "--explain", "--hostname", "box", PROGRAMS, "id"]);
    for word in [
        "unshare",
        "mount -t proc",
        "pivot_root",
        "umount",
        "hostname box",
        "1",
        "2",
        "3",
        "4",
        "5",
    ] {
        assert!(ran.works().contains(word), "'{word}' is not in:\n{}", ran.stdout);
    }
    let private = |line: &str| line.contains("lowerdir") || line.contains("mount -t overlay");
    assert!(ran.stdout.lines().any(private), "no word of the layer:\n{}", ran.stdout);
}

#[test]
fn a_run_that_fails_has_no_explanation() {
    let place = Place::new();
    place
        .usnea(&["run", "--explain", "host:nosuchprogram", "id"])
        .fails_with(125, &["nosuchprogram"]);
    place
        .usnea(&["run", "--explain", "dir:/no/such/root", "id"])
        .fails_with(125, &["/no/such/root"]);
}

#[test]
fn the_printed_commands_do_what_the_run_does() {
    for program in ["unshare", "setpriv", "hostname", "mount", "pivot_root"] {
        let anywhere = on_path(program)
            || ["/sbin", "/usr/sbin"]
                .iter()
                .any(|folder| std::path::Path::new(folder).join(program).is_file());
        if !need_that(anywhere, program) {
            return;
        }
    }
    let place = Place::new();
    let script = "id; hostname; ls -A /; ls /dev; grep ^Cap /proc/self/status";
    let script = script.replace(
        "grep ^Cap /proc/self/status",
        "while read -r line; do case $line in Cap*) echo \"$line\";; esac; done < /proc/self/status",
    );
    let words = ["--hostname", "box", PROGRAMS, "sh", "-c", &script];
    let by_us = place.usnea(&[&["run", "--rm"], &words[..]].concat());
    assert!(by_us.works().starts_with("uid=0(root)"), "{by_us:?}");
    let plan = place.usnea(&[&["run", "--explain"], &words[..]].concat());
    let steps = place.write("steps", plan.works());
    let mut shell = Command::new("sh");
    shell.arg(steps).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    place.prepare(&mut shell);
    let by_hand = finish(&mut shell, "");
    assert_eq!(
        by_hand.works(),
        by_us.works(),
        "the steps were:\n{}\nand said:\n{}",
        plan.stdout,
        by_hand.stderr
    );
}
