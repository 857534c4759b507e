//! Mounts of images that are damaged, truncated or crafted, and invalid requests: errors, never a hang or the end of the
//! server.

use std::process::Command;

use crate::squashfs_mount::{has_programs, with_images};
use crate::support::{Place, binary, finish, need};

#[test]
fn invalid_requests_are_reported_and_nothing_is_mounted() {
    let place = Place::new();
    place.folder("m");
    place.write("text", "not an image");
    place.write("empty", "");
    place.write("magic", "hsqs");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path("fifo"), mode).expect("a FIFO");
    for (words, said) in [
        (&["nope", "m"][..], "cannot open nope: No such file"),
        (&["m", "m"], "m is no regular file"),
        (&["fifo", "m"], "fifo is no regular file"),
        (&["/dev/null", "m"], "/dev/null is no regular file"),
        (&["text", "m"], "text holds no squashfs image at byte 0"),
        (&["empty", "m"], "empty holds no squashfs image"),
        (&["magic", "m"], "cannot mount magic"),
        (&["-o", "bogus", "text", "m"], "'bogus' is no option of an image"),
        (&["-o", "offset=x", "text", "m"], "offset=x: expected a number of bytes"),
        (&["-o", "offset=18446744073709551615", "text", "m"], "no squashfs image at byte 184"),
        (&["-o", "lowerdir=m", "text", "m"], "'lowerdir' is no option of an image"),
    ] {
        let mut command = Command::new(binary());
        command.args(["mount", "squashfs"]).args(words).current_dir(place.path("."));
        finish(&mut command, "").fails_with(125, &[said]);
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let here = place.path("m");
    assert!(!mounts.contains(here.to_str().expect("UTF-8")));
}

#[test]
fn a_missing_mount_point_and_an_old_format_are_reported() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "mkdir src; echo x > src/f; image -comp gzip
         fails $usnea mount squashfs t.sqsh nowhere; says 'cannot open nowhere'
         cp t.sqsh old.sqsh; printf '\\3' | dd of=old.sqsh bs=1 seek=28 conv=notrunc 2> /dev/null
         fails $usnea mount squashfs old.sqsh m; says 'cannot mount old.sqsh'
         cp t.sqsh lzma.sqsh; printf '\\2' | dd of=lzma.sqsh bs=1 seek=20 conv=notrunc 2> /dev/null
         fails $usnea mount squashfs lzma.sqsh m; says 'cannot mount lzma.sqsh'
         is \"$(ls m)\" ''",
    );
    ran.works();
}

/// A file that shrinks, as on a full disk or a lost server: what is gone is EIO, the rest is served, and all of it again
/// when the file is whole again.
#[test]
fn a_truncated_image_gives_errors_for_what_is_missing_and_recovers() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "mkdir src; for n in $(seq 40); do head -c 1000000 /dev/urandom > src/f$n; done; image -comp zstd
         cp t.sqsh whole.sqsh; $usnea mount squashfs -f t.sqsh m & server=$!
         until test -e m/f1; do sleep 0.01; done; ls -l m > /dev/null
         truncate -s 20000000 t.sqsh
         good=0; bad=0; for n in $(seq 40); do
             if said=$(cat m/f$n 2>&1 > got); then cmp got src/f$n; good=$((good + 1))
             else says 'Input/output error'; bad=$((bad + 1)); fi
         done
         test $good -gt 5; test $bad -gt 5; kill -0 $server
         truncate -s 0 t.sqsh; fails cat m/f40; says 'Input/output error'
         cat whole.sqsh > t.sqsh
         for n in $(seq 40); do cmp m/f$n src/f$n; done
         umount m; wait $server",
    );
    ran.works();
}

/// Changes a few bytes, mostly of the superblock and the tables, or cuts the image; writes n.sqsh.
const CRAFTED: &str = r#"
import random, struct, sys
number = int(sys.argv[1]); random.seed(number)
data = bytearray(open(f't{number % 2}.sqsh', 'rb').read())
inodes = struct.unpack_from('<Q', data, 64)[0]
kind = number % 5
if kind == 0: data[random.randrange(4, 96)] = random.randrange(256)
elif kind == 1: struct.pack_into('<Q', data, random.choice(range(32, 96, 8)), random.choice([0, 95, len(data), 2**63, 2**64 - 2, inodes + 1]))
elif kind == 2:
    for _ in range(3): data[random.randrange(inodes, len(data))] = random.randrange(256)
elif kind == 3:
    for _ in range(20): data[random.randrange(96, len(data))] ^= 1 << random.randrange(8)
else: del data[random.randrange(96, len(data)):]
open('n.sqsh', 'wb').write(data)
"#;

/// Reads all that can be read within limits. Errors of the image are expected; those of a dead server are not.
const WALK: &str = r#"
import os, sys
left = 3000
def tried(work):
    try: return work()
    except OSError as error:
        if error.errno in (103, 107): sys.exit(f'the server is dead: {error}')
def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for offset in list(range(0, 1 << 20, 1 << 17)) + [1 << 31, 1 << 45]: os.pread(fd, 1 << 17, offset)
    finally: os.close(fd)
def walk(folder, depth):
    global left
    for entry in tried(lambda: list(zip(range(3000), os.scandir(folder)))) or []:
        left -= 1
        if left < 0: return
        path = entry[1].path
        tried(lambda: os.lstat(path)); tried(lambda: os.listxattr(path, follow_symlinks=False))
        tried(lambda: os.readlink(path))
        if tried(lambda: entry[1].is_dir(follow_symlinks=False)): depth < 20 and walk(path, depth + 1)
        elif tried(lambda: entry[1].is_file(follow_symlinks=False)): tried(lambda: read(path))
walk('m', 0)
"#;

#[test]
fn crafted_images_give_errors_and_the_server_lives() {
    if !has_programs() || !need("timeout") {
        return;
    }
    let place = Place::new();
    place.write("layers/crafted.py", CRAFTED);
    place.write("layers/walk.py", WALK);
    let ran = with_images(
        &place,
        "mkdir -p src/d/e; for n in $(seq 300); do echo $n > src/d/n$n; done
         head -c 300000 /dev/urandom > src/big; yes text | head -c 500000 > src/d/e/text; ln -s d src/link
         python3 -c 'import os; [os.setxattr(\"src/d/n%d\" % n, \"user.x\", b\"y\" * n) for n in range(1, 50)]'
         # The plain tables of the other are changed without a word from the codec.
         image -comp gzip; mv t.sqsh t0.sqsh; image -comp gzip -noI -noX; mv t.sqsh t1.sqsh; mounted=0
         for n in $(seq 30); do
             python3 crafted.py $n
             if timeout 60 $usnea mount squashfs n.sqsh m 2> said; then
                 mounted=$((mounted + 1)); timeout 100 python3 walk.py; stat -f m > /dev/null; umount m
             else
                 grep -q '^usnea: cannot mount n.sqsh\\|no squashfs image' said || { cat said; exit 1; }
             fi
         done
         test $mounted -gt 5",
    );
    ran.works();
}
