//! The FUSE overlay on a file system that is full: the old file stays, nothing is left half made, and who writes is told.

use crate::fuse_overlay::script;
use crate::support::{Place, need};

#[test]
fn a_copy_that_does_not_fit_leaves_the_old_file_and_nothing_else() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "head -c 3000000 /dev/urandom > lower/big; echo small > lower/small; cp lower/big kept
         mount -t tmpfs -o size=1m small upper; mkdir upper/u upper/w
         $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m
         for change in 'echo x >> m/big' 'chmod 600 m/big' 'mv m/big m/other' 'ln m/big m/link' 'truncate -s 5 m/big'; do
             fails sh -c \"$change\"; says 'No space left'
             cmp m/big kept; is \"$(ls m)\" \"$(printf 'big\\nsmall')\"
             is \"$(ls -A upper/u upper/w/work | tr '\\n' ' ')\" 'upper/u:  upper/w/work: '
         done
         # What needs none of the old content fits.
         echo new > m/big; is \"$(cat m/big)\" new
         echo more >> m/small; is \"$(cat upper/u/small)\" \"$(printf 'small\\nmore')\"
         cmp lower/big kept; umount m; umount -l upper",
    );
    ran.works();
}

#[test]
fn writing_and_making_say_that_the_disk_is_full() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "echo old > lower/file
         mount -t tmpfs -o size=1m,nr_inodes=12 small upper; mkdir upper/u upper/w
         $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m
         fails dd if=/dev/zero of=m/new bs=64k count=40; says 'No space left'
         fails dd if=/dev/zero of=m/new bs=64k count=40 conv=fsync; says 'No space left'
         rm m/new; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do touch m/f$i || break; done 2> said
         grep -q 'No space left' said
         fails mkdir m/folder; says 'No space left'; fails ln -s x m/link; says 'No space left'
         fails rm m/file; says 'No space left'; is \"$(cat m/file)\" old
         rm m/f1 m/f2; rm m/file; test ! -e m/file; umount m; umount -l upper",
    );
    ran.works();
}
