//! Files by which a container or an image would harm who handles them: towers of folders, attributes that say something to
//! usnea, links that lead a mount onto the kernel's own files.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::{Place, Ran};

/// Makes 3000 folders in one another, more than there are descriptors or a path has bytes for.
const TOWER: &str = "p=; i=0; while [ $i -lt 1000 ]; do p=${p}d/; i=$((i+1)); done
     mkdir -p /a/$p /b/$p /c/$p && mv /a /b/$p && mv /b /c/$p && echo made";

/// Nobody reads kilobytes of a path.
fn is_short(ran: &Ran) {
    assert!(ran.stderr.len() < 8000, "{} bytes: {ran:?}", ran.stderr.len());
}

#[test]
fn a_tower_of_folders_is_removed_and_its_errors_are_short() {
    let place = Place::new();
    let kept = place.run_kept(&["--name", "tower"], TOWER);
    assert_eq!(kept.works(), "made");
    for words in [
        &["diff", "tower"][..],
        &["export", "-o", "tower.tar", "tower"],
        &["commit", "tower", "tower"],
        &["cp", "tower:/c", "out"],
    ] {
        is_short(&place.usnea(words));
    }
    place.usnea(&["rm", "tower"]).works();
    place.nothing_is_left();
    assert_eq!(place.run(&[], TOWER).works(), "made");
    place.nothing_is_left();
    place.run_kept(&["--name", "tower"], TOWER).works();
    place.usnea(&["system", "reset", "--force"]).works();
    assert!(
        !place.path("store").exists()
            || std::fs::read_dir(place.path("store")).is_ok_and(|left| left.count() == 0)
    );
}

/// The file of this name, wherever it is below the place.
fn found(place: &Place, name: &str) -> PathBuf {
    let files = walkdir::WalkDir::new(place.path(".")).into_iter().flatten();
    let mut files = files.filter(|entry| entry.file_name() == name);
    files.next().expect("the file").into_path()
}

#[test]
fn attributes_that_a_container_has_set_stop_nothing() {
    let place = Place::new();
    for driver in crate::support::drivers() {
        let script = "echo content > /marked-file; echo other > /other";
        place.run_kept(&["--name", driver, "--storage-driver", driver], script).works();
        let file = found(&place, "marked-file");
        let set = |name: &str, value: &str| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&file, name, value.as_bytes(), flags).expect("an attribute");
        };
        set("user.containers.override_stat", "nonsense");
        if driver == "copy" {
            // A layer of overlayfs cannot have them from inside.
            set("user.overlay.metacopy", "");
            set("user.overlay.redirect", "/elsewhere");
        }
        place.usnea(&["diff", driver]).works();
        place.usnea(&["export", "-o", "out.tar", driver]).works();
        place.usnea(&["commit", driver, &format!("made-{driver}")]).works();
        place.usnea(&["cp", &format!("{driver}:/marked-file"), "out"]).works();
        assert_eq!(place.read("out"), "content\n", "{driver}");
        place.usnea(&["rm", driver]).works();
    }
    place.usnea(&["rmi", "-a", "-f"]);
}

#[test]
fn a_file_that_is_nearly_all_hole_is_refused_at_once() {
    let place = Place::new();
    let folder = place.path("sparse");
    std::fs::create_dir(&folder).expect("a folder");
    let file = std::fs::File::create(folder.join("endless")).expect("a file");
    if file.set_len(8 << 40).is_err() {
        return; // the file system has no files of that length
    }
    place.run_kept(&["--name", "sparse"], "true").works();
    let ran = place.usnea(&["cp", "sparse", "sparse:/sparse"]);
    assert_eq!(ran.status, 125, "{ran:?}");
    assert!(ran.stderr.contains("of them a hole"), "{ran:?}");
    place.usnea(&["rm", "sparse"]).works();
}

