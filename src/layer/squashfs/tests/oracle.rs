//! Images of mksquashfs, read by us: the source tree and unsquashfs are the judges.

use super::source_tree::{Attributes, compare, make};
use super::*;

/// Packs the tree with each of these options, and compares.
fn compare_with(options: &[&[&str]]) {
    let source = tempfile::tempdir().unwrap();
    make(source.path());
    for options in options {
        let made = MadeImage::new(source.path(), options);
        let image = made.open();
        let attributes = match options.contains(&"-no-xattrs") {
            true => Attributes::Left,
            false => Attributes::Kept,
        };
        let count = compare(source.path(), &root(&image), attributes);
        assert!(count > source_tree::MANY, "{options:?}");
        assert_eq!(image.space().bytes, image.superblock().bytes_used);
        assert!(image.space().inodes > source_tree::MANY as u64);
        assert_eq!(image.end() % 4096, 0);
        // mksquashfs pads to the same end.
        assert_eq!(image.end(), made.bytes().len() as u64, "{options:?}");
    }
}

#[test]
fn gzip_reads_as_the_source() {
    compare_with(&[&["-comp", "gzip", "-b", "4096"], &["-comp", "gzip"]]);
}

#[test]
fn zstd_reads_as_the_source() {
    let fast = ["-comp", "zstd", "-Xcompression-level", "1"];
    compare_with(&[&[&fast[..], &["-b", "1M"]].concat(), &fast]);
}

#[test]
fn lz4_reads_as_the_source() {
    compare_with(&[&["-comp", "lz4", "-b", "1M"], &["-comp", "lz4", "-Xhc", "-b", "64K"]]);
}

#[test]
fn xz_reads_as_the_source() {
    compare_with(&[&["-comp", "xz", "-b", "1M"], &["-comp", "xz", "-Xbcj", "x86", "-b", "16K"]]);
}

#[test]
fn tails_in_blocks_and_in_fragments_read_as_the_source() {
    let lz4 = ["-comp", "lz4"];
    compare_with(&[
        &[&lz4[..], &["-no-fragments"]].concat(),
        &[&lz4[..], &["-always-use-fragments", "-b", "256K"]].concat(),
    ]);
}

#[test]
fn uncompressed_parts_read_as_the_source() {
    compare_with(&[
        &["-comp", "lz4", "-noI", "-noD", "-noF", "-noX", "-noId"],
        &["-comp", "lz4", "-noD", "-noF"],
        &["-comp", "lz4", "-noI"],
    ]);
}

#[test]
fn images_without_tables_read_as_the_source() {
    compare_with(&[
        &["-comp", "lz4", "-no-exports", "-no-duplicates"],
        &["-comp", "lz4", "-no-exports", "-no-xattrs", "-no-sparse"],
    ]);
}

#[test]
fn an_image_within_a_larger_file_reads_as_the_source() {
    let source = tempfile::tempdir().unwrap();
    make(source.path());
    let made = MadeImage::new(source.path(), &["-comp", "lz4"]);
    for base in [1, 40_960] {
        let whole = [noise(base), made.bytes(), noise(5_000)].concat();
        let limits = CacheLimits::default();
        let image = SquashfsImage::open(in_memory(&whole), base as u64, limits).unwrap();
        compare(source.path(), &root(&image), Attributes::Kept);
        assert_eq!(image.end(), (base + made.bytes().len()) as u64);
    }
}

/// Lines of `unsquashfs -lln`: mode, owner, device number or size, path.
fn unsquashfs_lines(path: &Path) -> Vec<Vec<String>> {
    let listed = Command::new("unsquashfs")
        .args(["-lln", "-d", "TOP"])
        .arg(path)
        .output()
        .expect("unsquashfs is needed (squashfs-tools)");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = |line: &str| -> Vec<String> {
        // A device has "MAJOR, MINOR" for a size.
        let line = line.replace(", ", ",").replace(", ", ",").replace(", ", ",");
        line.split_whitespace().map(str::to_owned).collect()
    };
    listed.lines().filter(|line| line.contains("TOP")).map(words).collect()
}

