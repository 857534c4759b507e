//! Who stacks the layers of a root: the kernel, usnea's own overlay, or nobody.

use std::os::unix::fs::PermissionsExt;

use crate::support::{
    Place, Started, drivers, has_kernel_overlay, has_subids, need_subids, not_applicable,
};

const CHANGES: &str = "echo more >> /etc/group && rm /etc/passwd && rm -r /etc/deep && mkdir /etc/deep && touch /etc/deep/new \
     && mv /etc/group /moved && ls /etc/deep && cat /moved && ! cat /etc/passwd 2> /dev/null && ln /moved /etc/again \
     && chmod 600 /moved && stat -c '%a %h' /etc/again";

/// A root with something to change.
fn place() -> Place {
    let place = Place::new();
    place.small_root();
    let etc = place.path("root/etc");
    std::fs::create_dir_all(etc.join("deep")).expect("a folder");
    std::fs::write(etc.join("deep/old"), "old").expect("a file");
    std::fs::write(etc.join("group"), "root:x:0:\n").expect("a file");
    std::fs::write(etc.join("passwd"), "root:x:0:0::/:/bin/sh\n").expect("a file");
    place
}

#[test]
fn every_driver_takes_the_same_changes_and_leaves_the_root_alone() {
    let place = place();
    for driver in drivers() {
        let ran = place.run(&["--storage-driver", driver], CHANGES);
        assert_eq!(ran.works(), "new\nroot:x:0:\nmore\n600 2", "{driver}");
        place.nothing_is_left();
        assert!(place.path("root/etc/passwd").exists(), "{driver}");
        let group = std::fs::read_to_string(place.path("root/etc/group")).expect("a file");
        assert_eq!(group, "root:x:0:\n", "{driver}");
    }
}

#[test]
fn a_kept_container_says_who_stacks_its_layers() {
    let place = place();
    for driver in drivers() {
        let words = ["create", "--name", driver, "--storage-driver", driver];
        place.usnea(&place.kept(&words, "true")).works();
        let told = place.usnea(&["inspect", "-f", "{{.Driver}} {{.GraphDriver.Name}}", driver]);
        assert_eq!(told.works(), format!("{driver} {driver}"));
        place.usnea(&["rm", driver]).works();
    }
}

#[test]
fn the_file_server_is_out_of_the_container_s_sight() {
    let place = place();
    let script = "grep -o '^[a-z]* / fuse.usnea' /proc/mounts; ! grep -l usnea /proc/[0-9]*/comm";
    let ran = place.run(&["--storage-driver", "fuse"], script);
    assert_eq!(ran.works(), "overlay / fuse.usnea");
}

#[test]
fn a_caller_that_detaches_gets_all_messages_and_then_end_of_file() {
    let place = place();
    for more in [&[][..], &["-t"]] {
        let words = [&["run", "-d", "--name", "served", "--storage-driver", "fuse"], more].concat();
        let started = Started::new(&mut place.command(&place.kept(&words, "sleep 1000")), "");
        // Both ends, within the time that a pipe may still be open: a shell's $(... 2>&1) waits for them.
        let ran = started.ends_whole();
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
        place.usnea(&["rm", "-f", "served"]).works();
    }
}

#[test]
fn a_command_that_closed_its_output_keeps_its_files() {
    let place = place();
    let script = "(sleep 1; cat /etc/group > /late; cat /late) & wait";
    assert_eq!(place.run(&["--storage-driver", "fuse"], script).works(), "root:x:0:");
}

#[test]
fn a_root_s_files_have_the_container_s_own_owners() {
    if !need_subids() {
        return;
    }
    let place = place();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.folder("root/open"), open).expect("open to all");
    let script = "stat -c '%u %g' /etc/group; touch /open/mine && stat -c '%u' /open/mine";
    let ran = place.run(&["--userns", "keep-id:uid=1234,gid=1234"], script);
    assert_eq!(ran.works(), "0 0\n1234");
    let ran = place.run(
        &["--uidmap", "0:1:1000", "-u", "7"],
        "stat -c '%u %g' /etc/group; grep Uid: /proc/self/status",
    );
    assert_eq!(ran.works(), "0 0\nUid:\t7\t7\t7\t7");
}

#[test]
fn a_root_that_is_written_to_has_nothing_to_be_stacked() {
    let place = place();
    let ran = place.run(&["--rw-root", "--storage-driver", "fuse"], "true");
    ran.fails_with(125, &["--rw-root has no layers"]);
}

#[test]
fn the_kernels_overlay_asked_for_by_name_is_no_copy_where_there_is_none() {
    if has_kernel_overlay() {
        return not_applicable("this kernel has an overlay for us");
    }
    let ran = place().run(&["--storage-driver", "overlay"], "true");
    ran.fails_with(125, &["--storage-driver overlay", "cannot mount it"]);
    ran.hints();
}

// The system's own root belongs to root, whose ID no ordinary user has.
#[test]
fn a_root_of_another_user_that_an_overlay_cannot_change_is_warned_of() {
    let place = Place::new();
    let said = |options: &[&str]| {
        let words = [&["run", "--rm", "--explain", "--network", "none"], options].concat();
        let ran = place.usnea(&[&words[..], &["dir:/", "true"]].concat());
        ran.works();
        ran.stderr.contains("the root belongs to another user").then_some(ran.stderr)
    };
    let other = if has_subids() { "--storage-driver fuse" } else { "--storage-driver copy" };
    if has_kernel_overlay() {
        let warning = said(&["--storage-driver", "overlay"]).expect("a warning");
        assert!(warning.contains(other), "{warning}");
        assert_eq!(said(&["--storage-driver", "overlay", "--read-only"]), None);
    }
    assert_eq!(said(&["--storage-driver", "fuse"]).is_some(), !has_subids());
    assert_eq!(said(&["--storage-driver", "copy"]), None);
}
