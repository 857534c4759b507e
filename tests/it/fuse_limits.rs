//! The limits of the FUSE overlay that its manual lists: each is as described, so that a change of one changes the manual.

use crate::fuse_overlay::{script, script_with_all_ids};
use crate::support::{Place, need, need_subids};

/// The kernel answers write(2) from its cache before it asks the server. Afterwards the size is that of the upper file.
#[test]
fn a_full_disk_is_reported_at_close_and_the_size_is_true_afterwards() {
    if !["unshare", "python3"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "mount -t tmpfs -o size=1m small upper; mkdir upper/u upper/w
         $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m
         cat > write.py <<'EOF'
import os
file = os.open('m/new', os.O_CREAT | os.O_WRONLY)
told = []
for step in [lambda: os.write(file, bytes(4 << 20)), lambda: os.fsync(file)]:
    try:
        step()
    except OSError as error:
        told.append(error.strerror)
print(told)
EOF
         is \"$(python3 write.py)\" \"['No space left on device']\"
         for i in $(seq 100); do test $(stat -c %s m/new) = $(stat -c %s upper/u/new) && break; sleep 0.05; done
         is $(stat -c %s m/new) $(stat -c %s upper/u/new); umount m; umount -l upper",
    );
    ran.works();
}

/// fuser has neither FUSE_TMPFILE nor FUSE_STATX, and the kernel tells nothing of a chown(2) to nobody.
#[test]
fn operations_that_the_protocol_of_the_server_lacks_are_refused_or_without_effect() {
    if !["unshare", "python3", "setpriv"].iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = script_with_all_ids(
        &place,
        "chmod 755 .; mount_with ''
         fails python3 -c \"import os; os.open('m', os.O_TMPFILE | os.O_RDWR)\"; says 'not supported'
         touch m/new; is \"$(stat -c %W m/new)\" 0
         chown 1:1 m/new; chmod 4755 m/new
         setpriv --reuid 1 --regid 1 --clear-groups python3 -c \"import os; os.chown('m/new', -1, -1)\"
         is \"$(stat -c %A m/new)\" -rwsr-xr-x; unmount",
    );
    ran.works();
}

#[test]
fn more_open_files_than_the_server_may_have_are_an_error_that_passes() {
    if !["unshare", "python3"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "for i in $(seq 200); do echo $i > lower/$i; done; (ulimit -n 100; mount_with '')
         fails python3 -c \"import os; [os.open(f'm/{i}', os.O_RDONLY) for i in range(1, 201)]\"; says 'Too many open files'
         is \"$(cat m/200)\" 200; unmount",
    );
    ran.works();
}

#[test]
fn links_of_a_changed_lower_file_that_lost_a_name_count_it_again_after_a_remount() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "echo x > lower/one; ln lower/one lower/two; mount_with ''
         echo y >> m/one; rm m/two; is $(stat -c %h m/one) 1; unmount
         mount_with ''; is $(stat -c %h m/one) 2; test ! -e m/two; unmount",
    );
    ran.works();
}
