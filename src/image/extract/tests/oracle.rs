//! Comparison with GNU tar: its archives unpack to the same tree with both programs.

use std::process::Command;

use super::*;

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let status = Command::new(program).args(arguments).current_dir(folder).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A tree with every feature of tar.
fn make(folder: &Path) {
    let long = "l".repeat(120);
    let script = format!(
        r#"
        set -e
        mkdir -p usr/bin usr/share/{long}/{long} empty
        echo hello > usr/bin/hello; chmod 4755 usr/bin/hello
        ln usr/bin/hello usr/bin/hallo; ln -s hello usr/bin/link; ln -s /{long}/{long} far
        echo long > usr/share/{long}/{long}/{long}; ln usr/share/{long}/{long}/{long} long-link
        mkfifo pipe; chmod 1777 empty; : > nothing; printf '\n' > 'white space
        and line'
        truncate -s 3M holes; printf start | dd of=holes conv=notrunc status=none
        printf middle | dd of=holes bs=1 seek=1500000 conv=notrunc status=none
        truncate -s 2M all-hole
        truncate -s 8M many; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
            printf x$n | dd of=many bs=1 seek=$((n * 262144)) conv=notrunc status=none; done
        touch -d '2001-02-03 04:05:06.789012345' usr/bin/hello
        touch -d '1960-01-01 00:00:00.5' nothing
        touch -h -d '2002-03-04 05:06:07.25' far
        touch -d '2003-04-05 06:07:08.125' usr/bin empty .
        "#
    );
    run("sh", &["-c", &script], folder);
    let set = |name: &str, key: &str| {
        let path = folder.join(name);
        rustix::fs::setxattr(path, key, b"v\n=\0", rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("usr/bin/hello", "user.a");
    set("empty", "user.b");
}

fn compared(arguments: &[&str]) {
    let (source, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = Place::new();
    make(source.path());
    let archive = theirs.path().join("archive");
    let folder = theirs.path().join("fs");
    std::fs::create_dir(&folder).unwrap();
    let archive_name = archive.to_str().unwrap();
    let pack = [arguments, &["--owner=0", "--group=0", "-cf", archive_name, "."]].concat();
    run("tar", &pack, source.path());
    run("tar", &["-xpf", archive_name, "--xattrs", "--no-same-owner"], &folder);
    place.unpack(&std::fs::read(&archive).unwrap()).unwrap();
    let (ours, theirs) = (comparable(place.tree()), comparable(tree::read(&folder)));
    assert_eq!(names(&ours), names(&theirs));
    for (name, node) in &theirs {
        assert_eq!(&ours[name], node, "{name}");
    }
    assert!(
        ours["all-hole"].blocks <= 16 && ours["holes"].blocks < 3000 || !arguments.contains(&"-S")
    );
}

/// Removes expected differences: setuid may be in an attribute, and blocks may differ.
fn comparable(mut tree: Tree) -> Tree {
    for node in tree.values_mut() {
        node.xattrs.remove(crate::image::owners::OVERRIDE_STAT);
        node.mode &= 0o1777;
        node.blocks = if node.blocks <= 64 { 0 } else { node.blocks / 64 };
    }
    tree
}

#[test]
fn gnu_and_ustar_layers_are_as_gnu_tar_unpacks_them() {
    compared(&["--format=gnu"]);
    compared(&["--format=gnu", "-S"]);
    compared(&["--format=oldgnu", "-S"]);
}

#[test]
fn pax_layers_are_as_gnu_tar_unpacks_them() {
    compared(&["--format=pax", "--xattrs"]);
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        compared(&["--format=pax", "--xattrs", "-S", &version]);
    }
}

#[test]
fn ustar_and_v7_layers_are_as_gnu_tar_unpacks_them() {
    let (source, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let script =
        "mkdir -p a/b; echo x > a/b/c; ln a/b/c d; ln -s c a/b/e; touch -d @5 a; chmod 700 a/b
        p=$(printf '%090d' 7); mkdir -p $p; echo y > $p/$p";
    run("sh", &["-c", script], source.path());
    for (format, what) in [("ustar", "."), ("v7", "a d")] {
        let place = Place::new();
        let folder = theirs.path().join(format);
        std::fs::create_dir(&folder).unwrap();
        let script = format!(
            "tar --format={format} --owner=0 --group=0 -cf {0}.tar {what} && tar -xpf {0}.tar --no-same-owner -C {0}",
            folder.display()
        );
        run("sh", &["-c", &script], source.path());
        place.unpack(&std::fs::read(folder.with_extension("tar")).unwrap()).unwrap();
        let (mut ours, mut theirs) = (comparable(place.tree()), comparable(tree::read(&folder)));
        if format == "v7" {
            // The root has no entry in this format.
            ours.remove(".");
            theirs.remove(".");
        }
        assert_eq!(ours, theirs, "{format}");
    }
}
