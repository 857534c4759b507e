//! Privileges of files on the FUSE overlay: setuid and setgid go when the kernel's own file systems let them go, and
//! come from a folder where they come from one (xfstests generic/314, 355, 375, 444; pjdfstest).

use crate::fuse_overlay::script_with_all_ids;
use crate::support::{Place, has_kernel_overlay, need, need_subids, not_applicable};

/// Mounts the kernel's overlay on `k` and ours on `m`, both over layers of the same content; `both` runs a command in
/// each as a user of both IDs, and compares what it prints and its status.
const BOTH: &str = "chmod 755 .; chmod 755 upper lower m; mkdir k ku kw; chmod 755 k ku
    both() { user=$1; shift; for side in k m; do
        (cd $side; umask 022; setpriv --reuid $user --regid $user --clear-groups sh -c \"$*\" > ../said.$side 2>&1 || echo \"= $?\" >> ../said.$side)
        done; cmp -s said.k said.m || { tail -n 2 commands; echo \"as $user: $*\"; diff said.k said.m; exit 1; }
        echo \"as $user: $*\" >> commands; }
    begin() { mount -t overlay -o userxattr,lowerdir=lower,upperdir=ku,workdir=kw overlay k; mount_with ''; }\n";

fn as_on_the_kernels_overlay(text: &str) {
    let programs = ["unshare", "setpriv", "setfacl", "python3"];
    if !programs.iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    if !has_kernel_overlay() {
        return not_applicable("this kernel has no overlay for us");
    }
    let place = Place::new();
    place.write("op.py", OPERATIONS);
    script_with_all_ids(&place, &format!("{BOTH}{text}\nunmount; umount k")).works();
}

/// One change of the content of a file.
const OPERATIONS: &str = "
import os, sys, ctypes
def change(how, name):
    if how == 'cut': return os.truncate(name, 1)
    fd = os.open(name, os.O_RDWR | (os.O_TRUNC if how == 'open' else 0))
    if how == 'write': os.pwrite(fd, b'x', 0)
    if how == 'append': os.lseek(fd, 0, 2); os.write(fd, b'x')
    if how == 'fcut': os.ftruncate(fd, 1)
    if how == 'allocate': os.posix_fallocate(fd, 0, 4096)
    if how == 'punch': ctypes.CDLL(None).fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(2))
    if how == 'copy': os.copy_file_range(os.open('../op', os.O_RDONLY), fd, 2)
    if how == 'clone': os.copy_file_range(os.open('source', os.O_RDONLY), fd, 2)
try: change(*sys.argv[1:])
except OSError as error: print(error.errno)
";

#[test]
fn setuid_is_cleared_when_another_user_changes_the_content() {
    as_on_the_kernels_overlay(
        "cp ../op.py op; chmod 755 op; echo source > lower/source
         for mode in 4777 6777 2777 2767 6767; do echo lower > lower/l$mode; chmod $mode lower/l$mode; done
         begin
         for mode in 4777 6777 2777 2767 6767; do for how in write append cut fcut open allocate punch copy clone none; do for file in new l$mode; do
             for who in 1 0; do
                 both 0 \"rm -f f; cp -p ../lower/source f; [ $file = new ] || cp -p $file f; chmod $mode f; stat -c %A f\"
                 both $who \"python3 - $how f < ../op\"; both 3 'stat -c %A f'
             done
         done; done
             both 1 \"echo x >> l$mode\"; both 3 \"stat -c %A l$mode\"
         done",
    );
}

/// The kernel must not go on to honour what the server has taken off.
#[test]
fn an_overwritten_setuid_program_runs_as_its_caller() {
    as_on_the_kernels_overlay(
        "begin
         for how in 'os.pwrite(f, b, 0)' 'os.posix_fallocate(f, 0, len(b)); os.pwrite(f, b, 0)' 'os.copy_file_range(os.open(\"/usr/bin/id\", 0), f, len(b))'; do
             both 0 'rm -f g; cp /usr/bin/true g; chmod 4777 g; stat -c %A g'
             both 1 \"python3 -c 'import os; b=open(\\\"/usr/bin/id\\\",\\\"rb\\\").read(); f=os.open(\\\"g\\\",1); $(echo \"$how\" | sed 's/\"/\\\\\"/g'); os.close(f)'; ./g -u; stat -c %A g\"
         done",
    );
}

#[test]
fn a_default_acl_of_a_setgid_folder_decides_on_what_others_make_in_it() {
    as_on_the_kernels_overlay(
        "begin
         both 0 'mkdir D; setfacl -d -m u::rwx,g::r-x,o::---,u:101:rwx D; chown 100:100 D; chmod 2777 D'
         both 100 'mkdir D/sub; touch D/file; mkfifo D/pipe; stat -c \"%A %u %g\" D/*'
         both 102 'touch D/sub/intruder; mkdir D/theirs; touch D/of102; ln -s x D/link; stat -c \"%A %u %g\" D/*'
         both 101 'touch D/sub/friend; stat -c \"%A %u %g\" D/sub/friend'
         both 102 'rm D/of102; mkdir D/of102; stat -c \"%A %u %g\" D/of102; getfacl -c D/of102'
         both 102 'python3 -c \"import os; os.umask(0); os.close(os.open(\\\"D/x\\\", os.O_CREAT, 0o6777))\"; stat -c \"%A %u %g\" D/x'
         both 0 'mkdir E; chown 5:6 E; chmod 2777 E'
         both 102 'mkdir E/a; touch E/b; mkdir -m 1777 E/c; stat -c \"%A %u %g\" E/*'
         both 102 'python3 -c \"import os; os.umask(0); os.close(os.open(\\\"E/x\\\", os.O_CREAT, 0o6777))\"; stat -c \"%A %u %g\" E/x'
         both 0 'rm -r E/a; mkdir E/a; stat -c \"%A %u %g\" E/a'
         both 0 'mkdir F; chmod 777 F'
         both 102 'python3 -c \"import os; os.umask(0); os.close(os.open(\\\"F/x\\\", os.O_CREAT, 0o6755))\"; stat -c \"%A %u %g\" F/x'",
    );
}

/// What is made over a whiteout is made in the work folder first, which may itself lie in a folder of that kind.
#[test]
fn the_folder_that_the_work_folder_lies_in_gives_nothing_to_files() {
    if !["unshare", "setfacl"].iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = script_with_all_ids(
        &place,
        "rmdir work upper; chown 0:7 .; chmod 2755 .; setfacl -d -m u:9:rwx .; mkdir work; mkdir -m 755 upper
         setfacl -b upper; chgrp 0 upper; chmod g-s upper; echo x > lower/a; echo x > lower/b; setfacl -b lower/b
         chgrp 0 lower/b; chmod 644 lower/b; mount_with ''
         rm m/a; mkdir m/a; is \"$(stat -c '%A %g' m/a)\" 'drwxr-xr-x 0'
         chmod 600 m/b; is \"$(stat -c '%A %g' m/b)\" '-rw------- 0'; is \"$(getfacl -c m/a m/b | grep -c :9:)\" 0; unmount",
    );
    ran.works();
}

/// CVE-2016-7097
#[test]
fn setgid_is_cleared_when_a_user_outside_of_the_group_sets_an_acl() {
    as_on_the_kernels_overlay(
        "begin
         for mode in 2755 2745 2777 6755; do for acl in u::rwx,g::rwx,o::rwx u::rwx,g::rwx,o::rwx,u:8:r; do
             both 0 \"rm -f q; touch q; chown 1:3 q; chmod $mode q\"; both 1 \"setfacl -m $acl q; stat -c %A q\"
             both 0 \"rm -f q; touch q; chown 1:1 q; chmod $mode q\"; both 1 \"setfacl -m $acl q; stat -c %A q\"
             both 0 \"rm -f q; touch q; chown 1:3 q; chmod $mode q; setfacl -m $acl q; stat -c %A q\"
         done; done",
    );
}

/// A layer that holds no ACLs has none: that is no reason to keep anybody out.
#[test]
fn layers_without_acls_are_open_to_whom_their_modes_let_in() {
    if !["unshare", "setpriv", "setfacl"].iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = script_with_all_ids(
        &place,
        "chmod 755 . m; mount -t ramfs r lower; echo hi > lower/f; chown 2:2 lower/f; chmod 755 upper
         as() { setpriv --reuid $1 --regid $1 --clear-groups sh -c \"$2\"; }
         mount_with ''; is \"$(cat m/f)\" hi; is \"$(as 5 'cat m/f; ls m')\" \"$(printf 'hi\\nf')\"; fails as 5 'echo x >> m/f'
         fails as 2 'chmod 600 m/f; cat m/f; exec cat m/f > m/g'; chmod 600 m/f; fails as 5 'cat m/f'; is \"$(as 2 'cat m/f')\" hi; unmount
         mount -t ramfs r upper; mkdir upper/u upper/w; chmod 755 upper upper/u
         $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m
         is \"$(as 5 'cat m/f; ls m')\" \"$(printf 'hi\\nf')\"; mkdir m/d; chown 5:5 m/d; as 5 'echo new > m/d/n'; is \"$(as 6 'cat m/d/n')\" new
         fails setfacl -m u:7:r m/f; says 'not supported'; umount m; umount -l upper",
    );
    ran.works();
}

/// Where owners and modes are records, the rules are about those.
#[test]
fn recorded_modes_follow_the_rules_of_real_ones() {
    as_on_the_kernels_overlay(
        "chmod 777 lower; mount -t overlay -o userxattr,lowerdir=lower,upperdir=ku,workdir=kw overlay k; mount_with ,xattr_permissions=2
         chmod 777 k m
         both 0 'cp /usr/bin/true f; chown 1:1 f; chmod 6755 f; stat -c \"%A %u %g\" f; chown 2:2 f; stat -c \"%A %u %g\" f'
         both 0 'chmod 2745 f; chown 3 f; stat -c \"%A %u %g\" f; chmod 6755 f; chgrp 9 f; stat -c \"%A %u %g\" f'
         both 0 'mkdir d; chown 0:9 d; chmod 2777 d; mkdir d/e; touch d/f; mkfifo d/p; stat -c \"%A %u %g\" d/*'
         both 4 'mkdir d/g; touch d/h; ls d/e; stat -c \"%A %u %g\" d/*'
         cp ../op.py op; chmod 755 op; both 0 'echo source > source'
         for how in write append cut fcut open allocate punch copy clone; do for who in 0 1; do
             both 0 'chmod 6777 f'; both $who \"python3 - $how f < ../op\"; both 0 'stat -c %A f'
         done; done
         rm -r k/*; rm -r m/*",
    );
}
