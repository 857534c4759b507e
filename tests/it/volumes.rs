//! `-v`, `--mount` and `--tmpfs`: what of the host is inside, where, and who may write to it.

use std::os::unix::fs::MetadataExt;

use crate::support::{Place, need_subids, need_that, text};

/// `-v SOURCE:REST` with a source of the place.
fn volume(place: &Place, source: &str, rest: &str) -> String {
    format!("{}:{rest}", text(&place.path(source)))
}

#[test]
fn a_volume_is_the_host_s_folder_and_files_in_it_belong_to_the_caller() {
    let place = Place::new();
    place.write("data/from-host", "hello");
    let ran = place.run(
        &["-v", &volume(&place, "data", "/data")],
        "cat /data/from-host; echo back > /data/reply",
    );
    assert_eq!(ran.works(), "hello");
    assert_eq!(place.read("data/reply"), "back\n");
    let owner = place.path("data/reply").metadata().expect("the reply").uid();
    assert_eq!(owner, rustix::process::getuid().as_raw());
}

#[test]
fn a_relative_source_begins_with_a_dot_and_is_taken_from_here() {
    let place = Place::new();
    place.write("data/file", "here");
    assert_eq!(place.run(&["-v", "./data:/data"], "cat /data/file").works(), "here");
}

#[test]
fn a_file_can_be_a_volume() {
    let place = Place::new();
    place.write("file", "content");
    assert_eq!(
        place.run(&["-v", &volume(&place, "file", "/etc/deep/er:ro")], "cat /etc/deep/er").works(),
        "content"
    );
    assert!(!place.path("root/etc/deep").exists(), "the mount point was made in the root itself");
}

#[test]
fn a_read_only_volume_cannot_be_written() {
    let place = Place::new();
    place.write("data/file", "old");
    let ran = place.run(&["-v", &volume(&place, "data", "/data:ro")], "echo new > /data/file");
    assert!(ran.status != 0 && ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert_eq!(place.read("data/file"), "old");
}

#[test]
fn what_is_mounted_below_a_read_only_volume_is_read_only_too() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    if !need_that(mounts.contains(" /dev/shm "), "a file system of its own on /dev/shm") {
        return;
    }
    let place = Place::new();
    let ran = place.run(&["-v", "/dev:/host:ro"], "touch /host/shm/usnea-was-here");
    assert!(ran.status != 0 && ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert!(!std::path::Path::new("/dev/shm/usnea-was-here").exists());
}

#[test]
fn a_read_only_volume_stays_so_in_a_namespace_made_inside() {
    let place = Place::new();
    place.write("data/file", "old");
    // Root of a namespace of one's own has all powers in it, but not over mounts that came from above.
    let script = "unshare -U -r -m sh -c 'mount -o remount,bind,rw /data; umount /data; echo new > /data/file; cat /data/file'";
    // The default filter denies making a namespace, as docker's does.
    let options =
        ["-v", &volume(&place, "data", "/data:ro"), "--security-opt", "seccomp=unconfined"];
    let ran = place.run(&options, script);
    assert_eq!(ran.stdout, "old", "{ran:?}");
    assert_eq!(place.read("data/file"), "old");
}

#[test]
fn volumes_nest_in_whatever_order_they_are_named() {
    let place = Place::new();
    place.write("outer/file", "outer");
    place.folder("outer/sub");
    place.write("inner/file", "inner");
    let (outer, inner) = (volume(&place, "outer", "/data"), volume(&place, "inner", "/data/sub"));
    for options in [["-v", &outer, "-v", &inner], ["-v", &inner, "-v", &outer]] {
        let ran = place.run(&options, "cat /data/file /data/sub/file");
        assert_eq!(ran.works(), "outerinner", "{options:?}");
    }
}

#[test]
fn an_overlay_volume_takes_changes_and_forgets_them() {
    let place = Place::new();
    place.write("data/file", "old");
    let script = "echo new > /data/file; touch /data/more; cat /data/file";
    assert_eq!(place.run(&["-v", &volume(&place, "data", "/data:O")], script).works(), "new");
    assert_eq!(place.read("data/file"), "old");
    assert!(!place.path("data/more").exists());
}

#[test]
fn options_that_selinux_or_propagation_need_are_taken() {
    let place = Place::new();
    place.write("data/file", "x");
    for option in ["rw", "z", "Z", "ro,z", "rslave", "rprivate", "rw,rshared"] {
        let ran = place
            .run(&["-v", &volume(&place, "data", &format!("/data:{option}"))], "cat /data/file");
        assert_eq!(ran.works(), "x", "{option}");
    }
}

#[test]
fn mount_binds_with_named_fields() {
    let place = Place::new();
    place.write("data/file", "x");
    let mount = format!("type=bind,source={},target=/data,readonly", text(&place.path("data")));
    let ran = place.run(&["--mount", &mount], "cat /data/file; touch /data/new");
    assert!(ran.status != 0 && ran.stdout == "x" && ran.stderr.contains("Read-only"), "{ran:?}");
    let mount = format!("type=bind,src={},dst=/data", text(&place.path("data")));
    place.run(&["--mount", &mount], "touch /data/new").works();
    assert!(place.path("data/new").exists());
}

#[test]
fn a_tmpfs_is_empty_writable_and_as_large_as_asked() {
    let place = Place::new();
    for options in
        [["--tmpfs", "/etc:size=64k"], ["--mount", "type=tmpfs,destination=/etc,tmpfs-size=64k"]]
    {
        let script = "ls -A /etc; touch /etc/x && dd if=/dev/zero of=/etc/x bs=1024 count=128";
        let ran = place.run(&options, script);
        assert_eq!(ran.stdout, "", "{options:?}");
        assert!(ran.status != 0 && ran.stderr.contains("No space left"), "{options:?} {ran:?}");
    }
}

#[test]
fn a_tmpfs_has_the_asked_mode() {
    let place = Place::new();
    let ran = place.run(
        &["--tmpfs", "/scratch:mode=1770,noexec"],
        "stat -c %a /scratch; grep ' /scratch ' /proc/self/mountinfo",
    );
    assert!(ran.works().starts_with("1770\n"), "{ran:?}");
    assert!(ran.stdout.contains("noexec"), "{ran:?}");
}

#[test]
fn a_volume_over_a_symbolic_link_lands_where_the_link_leads_inside() {
    let place = Place::new();
    place.small_root();
    place.folder("root/real");
    std::os::unix::fs::symlink("/real", place.path("root/link")).expect("a link");
    place.write("data/file", "x");
    let ran = place.run(&["-v", &volume(&place, "data", "/link")], "cat /real/file");
    assert_eq!(ran.works(), "x");
}

#[test]
fn a_volume_is_given_to_the_container_s_user_without_leaving_its_file_system() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.write("data/deep/file", "x");
    place.write("outside", "x");
    std::os::unix::fs::symlink(place.path("outside"), place.path("data/link")).expect("a link");
    let who = |path: &str| {
        let metadata = place.path(path).symlink_metadata().expect("it is there");
        (metadata.uid(), metadata.gid())
    };
    let before = who("outside");
    let all = "stat -c '%u:%g' /data /data/deep/file /data/link; touch /data/new";
    let data = volume(&place, "data", "/data:U");
    let mount = format!("type=bind,source={},target=/data,U=true", text(&place.path("data")));
    for (options, owner) in [
        (["-v", &data, "-u", "33:44"], "33:44"),
        (["--mount", &mount, "-u", "55:66"], "55:66"),
        (["-v", &data, "--userns", "auto"], "0:0"),
        (["-v", &data, "--userns", "keep-id:uid=7,gid=8"], "7:8"),
    ] {
        let ran = place.run(&options, all);
        assert_eq!(ran.works(), [owner; 3].join("\n"), "{options:?}");
        assert_eq!(who("outside"), before, "{options:?}");
    }
    // keep-id: it was given back.
    assert_eq!(who("data/deep/file"), before);
    // Others' files stay below a mount.
    place.folder("data/mounted");
    let script = "mount -t tmpfs t data/mounted && touch data/mounted/x && \
                  \"$USNEA\" run --rm -v ./data:/data:U -u 3:3 \"$IMAGE\" stat -c '%u:%g' /data/deep /data/mounted/x";
    let mut command = std::process::Command::new("unshare");
    command.args(["--map-auto", "-rm", "sh", "-c", script]);
    command.env("USNEA", crate::support::binary()).env("IMAGE", place.image());
    place.prepare(&mut command);
    let ran = crate::support::finish(&mut command, "");
    assert_eq!(ran.works(), "3:3\n0:0");
    // What is of other IDs now goes in a namespace that has them.
    place.run(&["-v", &data, "-u", "0"], "true").works();
}

