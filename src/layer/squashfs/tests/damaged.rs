//! Images of mksquashfs with a wrong byte, or shorter than they were: errors, an end, and no panic.

use std::ops::ControlFlow;
use std::os::unix::fs::symlink;

use rustix::io::Errno;

use super::super::format::Superblock;
use super::*;

/// Limits of a walk: a damaged image may have more names than it has bytes.
const MOST_FILES: usize = 300;
const DEEPEST: usize = 20;

/// Reads a whole tree by both interfaces, whatever it is.
fn read_all(image: &Arc<SquashfsImage>) {
    let mut left = MOST_FILES;
    if let Ok(folder) = SquashfsFolder::root(image) {
        read_folder(&folder, DEEPEST, &mut left);
    }
    let mut left = MOST_FILES;
    read_inode(image, image.root(), DEEPEST, &mut left);
}

fn read_folder(folder: &SquashfsFolder, depth: usize, left: &mut usize) {
    let mut names = Vec::new();
    let _ = folder.for_each_entry(|name, _, _| {
        if names.len() < MOST_FILES {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    });
    for name in names {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let _ = (folder.stat(&name), folder.read_link(&name));
        for attribute in folder.xattr_names(&name).unwrap_or_default().split(|byte| *byte == 0) {
            let _ = folder.xattr(&name, attribute);
        }
        if let Ok(file) = folder.open_file(&name) {
            let mut buffer = vec![0; 20_000];
            for at in [0, 4095, file.size() / 2, file.size().saturating_sub(10)] {
                let _ = file.read_at(&mut buffer, at);
            }
        }
        if let (Ok(inner), true) = (folder.open_folder(&name), depth > 0) {
            read_folder(&inner, depth - 1, left);
        }
    }
}

fn read_inode(image: &Arc<SquashfsImage>, at: InodeRef, depth: usize, left: &mut usize) {
    let Ok(inode) = image.inode(at) else { return };
    let _ = (image.stat(&inode), image.read_link(&inode), image.xattr_names(&inode));
    let mut found = Vec::new();
    let _ = image.list(&inode, 0, |entry| match found.len() < MOST_FILES {
        true => {
            found.push(entry.reference);
            ControlFlow::Continue(())
        }
        false => ControlFlow::Break(()),
    });
    for inner in found {
        if *left == 0 || depth == 0 {
            return;
        }
        *left -= 1;
        read_inode(image, inner, depth - 1, left);
    }
}

/// Small image with an inode of each kind.
fn small(options: &[&str]) -> MadeImage {
    let source = tempfile::tempdir().unwrap();
    let top = source.path();
    fs::create_dir(top.join("d")).unwrap();
    for (name, bytes) in [("d/block", text(9000)), ("d/tail", text(50)), ("noise", noise(5000))] {
        fs::write(top.join(name), bytes).unwrap();
    }
    fs::hard_link(top.join("noise"), top.join("d/link")).unwrap();
    symlink("d/tail", top.join("symlink")).unwrap();
    for name in ["d", "noise"] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(top.join(name), "user.a", &noise(300), flags).unwrap();
    }
    let device = ["-p", "null c 666 0 0 1 3", "-nopad", "-b", "4096"];
    MadeImage::new(top, &[&device, options].concat())
}

