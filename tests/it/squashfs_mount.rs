//! Squashfs images mounted by usnea: what is seen is what mksquashfs was given, also below the kernel's overlay.

use std::process::Command;

use crate::fuse_overlay::{script, script_with_all_ids};
use crate::support::{
    Place, Ran, binary, finish, has_kernel_overlay, need, need_subids, not_applicable,
};

/// Makes `src`: content around the sizes of blocks, holes, links, many names, attributes, times.
const TREE: &str = r#"
import os, random, socket
random.seed(5)
os.makedirs('src/deep/er/est'); os.mkdir('src/many'); os.mkdir('src/empty')
def write(name, data):
    with open('src/' + name, 'wb') as file: file.write(data)
for size in [0, 1, 100, 4095, 4096, 4097, 131071, 131072, 131073, 300000, 1048576, 2500001]:
    noise = random.randbytes(size // 3)
    write(f'size{size}', (noise + b'some text ' * size)[:size])
write('text', b'the text\n')
for number in range(1500): write(f'many/n{number:05}', b'%d\n' % number)
for name in ['deep/er/est/f', 'many/' + 'l' * 255, 'many/new\nline', 'many/\u00fcml\u00e4ut', 'many/ ']: write(name, b'x' * 77)
with open('src/sparse', 'wb') as file:
    file.truncate(3 << 20); file.seek(1 << 20); file.write(b'data' * 2000)
with open('src/hole', 'wb') as file: file.truncate((1 << 20) + 5)
os.link('src/size4097', 'src/deep/again'); os.link('src/size4097', 'src/deep/er/third')
os.symlink('deep/er', 'src/link'); os.symlink('long/' * 700, 'src/longlink'); os.symlink('nowhere', 'src/dangling')
os.mkfifo('src/fifo')
os.chdir('src'); socket.socket(socket.AF_UNIX).bind('socket'); os.chdir('..')
for name, value in [('user.one', b'1'), ('user.empty', b''), ('user.long', bytes(range(256)) * 4)]:
    for path in ['text', 'size131073', 'deep', 'many/n00007']: os.setxattr('src/' + path, name, value)
for name, mode in [('size1', 0o4755), ('size100', 0o2711), ('size4095', 0), ('empty', 0o1777), ('deep', 0o750)]:
    os.chmod('src/' + name, mode)
times = [0, 1, 1000000000, 2**31 - 1, 4000000000]
for folder, folders, files in os.walk('src', topdown=False):
    for name in files + ['.']:
        os.utime(os.path.join(folder, name), (5, random.choice(times)), follow_symlinks=False)
"#;

/// Prints all that can be seen of a tree.
const LISTING: &str = r#"
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
def shown(path):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    line = [path, oct(s.st_mode), s.st_uid, s.st_gid, int(s.st_mtime), s.st_rdev]
    if kind != stat.S_IFDIR: line += [s.st_size, s.st_nlink]
    if kind == stat.S_IFREG: line.append(hashlib.sha256(open(path, 'rb').read()).hexdigest())
    if kind == stat.S_IFLNK: line.append(os.readlink(path))
    try: names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError as error:
        if error.errno != 95: raise
        names = []
    line += [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    return repr(line)
for folder, folders, files in os.walk('.'):
    folders.sort()
    kinds = sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in os.scandir(folder))
    print(repr(kinds))
    for name in sorted(files + folders): print(shown(os.path.join(folder, name)))
print(shown('.'))
"#;

/// Prints where data and holes of a file begin: data from 0 on, a hole from there on, a hole from the last byte on, data
/// behind the last data, a hole behind the end.
const SEEK: &str = r#"
import errno, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
def seek(offset, whence):
    try: return os.lseek(file, offset, whence)
    except OSError as error: return errno.errorcode[error.errno]
data = seek(0, os.SEEK_DATA)
hole = seek(data if data != 'ENXIO' else 0, os.SEEK_HOLE)
print(data, hole, seek(size - 1, os.SEEK_HOLE) + 1, seek(size - 1, os.SEEK_DATA), seek(size, os.SEEK_HOLE))
"#;

/// Functions for the scripts: `tree`, `image OPTION...` writes t.sqsh, `list FOLDER`.
const START: &str = r#"
tree() { python3 tree.py; python3 list.py src > wanted; }
image() { rm -f t.sqsh; mksquashfs src t.sqsh -quiet -no-progress "$@" > /dev/null; }
list() { python3 list.py "$1"; }
"#;

/// Runs a script in a user namespace, in a folder of its own; see [`START`] and [`script`].
pub fn with_images(place: &Place, text: &str) -> Ran {
    programs(place);
    script(place, &format!("{START}{text}"))
}

fn programs(place: &Place) {
    place.write("layers/tree.py", TREE);
    place.write("layers/list.py", LISTING);
}

/// The programs of these tests.
#[must_use]
pub fn has_programs() -> bool {
    need("unshare") && need("mksquashfs") && need("python3")
}

#[test]
fn a_mounted_image_shows_the_tree_that_it_was_made_of() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "tree
         same() { image \"$@\"; $usnea mount squashfs t.sqsh m; list m > got; umount m; cmp wanted got; }
         same -comp gzip; same -comp zstd -b 4K; same -comp xz -b 1M; same -comp lz4 -b 64K
         same -comp zstd -b 1M -no-fragments; same -comp gzip -b 16K -always-use-fragments
         same -comp zstd -noI -noD -noF -noX; same -comp gzip -noId -no-duplicates -no-exports",
    );
    ran.works();
}

