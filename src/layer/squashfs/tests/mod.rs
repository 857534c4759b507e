//! Tests against mksquashfs, unsquashfs and the source tree, and against images that contradict themselves.

mod ahead;
mod cache;
mod codec;
mod damaged;
mod handmade;
mod listing;
mod oracle;
mod source_tree;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::layer::{LayerFile, LayerFolder};

/// Image made by mksquashfs, in a folder that goes with it.
struct MadeImage {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl MadeImage {
    /// Packs `tree`. Fails without mksquashfs: these tests are nothing without it.
    fn new(tree: &Path, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let made = Command::new("mksquashfs")
            .arg(tree)
            .arg(&path)
            .args(["-quiet", "-no-progress", "-processors", "1"])
            .args(options)
            .output()
            .expect("mksquashfs is needed (squashfs-tools)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { _folder: folder, path }
    }

    fn open(&self) -> Arc<SquashfsImage> {
        self.open_with(CacheLimits::default())
    }

    fn open_with(&self, limits: CacheLimits) -> Arc<SquashfsImage> {
        SquashfsImage::open(File::open(&self.path).unwrap().into(), 0, limits).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }
}

/// A file in memory.
fn in_memory(bytes: &[u8]) -> OwnedFd {
    let fd = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(bytes).unwrap();
    file.into()
}

fn open_bytes(bytes: &[u8]) -> crate::error::Result<Arc<SquashfsImage>> {
    SquashfsImage::open(in_memory(bytes), 0, CacheLimits::default())
}

fn root(image: &Arc<SquashfsImage>) -> SquashfsFolder {
    SquashfsFolder::root(image).unwrap()
}

fn names(folder: &SquashfsFolder) -> Vec<OsString> {
    let mut names = Vec::new();
    folder
        .for_each_entry(|name, _, _| names.push(OsStr::from_bytes(name.to_bytes()).to_owned()))
        .unwrap();
    names
}

/// Reads all of a file by [`LayerFile::read_at`], in pieces of an odd size.
fn content(file: &SquashfsFile) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = vec![0; 100_003];
    loop {
        let count = LayerFile::read_at(file, &mut piece, all.len() as u64).unwrap();
        all.extend_from_slice(&piece[..count]);
        if count < piece.len() {
            return all;
        }
    }
}

/// Reads all of a file without copies, block by block.
fn content_by_chunks(file: &SquashfsFile) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match file.chunk_at(all.len() as u64).unwrap() {
            FileChunk::Data(block, range) => all.extend_from_slice(&block[range]),
            FileChunk::Hole(count) => all.resize(all.len() + count as usize, 0),
            FileChunk::End => return all,
        }
    }
}

/// Bytes that no codec makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(step).flatten().take(size).collect()
}

/// Bytes that a codec makes smaller, and that tell blocks apart.
fn text(size: usize) -> Vec<u8> {
    (0..).flat_map(|line| format!("line {line} of {size}\n").into_bytes()).take(size).collect()
}
