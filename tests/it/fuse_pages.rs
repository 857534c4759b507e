//! What the kernel holds in memory of files on the FUSE overlay: questions that the server answers from disk must know
//! of it (xfstests generic/285, 436, 445, 448, 490).

use crate::fuse_overlay::script;
use crate::support::{Place, need};

/// The same operations in a folder of the file system and on the overlay above it: the map of data and holes, by the
/// writer's own descriptor and by another, and what stat(2) says.
const MAPS: &str = r#"
import os, random, sys
KEEP, PUNCH = 1, 2
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def allocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), 'fallocate')
def seek(fd, offset, whence):
    try: return os.lseek(fd, offset, whence)
    except OSError as error: return -error.errno
def map_of(fd):
    answer, offset = [], 0
    while (data := seek(fd, offset, os.SEEK_DATA)) >= 0:
        offset = seek(fd, data, os.SEEK_HOLE)
        answer.append((data, offset))
    return answer, seek(fd, 0, os.SEEK_HOLE), seek(fd, os.fstat(fd).st_size, os.SEEK_DATA)
def run(folder, seed):
    name, chance, lines = folder + '/file', random.Random(seed), []
    if chance.random() < .3: open(name, 'wb').close()
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    for _ in range(12):
        what = chance.choice(['write', 'write', 'write', 'cut', 'punch', 'allocate', 'sync', 'mapped'])
        offset, length = chance.randrange(0, 1 << 20), chance.randrange(1, 1 << 17)
        if what == 'write': os.pwrite(fd, b'x' * length, offset)
        if what == 'cut': os.ftruncate(fd, offset)
        if what == 'punch': allocate(fd, KEEP | PUNCH, offset, length)
        if what == 'allocate': allocate(fd, 0, offset, length)
        if what == 'sync': os.fsync(fd)
        if what == 'mapped' and (size := os.fstat(fd).st_size) > 8:
            import mmap
            with mmap.mmap(fd, 0) as pages: pages[size // 2:size // 2 + 4] = b'page'
        other = os.open(name, os.O_RDONLY)
        stat = os.stat(name)
        with open(name, 'rb') as file: content = file.read()
        shown = stat.st_blocks > 0 or not content.strip(b'\0')
        lines.append((what, offset, length, map_of(fd), map_of(other), stat.st_size, hash(content), shown))
        os.close(other)
    os.close(fd)
    os.unlink(name)
    return lines
for seed in range(60):
    for expected, answer in zip(run('fs/plain', seed), run('m', seed)):
        assert answer[-1], (seed, answer, 'data without a block')
        assert expected[:-1] == answer[:-1], (seed, expected, answer)
"#;

const TMPFS: &str =
    "mount -t tmpfs -o mode=755 fs upper; mkdir upper/plain upper/u upper/w; ln -s upper fs
     $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m\n";

#[test]
fn data_and_holes_are_where_they_are_while_a_file_is_being_written() {
    if !need("unshare") || !need("python3") {
        return;
    }
    let place = Place::new();
    place.write("maps.py", MAPS);
    let ran = script(&place, &format!("{TMPFS} python3 ../maps.py; umount m; umount upper"));
    ran.works();
}

/// The writer keeps the file open; whoever copies it meanwhile gets what is in it.
#[test]
fn a_copy_of_a_file_that_is_being_written_holds_what_was_written() {
    if !["unshare", "python3", "tar"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    place.write(
        "copies.py",
        "import os, subprocess
for made in ['new', 'empty', 'node', 'lower']:
    name = 'm/' + made
    if made == 'empty': open(name, 'w').close(); os.stat(name)
    if made == 'node': os.mknod(name); os.stat(name)
    for size in [0, 1 << 20]:
        for command in ['cp {0} m/copy', 'tar -S -c {0} | tar -x -O > m/copy', 'cat {0} > m/copy']:
            # The writer starts nobody: a close(2) in a child of it would write all back.
            (told, tell), (end, ends) = os.pipe(), os.pipe()
            if os.fork() == 0:
                os.close(ends)
                fd = os.open(name, os.O_RDWR | os.O_CREAT)
                if size: os.ftruncate(fd, size)
                os.pwrite(fd, b'important' * 100, 4096)
                os.write(tell, b'written')
                os.read(end, 1)
                os._exit(0)
            os.close(end)
            os.read(told, 7)
            subprocess.run(command.format(name), shell=True, check=True)
            with open(name, 'rb') as one, open('m/copy', 'rb') as other:
                assert one.read() == other.read(), (made, size, command)
            os.close(ends)
            os.wait()
            os.unlink(name)
            if made in ['empty', 'node']: os.mknod(name); os.stat(name)
",
    );
    let ran = script(
        &place,
        &format!("touch lower/lower; {TMPFS} python3 ../copies.py; umount m; umount upper"),
    );
    ran.works();
}

/// What was written to the kernel's memory alone is lost then; that must not be hidden.
#[test]
fn the_size_of_a_file_that_did_not_fit_is_what_is_there() {
    if !need("unshare") {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "mount -t tmpfs -o size=2m small upper; mkdir upper/u upper/w
         $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m
         fails dd if=/dev/zero of=m/f bs=64k count=128; says 'No space left'
         # The notice to the kernel is sent beside the answer.
         for try in $(seq 200); do [ $(stat -c %s m/f) = $(stat -c %s upper/u/f) ] && break; sleep 0.01; done
         is $(stat -c %s m/f) $(stat -c %s upper/u/f); is $(cat m/f | wc -c) $(stat -c %s upper/u/f)
         # The kernel tells the server of the last close beside the answer, too: until then the file takes its room.
         rm m/f; for try in $(seq 500); do [ $(stat -f -c %f upper) -gt 400 ] && break; sleep 0.01; done
         echo fits > m/f; is \"$(cat upper/u/f)\" fits; umount m; umount -l upper",
    );
    ran.works();
}