#[test]
fn holes_of_a_mounted_image_are_found_and_copied_as_holes() {
    if !has_programs() {
        return;
    }
    let place = Place::new();
    place.write("layers/seek.py", SEEK);
    let ran = with_images(
        &place,
        "tree; image -comp gzip -b 64K; $usnea mount squashfs t.sqsh m
         is \"$(python3 seek.py m/sparse)\" '1048576 1114112 3145728 ENXIO ENXIO'
         is \"$(python3 seek.py m/hole)\" 'ENXIO 0 1048581 ENXIO ENXIO'
         cp --sparse=auto m/hole copy; cmp src/hole copy; [ \"$(stat -c %b copy)\" -lt 64 ]
         umount m",
    );
    ran.works();
}

#[test]
fn readers_at_once_see_the_same_and_the_image_is_found_behind_an_offset() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "tree; image -comp zstd -b 1M
         { head -c 40960 /dev/urandom; cat t.sqsh; head -c 5000 /dev/urandom; } > behind.sif
         $usnea mount squashfs -o offset=40960,fsname=behind behind.sif m
         is \"$(findmnt -n -o FSTYPE,SOURCE m | tr -s ' ')\" 'fuse.usnea behind'
         for n in 1 2 3; do list m > got$n & readers=\"$readers $!\"; done
         for reader in $readers; do wait $reader; done
         for n in 1 2 3; do cmp wanted got$n; done; umount m
         fails $usnea mount squashfs behind.sif m; says 'no squashfs image at byte 0'",
    );
    ran.works();
}

#[test]
fn an_image_is_never_written_to_and_its_devices_are_shown_alone() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "mkdir src; echo x > src/f; image -comp gzip -p 'null c 666 0 0 1 3' -p 'disk b 640 0 0 8 1'
         $usnea mount squashfs -o rw,dev t.sqsh m
         is \"$(stat -c '%F %t:%T %a' m/null)\" 'character special file 1:3 666'
         is \"$(stat -c '%F %t:%T %a' m/disk)\" 'block special file 8:1 640'
         fails cat m/null; says 'Permission denied'; fails cat m/disk; says 'Permission denied'
         for how in 'touch m/new' 'rm m/f' 'mkdir m/d' 'mv m/f m/g' 'chmod 600 m/f' 'truncate -s 0 m/f' 'ln m/f m/l'; do
             fails $how; says 'Read-only file system'
         done
         mount -o remount,bind,rw,nodev m; fails touch m/new; says 'Read-only file system'
         is \"$(cat m/f)\" x; umount m",
    );
    ran.works();
}

#[test]
fn statfs_tells_the_size_of_the_image() {
    if !has_programs() {
        return;
    }
    let ran = with_images(
        &Place::new(),
        "mkdir src; echo x > src/f; head -c 1000000 /dev/urandom > src/g; image -comp zstd -b 64K
         $usnea mount squashfs t.sqsh m
         is \"$(stat -f -c '%s %f %a %c %d' m)\" '65536 0 0 3 0'
         test $(($(stat -f -c %b m) * 65536)) -ge 1000000; umount m",
    );
    ran.works();
}

#[test]
fn owners_are_those_of_the_image_where_the_namespace_has_their_ids() {
    if !has_programs() {
        return;
    }
    let text = "mkdir src; echo x > src/f; image -comp gzip -force-uid 5 -force-gid 6
         $usnea mount squashfs t.sqsh m; stat -c %u:%g m/f; umount m
         $usnea mount squashfs -o uidmapping=5:7:1,gidmapping=6:8:1 t.sqsh m; stat -c %u:%g m/f; umount m";
    assert_eq!(with_images(&Place::new(), text).works(), "0:0\n0:0");
    if need_subids() {
        let place = Place::new();
        programs(&place);
        let ran = script_with_all_ids(&place, &format!("{START}{text}"));
        assert_eq!(ran.works(), "5:6\n7:8");
    }
}

