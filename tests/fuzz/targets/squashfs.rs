//! Images of squashfs of any bytes: all files are read by both interfaces.
#![no_main]

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use usnea::layer::LayerFolder;
use usnea::layer::squashfs::{CacheLimits, InodeRef, SquashfsFolder, SquashfsImage};

/// An image may have more names than it has bytes, and folders within each other.
const MOST_FILES: usize = 200;
const DEEPEST: usize = 10;

fn read_folder(folder: &SquashfsFolder, depth: usize, left: &mut usize) {
    let mut names: Vec<OsString> = Vec::new();
    let _ = folder.for_each_entry(|name, _, _| {
        assert!(!matches!(name.to_bytes(), b"" | b"." | b".."));
        assert!(name.to_bytes().len() <= 255 && !name.to_bytes().contains(&b'/'));
        if names.len() < MOST_FILES {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    });
    for name in names {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let _ = folder.stat(&name);
        assert!(folder.read_link(&name).map_or(0, |target| target.len()) < 4096);
        for attribute in folder.xattr_names(&name).unwrap_or_default().split(|byte| *byte == 0) {
            let _ = folder.xattr(&name, attribute);
        }
        if let Ok(file) = folder.open_file(&name) {
            let mut buffer = [0; 8192];
            for at in [0, 5000, file.size() / 2, file.size().saturating_sub(10), u64::MAX] {
                let count = file.read_at(&mut buffer, at).unwrap_or_default();
                assert!(count as u64 <= file.size().saturating_sub(at));
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
    let mut cookie = 0;
    for _ in 0..20 {
        let before = found.len();
        let _ = image.list(&inode, cookie, |entry| match found.len() < before + 3 {
            true => {
                cookie = entry.next;
                found.push(entry.reference);
                ControlFlow::Continue(())
            }
            false => ControlFlow::Break(()),
        });
    }
    for inner in found {
        if *left == 0 || depth == 0 {
            return;
        }
        *left -= 1;
        read_inode(image, inner, depth - 1, left);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let mut file = tempfile::tempfile_in(folder.path()).expect("a file");
    file.write_all(bytes).expect("a file");
    let limits = CacheLimits { data_bytes: 1 << 20, metadata_bytes: 64 << 10, workers: 0 };
    let Ok(image) = SquashfsImage::open(file.into(), 0, limits) else { return };
    if let Ok(top) = SquashfsFolder::root(&image) {
        read_folder(&top, DEEPEST, &mut { MOST_FILES });
    }
    read_inode(&image, image.root(), DEEPEST, &mut { MOST_FILES });
});