fn flip_each_byte(options: &[&str]) {
    let whole = small(options).bytes();
    let tables = Superblock::parse(whole.first_chunk().unwrap()).inode_table as usize;
    let places = (0..Superblock::SIZE).chain(tables..whole.len());
    let limits = CacheLimits { workers: 1, ..CacheLimits::default() };
    for at in places {
        for change in [0xff, 0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            if let Ok(image) = SquashfsImage::open(in_memory(&bytes), 0, limits) {
                read_all(&image);
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_plain_tables_is_an_error_at_most() {
    flip_each_byte(&["-comp", "lz4", "-noI", "-noX", "-noId"]);
}

#[test]
fn a_flipped_byte_in_compressed_tables_is_an_error_at_most() {
    flip_each_byte(&["-comp", "gzip"]);
    flip_each_byte(&["-comp", "zstd"]);
}

#[test]
fn a_flipped_byte_in_blocks_is_an_error_at_most() {
    for codec in ["gzip", "lz4", "xz", "zstd"] {
        let whole = small(&["-comp", codec]).bytes();
        let tables = Superblock::parse(whole.first_chunk().unwrap()).inode_table as usize;
        for at in (Superblock::SIZE..tables).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            read_all(&open_bytes(&bytes).unwrap());
        }
    }
}

#[test]
fn a_truncated_image_is_refused_at_any_length() {
    let whole = small(&["-comp", "zstd"]).bytes();
    for size in 0..whole.len() {
        assert!(open_bytes(&whole[..size]).is_err(), "{size} of {}", whole.len());
    }
    assert!(open_bytes(&whole).is_ok());
}

/// Truncated images that claim to be whole: the superblock says the size.
#[test]
fn an_image_that_lacks_its_end_reads_without_panic() {
    let whole = small(&["-comp", "lz4", "-noI", "-noX", "-noId"]).bytes();
    for size in Superblock::SIZE..whole.len() {
        let mut bytes = whole[..size].to_vec();
        let mut superblock = Superblock::parse(bytes.first_chunk().unwrap());
        superblock.bytes_used = size as u64;
        bytes[..Superblock::SIZE].copy_from_slice(&superblock.to_bytes());
        if let Ok(image) = open_bytes(&bytes) {
            read_all(&image);
        }
    }
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_gives_errors() {
    let source = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(source.path().join(name), noise(1 << 20)).unwrap();
    }
    let made = MadeImage::new(source.path(), &["-no-duplicates"]);
    let image = made.open_with(CacheLimits { workers: 0, ..CacheLimits::default() });
    let files = ["a", "b"].map(|name| root(&image).open_file(name.as_ref()).unwrap());
    let mut buffer = vec![0; 1000];
    files[0].read_at(&mut buffer, 0).unwrap();
    let whole = made.bytes();
    File::options().write(true).open(&made.path).unwrap().set_len(1000).unwrap();
    assert_eq!(files[1].read_at(&mut buffer, 0), Err(Errno::IO));
    assert_eq!(files[0].read_at(&mut buffer, 900_000), Err(Errno::IO));
    assert_eq!(files[0].read_at(&mut buffer, 10), Ok(1000), "this block is in memory");
    // The image lives on: what comes back is read again.
    fs::write(&made.path, whole).unwrap();
    assert_eq!(files[1].read_at(&mut buffer, 0), Ok(1000));
    assert!(buffer[..] == noise(1 << 20)[..1000]);
}

#[test]
fn an_image_that_is_replaced_while_it_is_read_stays_what_it_was() {
    let made = small(&["-comp", "zstd"]);
    let image = made.open();
    fs::remove_file(&made.path).unwrap();
    fs::write(&made.path, noise(100_000)).unwrap();
    let file = root(&image).open_file("noise".as_ref()).unwrap();
    assert!(content(&file) == noise(5000));
    // Overwritten in place: errors, or what was in memory.
    let made = small(&["-comp", "zstd"]);
    let image = made.open();
    fs::write(&made.path, noise(100_000)).unwrap();
    read_all(&image);
    assert!(SquashfsFolder::root(&image).is_err());
}

#[test]
fn seeds_and_finds_of_the_fuzzer_are_errors_or_images() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/squashfs");
    let mut count = 0;
    for seed in fs::read_dir(seeds).unwrap().flatten() {
        let file = fs::File::open(seed.path()).unwrap();
        if let Ok(image) = SquashfsImage::open(file.into(), 0, CacheLimits::default()) {
            read_all(&image);
            count += 1;
        }
    }
    assert!(count > 0);
}
