//! Source tree with all kinds of files, and its comparison with an image by both interfaces.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::*;

/// Names in the largest folder: mksquashfs gives it an index.
pub const MANY: usize = 400;

pub fn name_of_many(number: usize) -> String {
    format!("entry-{number:05}-{}", "x".repeat(number % 20))
}

/// Makes the tree. Devices need root, so they come from options of mksquashfs in another test.
pub fn make(top: &Path) {
    make_files(top);
    make_sparse_files(top);
    fs::create_dir(top.join("many")).unwrap();
    for number in 0..MANY {
        fs::write(top.join("many").join(name_of_many(number)), "").unwrap();
    }
    fs::create_dir_all(top.join("deep/a/b/c/d/e/f/g")).unwrap();
    fs::write(top.join("deep/a/b/c/d/e/f/g/leaf"), "leaf").unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("deep/one"), text(70_000)).unwrap();
    fs::hard_link(top.join("deep/one"), top.join("deep/two")).unwrap();
    fs::hard_link(top.join("deep/one"), top.join("three")).unwrap();
    symlink("text-70000", top.join("link")).unwrap();
    symlink(format!("/{}", "long/".repeat(600)), top.join("long-link")).unwrap();
    rustix::fs::mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0)
        .unwrap();
    drop(UnixListener::bind(top.join("socket")).unwrap());
    for (name, mode) in [("text-70000", 0o4755), ("empty", 0o1777), ("noise-1", 0o400)] {
        rustix::fs::chmod(top.join(name), Mode::from_raw_mode(mode)).unwrap();
    }
    make_attributes(top);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(top.join("deep/one")).unwrap().set_modified(old).unwrap();
}

fn make_files(top: &Path) {
    for size in [0, 1, 4095, 4096, 4097, 70_000, 131_072, 131_073, 1_048_576 + 17] {
        fs::write(top.join(format!("text-{size}")), text(size)).unwrap();
    }
    for size in [1, 200_000, 1_048_576] {
        fs::write(top.join(format!("noise-{size}")), noise(size)).unwrap();
    }
    fs::write(top.join("mixed"), [text(1_500_000), noise(700_000), text(1_200_000)].concat())
        .unwrap();
    let odd = OsStr::from_bytes(b"not \xff UTF-8\n").to_owned();
    for name in [odd, "y".repeat(255).into(), "with space".into()] {
        fs::write(top.join(name), "named").unwrap();
    }
}

fn make_sparse_files(top: &Path) {
    for (name, pieces, size) in [
        ("all-hole", vec![], 1_048_576),
        ("ends-in-data", vec![(5_000_000, text(10))], 5_000_010),
        ("ends-in-hole", vec![(0, noise(5000)), (1_300_000, text(300_000))], 3_000_001),
        ("small-hole", vec![(20_000, text(1))], 40_000),
    ] {
        let file = File::create(top.join(name)).unwrap();
        file.set_len(size).unwrap();
        for (at, piece) in pieces {
            std::os::unix::fs::FileExt::write_all_at(&file, &piece, at).unwrap();
        }
    }
}