// As CVE-2019-16884, CVE-2025-52881: masks and parameters would land on files of the mount.
#[test]
fn no_link_of_an_image_leads_a_mount_onto_the_kernel_s_files() {
    let place = Place::new();
    place.write("volume/file", "of the user\n");
    let root = place.small_root();
    for (number, (target, name)) in [
        ("/proc", "procfs"),
        ("/proc/sys", "procfs"),
        ("/proc/self/attr", "procfs"),
        ("/sys", "sysfs"),
        ("/sys/kernel", "sysfs"),
        ("/dev", "/dev"),
        ("/dev/pts", "the terminals"),
        ("/", "the root"),
    ]
    .iter()
    .enumerate()
    {
        let link = format!("/link-{number}");
        symlink(target, root.join(&link[1..])).expect("a link");
        let volume = format!("{}:{link}", place.path("volume").display());
        for options in [&["-v", &*volume][..], &["--tmpfs", &link], &["-v", &link]] {
            let ran = place.run(options, "true");
            assert_eq!(ran.status, 125, "{target} {options:?} {ran:?}");
            let told = format!("a symbolic link of the image leads to {name}");
            assert!(ran.stderr.contains(&told), "{target} {options:?} {ran:?}");
        }
    }
    // Other links are the image's own matter.
    std::fs::create_dir_all(root.join("run")).expect("a folder");
    symlink("/dev/shm", root.join("run/shm")).expect("a link");
    let volume = format!("{}:/run/shm", place.path("volume").display());
    assert_eq!(place.run(&["-v", &volume], "cat /dev/shm/file").works(), "of the user");
}

#[test]
fn what_is_ours_to_add_needs_no_right_to_write_to_the_root() {
    // A root of root's that has programs, and neither /etc nor /proc.
    if !std::path::Path::new("/usr/bin/cat").exists()
        || !std::path::Path::new("/lib64").is_symlink()
    {
        return crate::support::not_applicable("/usr is no root here");
    }
    let place = Place::new();
    place.write("volume/file", "of the user\n");
    let volume = format!("{}:/no/such/place", place.path("volume").display());
    for driver in crate::support::drivers().into_iter().filter(|driver| *driver != "copy") {
        for network in ["host", "private"] {
            let words = ["run", "--rm", "--network", network, "--storage-driver", driver];
            let command =
                ["-v", &volume, "dir:/usr", "/bin/cat", "/no/such/place/file", "/etc/hosts"];
            let ran = place.usnea(&[&words[..], &command].concat());
            let lines = ran.works();
            assert!(lines.starts_with("of the user\n") && lines.contains("localhost"), "{lines}");
        }
    }
    place.nothing_is_left();
}

#[test]
fn a_tower_as_high_as_a_path_is_long_is_compared_and_archived() {
    let place = Place::new();
    // 2000 folders; the thread that walks through them has a small stack.
    let script = "p=; i=0; while [ $i -lt 1000 ]; do p=${p}d/; i=$((i+1)); done
        mkdir -p /a/$p /b/$p && mv /a /b/$p && echo made";
    place.run_kept(&["--name", "tower"], script).works();
    let short = |words: &[&str]| {
        let mut command = std::process::Command::new("prlimit");
        command.args(["--stack=1048576", "--"]).arg(crate::support::binary()).args(words);
        place.prepare(&mut command);
        crate::support::finish(&mut command, "")
    };
    let changes = short(&["diff", "tower"]);
    assert_eq!(changes.works().lines().filter(|line| line.starts_with("A /b")).count(), 2002);
    short(&["export", "-o", "out.tar", "tower"]).works();
    // No layer of an image has that many.
    let ran = short(&["commit", "tower", "tower"]);
    assert!(ran.status == 125 && ran.stderr.contains("more than 1000 folders deep"), "{ran:?}");
    place.usnea(&["rm", "tower"]).works();
}

// The record of a mode, which any process of the container can write where the user has a single ID.
#[test]
fn no_archive_has_setuid_that_only_an_attribute_names() {
    let place = Place::new();
    let script = "mkdir /vol/d && echo x > /vol/d/forged-1 && echo x > /forged-2";
    place.run_kept(&["--name", "forger", "-v", "kept:/vol"], script).works();
    for name in ["forged-1", "forged-2"] {
        let flags = rustix::fs::XattrFlags::empty();
        let file = found(&place, name);
        rustix::fs::setxattr(&file, "user.containers.override_stat", b"0:0:4755", flags)
            .expect("an attribute");
    }
    for words in
        [&["volume", "export", "-o", "out.tar", "kept"][..], &["export", "-o", "out.tar", "forger"]]
    {
        place.usnea(words).works();
        let mut tar = std::process::Command::new("tar");
        place.prepare(tar.args(["tvf", "out.tar"]));
        let listed = crate::support::finish(&mut tar, "");
        assert!(listed.works().contains("forged-"), "{words:?}: {listed:?}");
        assert!(!listed.stdout.contains("-rws"), "{words:?}: {listed:?}");
    }
    place.usnea(&["rm", "-v", "forger"]).works();
    place.usnea(&["volume", "rm", "kept"]).works();
}
