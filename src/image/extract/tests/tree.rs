//! Reads a folder back, with all file attributes that a layer can have.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: String,
    /// Content of a file, or target of a link.
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: (i64, i64),
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    pub(super) links: u64,
    /// Allocated blocks of 512 bytes: holes have none.
    pub(super) blocks: u64,
}

/// Files by path; `.` is the folder itself.
pub(super) type Tree = BTreeMap<String, Node>;

pub(super) fn read(folder: &Path) -> Tree {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
    let mut tree = Tree::new();
    for entry in entries {
        let path = entry.path().strip_prefix(folder).unwrap();
        let name = path.as_os_str().as_bytes().escape_ascii().to_string();
        let name = if name.is_empty() { ".".into() } else { name };
        tree.insert(name, readable(entry.path(), node));
    }
    tree
}

/// Reads a file even if its mode forbids its owner to read.
fn readable(path: &Path, look: impl Fn(&Path, &Metadata) -> Node) -> Node {
    let metadata = path.symlink_metadata().unwrap();
    let mode = metadata.mode();
    if !metadata.is_file() || mode & 0o400 != 0 || rustix::process::geteuid().is_root() {
        return look(path, &metadata);
    }
    let set = |mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    set(mode & 0o7777 | 0o400);
    let node = look(path, &metadata);
    set(mode & 0o7777);
    node
}

fn node(path: &Path, metadata: &Metadata) -> Node {
    let file_type = metadata.file_type();
    let (kind, content) = if file_type.is_symlink() {
        ("link", std::fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
    } else if file_type.is_dir() {
        ("folder", Vec::new())
    } else if file_type.is_fifo() {
        ("pipe", Vec::new())
    } else if file_type.is_char_device() {
        ("character", metadata.rdev().to_string().into_bytes())
    } else if file_type.is_block_device() {
        ("block", metadata.rdev().to_string().into_bytes())
    } else {
        ("file", std::fs::read(path).unwrap())
    };
    let is_folder = file_type.is_dir();
    Node {
        kind: kind.into(),
        content,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: xattrs(path),
        links: if is_folder { 0 } else { metadata.nlink() },
        blocks: if is_folder { 0 } else { metadata.blocks() },
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return BTreeMap::new() };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let pairs = names.filter_map(|name| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some((String::from_utf8_lossy(name).into_owned(), value))
    });
    pairs.filter(|(name, _)| name != "security.selinux").collect()
}