/// Values that several lists share are stored out of line.
fn make_attributes(top: &Path) {
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::lsetxattr(top.join(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    for name in ["text-4096", "deep", "many"] {
        set(name, "user.shared", &noise(1200));
        set(name, "user.own", name.as_bytes());
    }
    set("text-4097", "user.shared", &noise(1200));
    set("text-1", "user.empty", b"");
    set("deep/one", "user.linked", b"yes");
}

/// Compares a folder of the image with the source, and all below. Returns the count of files.
pub fn compare(source: &Path, folder: &SquashfsFolder, attributes: Attributes) -> usize {
    let mut inodes = BTreeMap::new();
    let count = compare_folder(source, folder, attributes, &mut inodes);
    let image = names_of_image(source, folder);
    assert_eq!(image, count, "the other interface has as many");
    count
}

/// Presence of extended attributes in the image.
#[derive(Clone, Copy, PartialEq)]
pub enum Attributes {
    Kept,
    Left,
}

fn names_of_image(source: &Path, folder: &SquashfsFolder) -> usize {
    names(folder)
        .iter()
        .map(|name| match folder.open_folder(name) {
            Ok(inner) => 1 + names_of_image(&source.join(name), &inner),
            Err(_) => 1,
        })
        .sum()
}

fn compare_folder(
    source: &Path,
    folder: &SquashfsFolder,
    attributes: Attributes,
    inodes: &mut BTreeMap<u64, u64>,
) -> usize {
    let mut expected: Vec<_> =
        fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    expected.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    assert_eq!(names(folder), expected, "{}", source.display());
    for name in &expected {
        compare_file(&source.join(name), folder, name, attributes);
        let (theirs, ours) =
            (source.join(name).symlink_metadata().unwrap(), folder.stat(name).unwrap());
        let first = *inodes.entry(theirs.ino()).or_insert(ours.st_ino);
        assert_eq!(first, ours.st_ino, "links share an inode: {name:?}");
    }
    let below = expected.iter().filter_map(|name| {
        let inner = folder.open_folder(name).ok()?;
        Some(compare_folder(&source.join(name), &inner, attributes, inodes))
    });
    expected.len() + below.sum::<usize>()
}

fn compare_file(path: &Path, folder: &SquashfsFolder, name: &OsStr, attributes: Attributes) {
    let shown = path.display();
    let (theirs, ours) = (path.symlink_metadata().unwrap(), folder.stat(name).unwrap());
    assert_eq!(ours.st_mode, theirs.mode(), "{shown}");
    assert_eq!((ours.st_uid, ours.st_gid), (theirs.uid(), theirs.gid()), "{shown}");
    assert_eq!(ours.st_mtime, theirs.mtime(), "{shown}");
    assert_eq!((ours.st_rdev, ours.st_blksize > 0), (theirs.rdev(), true), "{shown}");
    match theirs.file_type() {
        kind if kind.is_dir() => assert!(folder.open_file(name).is_err()),
        kind if kind.is_symlink() => {
            let target = fs::read_link(path).unwrap();
            assert_eq!(folder.read_link(name).unwrap(), target.as_os_str().as_bytes(), "{shown}");
            assert_eq!(folder.open_file(name).err(), Some(rustix::io::Errno::LOOP));
            assert_eq!(ours.st_size as u64, theirs.len(), "{shown}");
        }
        kind if kind.is_file() => {
            assert_eq!((ours.st_size as u64, ours.st_nlink), (theirs.len(), theirs.nlink()));
            let file = folder.open_file(name).unwrap();
            let expected = fs::read(path).unwrap();
            // Without assert_eq, which would print megabytes.
            assert!(content(&file) == expected, "{shown}");
            assert!(content_by_chunks(&file) == expected, "{shown}");
            check_holes(&file, &expected);
            assert_eq!(folder.read_link(name), Err(rustix::io::Errno::INVAL));
        }
        _ => assert!(folder.open_file(name).is_err(), "{shown}"),
    }
    compare_attributes(path, folder, name, attributes);
}

/// Checks that holes are zeros, that data and holes take turns, and that the two cover the file.
fn check_holes(file: &SquashfsFile, content: &[u8]) {
    let mut at = 0;
    while at < file.size() {
        let data = file.seek(at, SeekTarget::Data).unwrap_or(file.size());
        assert!(content[at as usize..data as usize].iter().all(|byte| *byte == 0));
        if data > at {
            assert_eq!(file.seek(at, SeekTarget::Hole), Ok(at));
        }
        at = if data == file.size() { data } else { file.seek(data, SeekTarget::Hole).unwrap() };
    }
    for target in [SeekTarget::Data, SeekTarget::Hole] {
        assert_eq!(file.seek(file.size(), target), Err(rustix::io::Errno::NXIO));
    }
}

fn compare_attributes(path: &Path, folder: &SquashfsFolder, name: &OsStr, expected: Attributes) {
    let sorted = |names: Vec<u8>| {
        let mut names: Vec<_> = names.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        names.retain(|name| name.starts_with(b"user."));
        names.sort();
        names
    };
    let theirs = match expected {
        Attributes::Kept => crate::layer::read_names(|room| rustix::fs::llistxattr(path, room)),
        Attributes::Left => Ok(Vec::new()),
    };
    let theirs = sorted(theirs.unwrap());
    assert_eq!(sorted(folder.xattr_names(name).unwrap()), theirs, "{}", path.display());
    for attribute in theirs {
        let value = crate::layer::read_value(|room| {
            rustix::fs::lgetxattr(path, attribute.as_slice(), room)
        });
        assert_eq!(folder.xattr(name, &attribute), value, "{}", path.display());
    }
    for missing in ["user.none", "user.", "user", "", "trusted.own"] {
        let value = folder.xattr(name, missing.as_bytes());
        assert_eq!(value, Err(rustix::io::Errno::NODATA), "{missing} of {}", path.display());
    }
}

/// Names and kinds of a folder by the interface of servers, in steps of `step` entries.
pub fn list_in_steps(image: &SquashfsImage, folder: &Inode, step: usize) -> Vec<OsString> {
    let (mut found, mut cookie) = (Vec::new(), 0);
    loop {
        let (before, from) = (found.len(), cookie);
        let visit = |entry: &ListedEntry<'_>| {
            if found.len() == before + step {
                return ControlFlow::Break(());
            }
            assert!(entry.next > 2 && i64::try_from(entry.next).is_ok());
            let inode = image.inode(entry.reference).unwrap();
            assert_eq!((inode.number, inode.kind), (entry.number, entry.kind));
            found.push(entry.name.to_owned());
            cookie = entry.next;
            ControlFlow::Continue(())
        };
        image.list(folder, from, visit).unwrap();
        if found.len() < before + step {
            return found;
        }
    }
}
