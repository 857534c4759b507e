//! Folder of files on a file system that counts requests by kind: a stand-in for a parallel file system, whose metadata
//! server is the bottleneck of many nodes. The kernel caches nothing: each request for metadata is counted, and takes a
//! millisecond.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use tempfile::TempDir;

use crate::support::{Place, need};

/// Time of a request for metadata.
const LATENCY: Duration = Duration::from_millis(1);

/// Number of requests of each kind.
pub type Counts = BTreeMap<&'static str, usize>;

/// Mounted folder, until it is dropped.
pub struct CountedFolder {
    /// Path of the mount.
    pub path: PathBuf,
    counts: Arc<Mutex<Counts>>,
    session: Option<BackgroundSession>,
    /// Mount point.
    _home: TempDir,
}

impl CountedFolder {
    /// Mounts the folder `source` of the place, with regular files alone. Not in the place: processes of other tests may
    /// have copies of the mount. `None`: no fusermount3.
    pub fn mount(place: &Place, source: &str) -> Option<Self> {
        if !need("fusermount3") {
            return None;
        }
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().canonicalize().expect("a path");
        let counts = Arc::new(Mutex::new(Counts::new()));
        let mut names: Vec<OsString> = fs::read_dir(place.path(source))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        let folder = Folder { source: place.path(source), names, counts: counts.clone() };
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("counted".into())];
        let session = fuser::spawn_mount(folder, &path, &config).expect("a FUSE mount");
        Some(Self { path, counts, session: Some(session), _home: home })
    }

    /// Returns the counts since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().expect("counts"))
    }
}

impl Drop for CountedFolder {
    fn drop(&mut self) {
        // At once, also where an image server has a file of it open.
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.path).status();
        if let Some(session) = self.session.take() {
            std::mem::forget(session);
        }
    }
}

/// Number of requests for metadata: all but reads of data.
pub fn metadata(counts: &Counts) -> usize {
    counts.iter().filter(|(kind, _)| **kind != "read").map(|(_, count)| count).sum()
}

struct Folder {
    source: PathBuf,
    /// File names: that of node 2 first.
    names: Vec<OsString>,
    counts: Arc<Mutex<Counts>>,
}

impl Folder {
    fn count(&self, kind: &'static str) {
        *self.counts.lock().expect("counts").entry(kind).or_default() += 1;
        if kind != "read" {
            std::thread::sleep(LATENCY);
        }
    }

    fn path(&self, node: INodeNo) -> Option<PathBuf> {
        match node {
            INodeNo::ROOT => Some(self.source.clone()),
            INodeNo(number) => {
                let name = self.names.get(usize::try_from(number).ok()?.checked_sub(2)?)?;
                Some(self.source.join(name))
            }
        }
    }

    fn attributes(&self, node: INodeNo) -> Result<FileAttr, Errno> {
        let metadata =
            self.path(node).and_then(|path| path.metadata().ok()).ok_or(Errno::ENOENT)?;
        let seconds = u64::try_from(metadata.mtime()).expect("a time after 1970");
        let time = UNIX_EPOCH + Duration::new(seconds, metadata.mtime_nsec() as u32);
        Ok(FileAttr {
            ino: node,
            size: metadata.len(),
            blocks: metadata.blocks(),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile },
            perm: (metadata.mode() & 0o7777) as u16,
            nlink: metadata.nlink() as u32,
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Folder {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.count("lookup");
        let index = self.names.iter().position(|known| known == name);
        let node = index.map(|index| INodeNo(index as u64 + 2));
        match node.map(|node| self.attributes(node)) {
            Some(Ok(attributes)) => reply.entry(&Duration::ZERO, &attributes, Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.count("getattr");
        match self.attributes(node) {
            Ok(attributes) => reply.attr(&Duration::ZERO, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        self.count("getxattr");
        reply.error(Errno::ENODATA);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.count("open");
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.count("open");
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.count("readdir");
        for (index, name) in self.names.iter().enumerate().skip(offset as usize) {
            let node = index as u64 + 2;
            if reply.add(INodeNo(node), index as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // No file is written. The kernel asks once (ENOSYS).
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.count("read");
        match self.path(node).map(|path| read(&path, offset, size)) {
            Some(Ok(bytes)) => reply.data(&bytes),
            _ => reply.error(Errno::EIO),
        }
    }
}

fn read(path: &Path, offset: u64, size: u32) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    loop {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