#[test]
fn the_kernel_s_overlay_takes_a_mounted_image_as_its_lower_layer() {
    if !has_programs() {
        return;
    }
    if !has_kernel_overlay() {
        return not_applicable("this kernel has no overlay for ordinary users");
    }
    let ran = with_images(
        &Place::new(),
        "tree; image -comp zstd
         mkdir t o; $usnea mount squashfs t.sqsh m; mount -t tmpfs t t; mkdir t/u t/w
         mount -t overlay -o userxattr,lowerdir=m,upperdir=t/u,workdir=t/w overlay o
         # The last line is the root, which is the upper directory.
         list o | sed '$d' > got; sed '$d' wanted | cmp - got
         rm o/size300000; test ! -e o/size300000; is \"$(stat -c %F:%t:%T t/u/size300000)\" 'character special file:0:0'
         echo more >> o/text; is \"$(cat o/text | tr '\\n' ' ')\" 'the text more '; is \"$(cat m/text)\" 'the text'
         is \"$(python3 -c 'import os; print(os.getxattr(\"o/text\", \"user.one\"))')\" \"b'1'\"
         mv o/text o/moved; mv o/size4097 o/deep/er/est/moved; cmp o/deep/er/est/moved m/size4097
         mv o/many o/other; is \"$(ls o/other | wc -l) $(cat o/other/n00042)\" \"$(ls m/many | wc -l) 42\"
         rm -r o/deep; mkdir o/deep; is \"$(ls -A o/deep)\" ''
         printf ZZ | dd of=o/size2500001 bs=1 seek=2000000 conv=notrunc 2> /dev/null
         is \"$(cmp -l o/size2500001 m/size2500001 | wc -l)\" 2
         umount o; list m > got; cmp wanted got; umount m; umount t",
    );
    ran.works();
}

#[test]
fn an_ordinary_user_mounts_an_image_by_fusermount3() {
    if !need("fusermount3") || !need("mksquashfs") {
        return;
    }
    let place = Place::new();
    place.write("src/file", "text");
    place.folder("m");
    let mut make = Command::new("mksquashfs");
    make.args(["src", "t.sqsh", "-quiet", "-no-progress"]).current_dir(place.path("."));
    finish(&mut make, "").works();
    let mut mount = Command::new(binary());
    mount.args(["mount", "squashfs", "t.sqsh", "m"]).current_dir(place.path("."));
    finish(&mut mount, "").works();
    let read = std::fs::read_to_string(place.path("m/file"));
    let written = std::fs::write(place.path("m/new"), "new");
    let mut unmount = Command::new("fusermount3");
    finish(unmount.arg("-u").arg(place.path("m")), "").works();
    assert_eq!(read.expect("the file"), "text");
    let error = written.expect_err("read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn an_image_is_a_layer_of_the_overlay() {
    if !need("mksquashfs") || !need("fusermount3") {
        return;
    }
    let place = Place::new();
    for name in ["src", "m", "upper", "work"] {
        place.folder(name);
    }
    place.write("src/file", "text");
    let run = |program: &std::path::Path, words: &[&str]| {
        finish(Command::new(program).args(words).current_dir(place.path(".")), "")
    };
    run("mksquashfs".as_ref(), &["src", "t.sqsh", "-quiet", "-no-progress"]).works();
    let image = std::fs::read(place.path("t.sqsh")).expect("an image");
    std::fs::write(place.path("far"), [&[7; 4096], &image[..]].concat()).expect("a file");
    for (options, is_written) in [
        ("lowerdir=t.sqsh", false),
        ("lowerdir=far,image_offset=0:4096", false),
        ("lowerdir=t.sqsh,upperdir=upper,workdir=work", true),
    ] {
        run(&binary(), &["mount", "overlay", "-o", options, "m"]).works();
        let written = std::fs::write(place.path("m/file"), "new");
        let read = std::fs::read_to_string(place.path("m/file"));
        run("fusermount3".as_ref(), &["-u", "m"]).works();
        assert_eq!(written.is_ok(), is_written, "{options}: {written:?}");
        assert_eq!(read.expect("a file"), if is_written { "new" } else { "text" });
    }
    assert_eq!(place.read("upper/file"), "new");
    std::fs::write(place.path("cut"), &image[..100]).expect("a file");
    let cut = run(&binary(), &["mount", "overlay", "-o", "lowerdir=cut", "m"]);
    cut.fails_with(125, &["image cut: the squashfs image is truncated"]);
}
