//! Trees that are deeper than a path can be, and mounts that follow each other at once.

use crate::fuse_overlay::{script, script_with_all_ids};
use crate::support::{Place, need, need_subids};

const DEEP: &str = "
import os, sys
def down(levels, make):
    for _ in range(levels):
        if make: os.mkdir('d')
        os.chdir('d')
def up_and_remove(levels):
    for _ in range(levels):
        os.chdir('..')
        os.rmdir('d')
";

/// A server that went down into such a tree by calls of itself ended, and took the container's root with it.
#[test]
fn a_tree_of_five_thousand_levels_is_copied_up_walked_and_removed() {
    if !need("unshare") || !need("python3") {
        return;
    }
    let place = Place::new();
    place.write("deep.py", DEEP);
    let run = |folder: &str, text: &str| {
        format!(
            "python3 -c 'sys=__import__(\"sys\"); sys.path.insert(0, \"../..\"); from deep import *; os.chdir(\"{folder}\"); {text}'\n"
        )
    };
    let ran = script(
        &place,
        &[
            // In memory: there a folder goes at once.
            "mkdir fs; mount -t tmpfs fs fs; cd fs; mkdir lower upper work m\n".into(),
            run("lower", "down(5000, True); open(\"f\", \"w\").write(\"deep\")"),
            // Fewer descriptors than levels.
            "(ulimit -n 4000 || true; mount_with '')\n".into(),
            run("m", "down(5000, False); open(\"f\", \"a\").write(\"er\"); print(open(\"f\").read())"),
            run("upper", "down(5000, False); print(open(\"f\").read())"),
            // Made in the mount itself; then so many other folders that the deep ones are closed.
            run("m", "os.mkdir(\"new\"); os.chdir(\"new\"); down(5000, True); open(\"f\", \"w\").write(\"new\")"),
            "mkdir -p m/wide; (cd m/wide; seq 1200 | xargs mkdir); ls -lR m/wide > /dev/null\n".into(),
            run("m/new", "down(5000, False); print(open(\"f\").read()); os.unlink(\"f\"); up_and_remove(5000)"),
            "ls m | tr '\\n' ' '; rm -r m/wide; unmount\n".into(),
            // What a killed server left in the work folder.
            run("work/work", "down(5000, True)"),
            "mount_with ''; ls m; ls work/work; unmount\n".into(),
            "cd ..; umount fs".into(),
        ]
        .concat(),
    );
    assert_eq!(ran.works(), "deeper\ndeeper\nnew\nd new wide d\nnew");
}

/// umount(2) returns before the server has ended.
#[test]
fn an_overlay_can_be_mounted_again_at_once() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "(cd lower; seq 2000 | xargs mkdir)
         for i in $(seq 40); do mount_with ''; ls -l m > /dev/null; echo $i >> m/count; umount m; done
         mount_with ''; cat m/count | wc -l; umount m
         # One that is in use stays refused.
         mount_with ''; mkdir other; fails $usnea mount overlay -o lowerdir=lower,upperdir=upper,workdir=work other
         says 'in use by another overlay'; umount m",
    );
    assert_eq!(ran.works(), "40");
}

#[test]
fn mount_takes_the_options_of_every_file_system() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "for o in defaults relatime strictatime nodiratime lazytime sync dirsync async,atime,rw noatime,nodev,nosuid; do
             mount_with ,$o; echo x >> m/f; umount m
         done
         mount_with ,fsname=shown,sync,noexec,nodev; grep ' shown ' /proc/self/mountinfo | grep -o 'r[wo],[a-z,]*' | head -1
         grep -o 'fuse.usnea shown rw,sync' /proc/self/mountinfo; umount m; fails mount_with ,wrong; says 'no option'",
    );
    assert_eq!(ran.works(), "rw,nodev,noexec,relatime\nfuse.usnea shown rw,sync");
}

/// lsattr(1), chattr(1)
#[test]
fn flags_of_files_are_those_of_the_layer() {
    if !["unshare", "python3"].iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    let place = Place::new();
    place.write(
        "flags.py",
        "import fcntl, os, struct, sys
GET, SET, NODUMP = 0x80086601, 0x40086602, 0x40
def flags(name):
    fd = os.open(name, os.O_RDONLY)
    return struct.unpack('i4x', fcntl.ioctl(fd, GET, bytes(8)))[0]
try: flags('lower/f')
except OSError: sys.exit(print('none'))
for name in ['/f', '/d']:
    assert flags('m' + name) == flags('lower' + name)
    fcntl.ioctl(os.open('m' + name, os.O_RDONLY), SET, struct.pack('i4x', NODUMP))
    assert flags('m' + name) & NODUMP and flags('upper' + name) & NODUMP and not flags('lower' + name) & NODUMP
    for hard in [0x10, 0x20]:
        try: fcntl.ioctl(os.open('m' + name, os.O_RDONLY), SET, struct.pack('i4x', hard))
        except PermissionError: continue
        assert False
",
    );
    let ran = script_with_all_ids(
        &place,
        "echo x > lower/f; mkdir lower/d; mount_with ''; python3 ../flags.py; unmount",
    );
    ran.works();
}
