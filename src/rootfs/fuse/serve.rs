//! The server: one line an operation, and one place that replies.
//!
//! Whatever happens in an operation, its caller gets an answer: a panic is EIO. What the kernel caches it caches for
//! ever: nothing changes the layers but what comes through here.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{
    FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyXattr, Request,
};

use super::handles::Handles;
use super::reply::{Opened, Sized, reply, reply_entries, reply_names};
use super::tree::{Answer, Detail, OpenFile, OpenFolder, Tree};

/// An overlay as fuser serves it.
pub struct Server {
    tree: Arc<Tree>,
    files: Handles<OpenFile>,
    folders: Handles<OpenFolder>,
}

thread_local! {
    /// What was read, on its way to the kernel.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the kernel may do for us, where it can. Not asked for: passthrough (real root's alone), locks (the kernel keeps
/// them itself, and for all users of the mount).
const WANTED: [InitFlags; 12] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_WRITEBACK_CACHE,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
    InitFlags::FUSE_ALLOW_IDMAP,
];

/// Bytes of the largest write.
const MAX_WRITE: u32 = 1 << 20;

impl Server {
    /// Serves `tree`.
    pub fn new(tree: Arc<Tree>) -> Self {
        Self { tree, files: Handles::default(), folders: Handles::default() }
    }

    fn open_file(&self, id: u64, flags: OpenFlags) -> Answer<Opened> {
        let file = self.tree.open(id, flags.0)?;
        Ok(Opened(self.files.keep(file), FopenFlags::FOPEN_KEEP_CACHE))
    }

    fn open_folder(&self, id: u64) -> Answer<Opened> {
        let folder = self.tree.open_folder(id)?;
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
        Ok(Opened(self.folders.keep(folder), flags))
    }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for flag in WANTED {
            // An older kernel has less of them, and all work without.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, to: ReplyEntry) {
        reply(to, || self.tree.look_up(parent.0, name));
    }

    fn forget(&self, _: &Request, id: INodeNo, count: u64) {
        self.tree.forget(id.0, count);
    }

    fn getattr(&self, _: &Request, id: INodeNo, _: Option<FileHandle>, to: ReplyAttr) {
        reply(to, || self.tree.attributes(id.0));
    }

    fn readlink(&self, _: &Request, id: INodeNo, to: ReplyData) {
        reply(to, || self.tree.target(id.0));
    }

    fn open(&self, _: &Request, id: INodeNo, flags: OpenFlags, to: ReplyOpen) {
        reply(to, || self.open_file(id.0, flags));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        to: ReplyData,
    ) {
        ROOM.with_borrow_mut(|room| {
            reply(to, || {
                let size = size as usize;
                room.resize(room.len().max(size), 0);
                let count =
                    self.tree.read(&*self.files.find(handle.0)?, offset, &mut room[..size])?;
                Ok(&room[..count])
            });
        });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        to: ReplyEmpty,
    ) {
        reply(to, || self.files.close(handle.0).map(drop));
    }

    fn opendir(&self, _: &Request, id: INodeNo, _: OpenFlags, to: ReplyOpen) {
        reply(to, || self.open_folder(id.0));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        to: ReplyDirectory,
    ) {
        reply_names(to, |tell| {
            let folder = self.folders.find(handle.0)?;
            self.tree.read_folder(&folder, offset, Detail::Names, tell)
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        to: ReplyDirectoryPlus,
    ) {
        reply_entries(to, |tell| {
            let folder = self.folders.find(handle.0)?;
            self.tree.read_folder(&folder, offset, Detail::Entries, tell)
        });
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        to: ReplyEmpty,
    ) {
        reply(to, || self.folders.close(handle.0).map(drop));
    }

    fn statfs(&self, _: &Request, _: INodeNo, to: ReplyStatfs) {
        reply(to, || self.tree.space());
    }

    fn getxattr(&self, _: &Request, id: INodeNo, name: &OsStr, size: u32, to: ReplyXattr) {
        reply(to, || Ok(Sized(self.tree.xattr(id.0, name)?, size)));
    }

    fn listxattr(&self, _: &Request, id: INodeNo, size: u32, to: ReplyXattr) {
        reply(to, || Ok(Sized(self.tree.xattrs(id.0)?, size)));
    }
}