#[test]
fn a_kept_container_s_volume_is_given_at_each_start() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    place.write("data/file", "x");
    let words = ["run", "--name", "giver", "-u", "9:9", "-v", &volume(&place, "data", "/data:U")];
    let script = "stat -c '%u:%g' /data/file";
    assert_eq!(place.usnea(&place.kept(&words, script)).works(), "9:9");
    place.run(&["-v", &volume(&place, "data", "/data:U")], "true").works();
    assert_eq!(place.usnea(&["start", "-a", "giver"]).works(), "9:9");
    place.usnea(&["rm", "giver"]).works();
    // Also one of usnea's own.
    for option in ["-v=named:/data:U", "--mount=type=volume,source=named,target=/data,U"] {
        let ran = place.run(&[option, "-u", "9:8"], "stat -c '%u:%g' /data");
        assert_eq!(ran.works(), "9:8", "{option}");
        place.run(&["-v=named:/data:U"], "true").works();
    }
    place.usnea(&["volume", "rm", "named"]).works();
    place.run(&["-v", &volume(&place, "data", "/data:U")], "true").works();
}

#[test]
fn the_owner_of_a_system_folder_or_a_home_is_never_changed() {
    let place = Place::new();
    let home = std::env::var("HOME").expect("a home");

    for source in ["/", "/usr", "/tmp", "/var/lib/", home.as_str()] {
        let ran = place.run(&["-v", &format!("{source}:/data:U")], "true");
        ran.fails_with(125, &["'U' would give all of it"]);
        ran.hints();
    }

    // An ordinary user has nothing to give that is not theirs: the file that cannot be given is named.
    let ran = place.run(&["-v", "/usr/share:/data:U"], "true");
    ran.fails_with(125, &["/usr/share", "cannot give"]);
}

#[test]
fn mapped_mounts_of_the_host_are_refused_with_what_would_do() {
    let place = Place::new();
    place.folder("data");
    for options in ["idmap", "idmap=uids=0-1-10#10-11-10;gids=0-1-10"] {
        let ran = place.run(&["-v", &volume(&place, "data", &format!("/data:{options}"))], "true");
        ran.fails_with(125, &["'idmap' is refused by the kernel"]);
        ran.hints();
        assert!(ran.stderr.contains("keep-id"), "{ran:?}");
    }
}
