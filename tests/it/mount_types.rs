//! `--mount` beyond bind mounts, volumes and tmpfs: parts of volumes, folders that are made, patterns, file systems of the
//! kernel's.

use std::os::unix::fs::symlink;

use crate::support::{Place, text};

fn clean(place: &Place) {
    place.usnea(&["rm", "-a", "-f", "-t", "0"]).works();
    place.usnea(&["volume", "rm", "-a"]).works();
    place.nothing_is_left();
}

#[test]
fn a_part_of_a_volume_is_mounted_and_its_links_stay_inside() {
    let place = Place::new();
    let script =
        "cd /v; mkdir -p a/b; echo deep > a/b/f; ln -s /etc out; ln -s a in; echo top > top";
    place.run(&["-v", "data:/v"], script).works();
    let part = |path: &str| format!("type=volume,source=data,target=/p,volume-subpath={path}");
    assert_eq!(place.run(&["--mount", &part("a/b")], "cd /p; echo *; cat f").works(), "f\ndeep");
    assert_eq!(place.run(&["--mount", &part("a/b/f")], "cat /p").works(), "deep");
    assert_eq!(place.run(&["--mount", &part("in/b")], "cat /p/f").works(), "deep");
    let podmans = "type=volume,src=data,dst=/p,subpath=a,ro";
    let script = "cat /p/b/f; (echo x > /p/b/f) 2> /dev/null || echo refused";
    assert_eq!(place.run(&["--mount", podmans], script).works(), "deep\nrefused");
    clean(&place);
}

#[test]
fn a_part_of_a_volume_that_is_not_there_is_an_error() {
    let place = Place::new();
    place.run(&["-v", "data:/v"], "ln -s /etc /v/out; ln -s ../../.. /v/up; mkdir /v/etc").works();
    let part = |path: &str| format!("type=volume,source=data,target=/p,volume-subpath={path}");
    place.run(&["--mount", &part("none")], "true").fails_with(125, &["none", "no such file"]);
    // A link to /etc is that folder of the volume, never the host's.
    assert_eq!(place.run(&["--mount", &part("out")], "ls -A /p").works(), "");
    assert_eq!(
        place.run(&["--mount", &part("up")], "ls /p | sort | tr '\\n' ' '").works(),
        "etc out up"
    );
    place.run(&["--mount", &part("../data")], "true").fails_with(125, &["relative path"]);
    clean(&place);
}

#[test]
fn a_stopped_container_s_part_of_a_volume_is_read_and_inherited() {
    let place = Place::new();
    place.run(&["-v", "data:/v"], "mkdir /v/a; echo deep > /v/a/f").works();
    let part = "type=volume,source=data,target=/p,volume-subpath=a";
    place.run_kept(&["--name", "ended", "--mount", part], "true").works();
    place.usnea(&["cp", "ended:/p/f", "copied"]).works();
    assert_eq!(place.read("copied"), "deep\n");
    assert_eq!(place.run(&["--volumes-from", "ended"], "cd /p; echo *").works(), "f");
    place.usnea(&["volume", "rm", "data"]).fails_with(1, &["in use by ended"]);
    clean(&place);
}

#[test]
fn a_missing_source_is_made_where_that_is_asked_for() {
    let place = Place::new();
    let source = place.path("made/below");
    let mount = format!("type=bind,source={},target=/b", text(&source));
    place.run(&["--mount", &mount], "true").fails_with(125, &["no such file"]);
    let made = format!("{mount},bind-create-src");
    place.run(&["--explain", "--mount", &made], "true").works();
    assert!(!source.exists());
    place.run(&["--mount", &made], "echo here > /b/f").works();
    assert_eq!(place.read("made/below/f"), "here\n");
    // An existing one is used, a file too.
    let file = place.write("file", "content");
    let mount = format!("type=bind,source={},target=/b,bind-create-src=true", text(&file));
    assert_eq!(place.run(&["--mount", &mount], "cat /b").works(), "content");
    place.nothing_is_left();
}

#[test]
fn each_file_that_matches_a_pattern_is_mounted() {
    let place = Place::new();
    for name in ["conf/a.conf", "conf/b.conf", "conf/c.txt", "conf/d/x.conf"] {
        place.write(name, name);
    }
    let pattern = place.path("conf/*.conf");
    let mount = format!("type=glob,source={},target=/etc/conf", text(&pattern));
    let script = "cd /etc/conf; echo *; cat b.conf";
    assert_eq!(place.run(&["--mount", &mount], script).works(), "a.conf b.conf\nconf/b.conf");
    let own_paths = format!("type=glob,source={},ro", text(&pattern));
    let script = format!("cd {}; echo *", text(&place.path("conf")));
    assert_eq!(place.run(&["--mount", &own_paths], &script).works(), "a.conf b.conf");
    let both = format!("type=glob,source={}/*/*.conf,target=/c", text(&place.path("")));
    symlink(place.path("conf"), place.path("link")).expect("a link");
    place.run(&["--mount", &both], "true").fails_with(125, &["two files", "a.conf"]);
    let none = format!("type=glob,source={}/none*,target=/c", text(&place.path("")));
    place.run(&["--mount", &none], "true").fails_with(125, &["no file of the host matches"]);
    place.nothing_is_left();
}

#[test]
fn file_systems_of_the_kernel_s_are_new_ones() {
    let place = Place::new();
    let script = "echo x > /m/f; cat /m/f; stat -c %a /m; grep ' /m ' /proc/mounts | cut -d' ' -f3";
    let ramfs = "type=ramfs,target=/m,tmpfs-mode=0700";
    assert_eq!(place.run(&["--mount", ramfs], script).works(), "x\n700\nramfs");
    let devpts = "type=devpts,target=/m,mode=0600,max=3";
    let script = "ls /m; grep ' /m ' /proc/mounts | grep -o 'mode=600.*max=3'";
    assert_eq!(
        place.run(&["--mount", devpts], script).works(),
        "ptmx\nmode=600,ptmxmode=666,max=3"
    );
    let unmapped = "type=devpts,target=/m,gid=4000000000";
    place.run(&["--mount", unmapped], "true").fails_with(125, &["4000000000 is not mapped"]);
    // The terminals of the container's own stay.
    assert_eq!(place.run(&["--mount", devpts], "ls /dev/pts").works(), "ptmx");
    place.nothing_is_left();
}