#[test]
fn devices_and_owners_are_those_of_unsquashfs() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), text(10)).unwrap();
    let pseudo = [
        "null c 666 0 0 1 3",
        "disk b 640 70000 4294967294 255 254",
        "home d 2750 1000 1000",
        "home/link s 777 65534 12 ../file",
    ];
    let options: Vec<_> = pseudo.iter().flat_map(|line| ["-p", line]).collect();
    let made = MadeImage::new(source.path(), &options);
    let image = made.open();
    let mut checked = 0;
    for words in unsquashfs_lines(&made.path) {
        let [mode, owner, size, .., path] = words.as_slice() else { panic!("{words:?}") };
        let (path, target) = match words.iter().position(|word| word == "->") {
            Some(arrow) => (&words[arrow - 1], Some(path)),
            None => (path, None),
        };
        let mut inode = image.inode(image.root()).unwrap();
        for name in path.split('/').skip(1) {
            let found = image.lookup(&inode, name.as_ref()).unwrap();
            inode = image.inode(found.unwrap_or_else(|| panic!("{path}: {name}"))).unwrap();
        }
        let stat = image.stat(&inode);
        assert_eq!(*mode, mode_text(stat.st_mode), "{path}");
        assert_eq!(*owner, format!("{}/{}", inode.uid, inode.gid), "{path}");
        match inode.kind {
            InodeKind::CharacterDevice | InodeKind::BlockDevice => {
                let device = stat.st_rdev;
                let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
                assert_eq!(*size, format!("{major},{minor}"), "{path}");
            }
            InodeKind::Symlink => {
                let target = target.expect("a target");
                assert_eq!(image.read_link(&inode).unwrap(), target.as_bytes());
            }
            _ => assert_eq!(*size, inode.size.to_string(), "{path}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 6, "{pseudo:?}, the file and the root");
}

/// Numbers beyond 8 bits, which unsquashfs 4.5 shows wrong.
#[test]
fn large_device_numbers_are_the_kernels() {
    let source = tempfile::tempdir().unwrap();
    let devices = [("disk", 259, 1_000_000), ("far", 4095, 1_048_575), ("near", 256, 255)];
    let lines = devices.map(|(name, major, minor)| format!("{name} b 600 0 0 {major} {minor}"));
    let options: Vec<_> = lines.iter().flat_map(|line| ["-p", line.as_str()]).collect();
    let made = MadeImage::new(source.path(), &options);
    let top = root(&made.open());
    for (name, major, minor) in devices {
        let rdev = top.stat(name.as_ref()).unwrap().st_rdev;
        assert_eq!(rdev, rustix::fs::makedev(major, minor), "{name}");
        assert_eq!(format::decode_device(format::encode_device(rdev)), rdev);
    }
}

/// Mode as ls(1) shows it.
fn mode_text(mode: u32) -> String {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFBLK => 'b',
        libc::S_IFCHR => 'c',
        libc::S_IFREG => '-',
        other => panic!("{other:o}"),
    };
    let bit = |shift: u32| match (mode >> shift & 1 == 1, shift % 3) {
        (false, _) => '-',
        (true, 2) => 'r',
        (true, 1) => 'w',
        (true, _) if shift == 3 && mode & libc::S_ISGID != 0 => 's',
        (true, _) => 'x',
    };
    std::iter::once(kind).chain((0..9).rev().map(bit)).collect()
}

#[test]
fn an_image_has_a_device_of_its_own_whenever_it_is_opened_and_none_of_the_kernels() {
    let source = tempfile::tempdir().unwrap();
    let (made, other) = (MadeImage::new(source.path(), &[]), MadeImage::new(source.path(), &[]));
    let devices = [made.open(), other.open(), made.open()]
        .map(|image| root(&image).own_stat().unwrap().st_dev);
    assert_ne!(devices[0], devices[1]);
    assert_eq!(devices[0], devices[2]);
    assert!(devices.iter().all(|device| *device > u32::MAX.into()));
}

#[test]
fn holes_are_found_without_reading_data() {
    let source = tempfile::tempdir().unwrap();
    let file = File::create(source.path().join("file")).unwrap();
    let block = 131_072;
    for at in [2, 3, 150] {
        std::os::unix::fs::FileExt::write_all_at(&file, &text(10), at * block + 5).unwrap();
    }
    file.set_len(200 * block).unwrap();
    let made = MadeImage::new(source.path(), &[]);
    let image = made.open();
    let file = root(&image).open_file("file".as_ref()).unwrap();
    let seek = |at, target| file.seek(at, target).map_err(|error| error.raw_os_error());
    let (data, hole) = (SeekTarget::Data, SeekTarget::Hole);
    assert_eq!(seek(0, data), Ok(2 * block));
    assert_eq!(seek(2 * block + 7, data), Ok(2 * block + 7));
    assert_eq!((seek(7, hole), seek(2 * block, hole)), (Ok(7), Ok(4 * block)));
    assert_eq!(
        (seek(4 * block, data), seek(150 * block, hole)),
        (Ok(150 * block), Ok(151 * block))
    );
    assert_eq!(seek(151 * block, data), Err(libc::ENXIO));
    assert_eq!(image.loads().data, 0);
    assert!(root(&image).stat("file".as_ref()).unwrap().st_blocks as u64 * 512 < 4 * block);
}
