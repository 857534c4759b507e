//! How the server of a mounted image ends, and what it can reach while it lives.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::fuse_confined::{assert_filtered, server};
use crate::squashfs_mount::{has_programs, with_images};
use crate::support::{Place, Started, binary, finish, within};

#[test]
fn the_server_ends_with_the_last_mount_and_the_last_open_file() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "mkdir src n; for f in a b c d; do echo $f > src/$f; done; image -comp gzip
         $usnea mount squashfs t.sqsh m; mount --bind m n; umount m; is \"$(cat n/a)\" a
         exec 3< n/b; umount -l n; is \"$(cat <&3)\" b; exec 3<&-
         $usnea mount squashfs -f t.sqsh m & server=$!
         until test -e m/c; do sleep 0.01; done; is \"$(cat m/c)\" c
         kill $server; wait $server; test ! -e m/c
         $usnea mount squashfs -f t.sqsh m & server=$!
         until test -e m/c; do sleep 0.01; done
         umount m; wait $server
         $usnea mount squashfs -f t.sqsh m & server=$!
         until test -e m/c; do sleep 0.01; done
         kill -9 $server; wait $server || true; until ! ls m > /dev/null 2>&1; do sleep 0.01; done; umount -l m",
    );
    ran.works();
}

/// The image of the tests that look at a server: two files.
fn image(place: &Place) -> String {
    place.write("src/a", "a");
    place.write("src/b", "b");
    place.folder("m");
    let mut make = Command::new("mksquashfs");
    make.args(["src", "t.sqsh", "-quiet", "-no-progress"]).current_dir(place.path("."));
    finish(&mut make, "").works();
    place.path("t.sqsh").to_str().expect("UTF-8").to_owned()
}

/// A shell in namespaces of its own that mounts the image, says "up", and goes on with `then`.
fn mounter(place: &Place, image: &str, then: &str) -> Command {
    let script = format!("$USNEA_BIN mount squashfs $IMAGE m && cat m/a && echo up && {then}");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(place.path("."))
        .env("USNEA_BIN", binary())
        .env("IMAGE", image);
    command
}

#[test]
fn nothing_is_left_when_all_who_see_the_mount_are_killed() {
    if !has_programs() {
        return;
    }
    let place = Place::new();
    let image = image(&place);
    let mut run = Started::new(&mut mounter(&place, &image, "exec sleep 1000"), "");
    run.wait_for("up");
    let server = server(&image);
    assert!(server.runs());
    for process in run.family().into_iter().filter(|process| process.number != server.number) {
        let number = rustix::process::Pid::from_raw(process.number).expect("a number");
        let _ = rustix::process::kill_process(number, rustix::process::Signal::KILL);
    }
    run.end();
    place.nothing_is_left();
    assert!(within(Duration::from_secs(20), || !server.runs()));
}

#[test]
fn the_server_of_an_image_reaches_its_open_file_and_nothing_else() {
    if !has_programs() {
        return;
    }
    let place = Place::new();
    let image = image(&place);
    let then = "until test -e go; do sleep 0.01; done; cat m/b; umount m";
    let mut run = Started::new(&mut mounter(&place, &image, then), "");
    run.wait_for("up");
    let server = server(&image);
    assert_filtered(&server);
    let root = fs::read_dir(format!("/proc/{}/root", server.number)).expect("the server's root");
    let names = root.flatten().map(|entry| entry.file_name().into_string().expect("a name"));
    assert_eq!(names.collect::<BTreeSet<String>>(), BTreeSet::from(["dev".into()]));
    let open = fs::read_dir(format!("/proc/{}/fd", server.number)).expect("open files").flatten();
    let targets = open.map(|open| {
        let target = fs::read_link(open.path()).expect("a link");
        target.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned()
    });
    let targets: BTreeSet<String> = targets.collect();
    assert_eq!(targets, ["fuse", "null", "t.sqsh"].map(str::to_owned).into());
    place.write("go", "");
    let ran = run.end();
    assert_eq!(ran.works(), "b");
}
