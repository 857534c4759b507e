//! FUSE operations on an image. Errors of the image are EIO, and so is a panic; changes are EROFS.
//!
//! A file is opened by each request for it: that costs less than a request to open it and one to release it, and leaves
//! the server without state.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use super::owners::ImageOwners;
use crate::layer::squashfs::{Inode, InodeKind, InodeRef, SeekTarget, SquashfsFile, SquashfsImage};
use crate::rootfs::fuse::content::Mover;
use crate::rootfs::fuse::reply::{XattrReply, reply, reply_entries, reply_names};
use crate::rootfs::fuse::tree::{
    Detail, FileAttributes, FileBytes, FsResult, FsSpace, Item, NodeEntry, ReplyRoom, Time,
};

/// Image as a file system of fuser.
pub struct ImageServer {
    image: Arc<SquashfsImage>,
    owners: ImageOwners,
    /// Side that moves the shown IDs, if they are moved.
    mover: Mover,
    /// Requests that the kernel can do without.
    opens: OpenRequests,
}

/// Requests of the kernel to open files and folders: a reader of an image needs none.
#[derive(Clone, Copy, Default)]
struct OpenRequests {
    /// True if the kernel can do without open (3.15).
    no_open: bool,
    /// True if the kernel can do without opendir (5.1).
    no_opendir: bool,
}

/// Features that the kernel may use. POSIX ACLs are not requested: squashfs has none.
const WANTED: [InitFlags; 6] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
];

/// Node of the root.
const ROOT: u64 = 1;

/// Number shown for the folder above, whose location an image need not hold. The same as libfuse's
/// (`FUSE_UNKNOWN_INO`).
const UNKNOWN: u64 = 0xffff_ffff;

/// Largest request, in bytes.
const MAX_READ: u32 = 1 << 20;

thread_local! {
    /// Buffer for data on its way to the kernel, where it is not in one block of the image.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl ImageServer {
    /// Makes a server of `image`.
    pub fn new(image: Arc<SquashfsImage>, owners: ImageOwners, mover: Mover) -> Self {
        Self { image, owners, mover, opens: OpenRequests::default() }
    }

    fn inode(&self, node: INodeNo) -> FsResult<Inode> {
        let reference = match node.0 {
            ROOT => self.image.root(),
            number => InodeRef::from_node_id(number).ok_or(Errno::STALE)?,
        };
        self.image.inode(reference)
    }

    fn number(&self, reference: InodeRef) -> u64 {
        if reference == self.image.root() { ROOT } else { reference.node_id() }
    }

    fn attributes(&self, inode: &Inode) -> FileAttributes {
        let stat = self.image.stat(inode);
        // The image has one time for all.
        let time = Time { seconds: i64::from(inode.mtime), nanoseconds: 0 };
        let (uid, gid) = self.owners.shown(inode.uid, inode.gid);
        FileAttributes {
            number: self.number(inode.reference),
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            accessed: time,
            modified: time,
            changed: time,
            mode: stat.st_mode,
            links: inode.nlink,
            uid,
            gid,
            rdev: inode.rdev,
            block_size: self.image.space().block_size,
        }
    }

    fn entry(&self, reference: InodeRef) -> FsResult<NodeEntry> {
        let attributes = self.attributes(&self.image.inode(reference)?);
        Ok(NodeEntry { generation: 0, attributes })
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> FsResult<Option<NodeEntry>> {
        let found = self.image.lookup(&self.inode(parent)?, name)?;
        found.map(|reference| self.entry(reference)).transpose()
    }

    /// Sends the entries of a folder from `offset` on until the buffer is full. Offset 1 is behind `.`, 2 behind `..`.
    fn read_folder(
        &self,
        node: INodeNo,
        offset: u64,
        detail: Detail,
        visit: &mut dyn FnMut(Item<'_>) -> ReplyRoom,
    ) -> FsResult<()> {
        let folder = self.inode(node)?;
        for (name, number, next) in [(".", node.0, 1), ("..", UNKNOWN, 2)] {
            let item =
                Item { name: OsStr::new(name), number, next, kind: libc::S_IFDIR, entry: None };
            if offset < next && visit(item) == ReplyRoom::None {
                return Ok(());
            }
        }
        self.image.list(&folder, offset, |listed| {
            let entry = match detail {
                // A broken inode is listed by its name, and reported to those who want more.
                Detail::Entries => self.entry(listed.reference).ok(),
                Detail::Names => None,
            };
            let (number, kind) = (self.number(listed.reference), type_bits(listed.kind));
            match visit(Item { name: listed.name, number, next: listed.next, kind, entry }) {
                ReplyRoom::Left => ControlFlow::Continue(()),
                ReplyRoom::None => ControlFlow::Break(()),
            }
        })
    }

    fn content<'a>(
        &self,
        node: INodeNo,
        offset: u64,
        size: u32,
        room: &'a mut Vec<u8>,
    ) -> FsResult<FileBytes<'a>> {
        let file = SquashfsFile::open(&self.image, &self.inode(node)?)?;
        FileBytes::of_stored(&file, offset, size as usize, room)
    }

    fn seek(&self, node: INodeNo, offset: i64, whence: i32) -> FsResult<u64> {
        let target = match whence {
            libc::SEEK_DATA => SeekTarget::Data,
            libc::SEEK_HOLE => SeekTarget::Hole,
            _ => return Err(Errno::INVAL),
        };
        let offset = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
        SquashfsFile::open(&self.image, &self.inode(node)?)?.seek(offset, target)
    }

    fn xattr(&self, node: INodeNo, name: &OsStr) -> FsResult<Vec<u8>> {
        let inode = self.inode(node)?;
        match self.image.xattr(&inode, name.as_bytes()) {
            Err(Errno::NODATA) if name.as_bytes() == OPAQUE => {
                self.image.xattr(&inode, TRUSTED_OPAQUE)
            }
            answer => answer,
        }
    }

    /// Returns the names of attributes, without those that nobody can read through a FUSE mount of a user. An opaque folder
    /// is shown in the form that overlays in a user namespace read.
    fn xattr_names(&self, node: INodeNo) -> FsResult<Vec<u8>> {
        let mut names = self.image.xattr_names(&self.inode(node)?)?;
        if names.windows(TRUSTED.len()).any(|part| part == TRUSTED) {
            let has = |wanted: &[u8]| names.split(|byte| *byte == 0).any(|name| name == wanted);
            let is_opaque = has(TRUSTED_OPAQUE) && !has(OPAQUE);
            let shown = names.split_inclusive(|byte| *byte == 0);
            names = shown.filter(|name| !name.starts_with(TRUSTED)).flatten().copied().collect();
            if is_opaque {
                names.extend_from_slice(OPAQUE);
                names.push(0);
            }
        }
        Ok(names)
    }
}

/// Attributes for CAP_SYS_ADMIN of the initial user namespace (xattr(7)). The kernel's overlay copies all that are
/// listed, and fails at these.
const TRUSTED: &[u8] = b"trusted.";

/// Mark of an opaque folder in a layer that root wrote, such as those of an OCI-SIF.
const TRUSTED_OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// The same mark for an overlay with `userxattr`.
const OPAQUE: &[u8] = b"user.overlay.opaque";

fn type_bits(kind: InodeKind) -> u32 {
    match kind {
        InodeKind::Folder => libc::S_IFDIR,
        InodeKind::File => libc::S_IFREG,
        InodeKind::Symlink => libc::S_IFLNK,
        InodeKind::BlockDevice => libc::S_IFBLK,
        InodeKind::CharacterDevice => libc::S_IFCHR,
        InodeKind::Fifo => libc::S_IFIFO,
        InodeKind::Socket => libc::S_IFSOCK,
    }
}

/// Writes operations that answer with one error, in the form of [`Filesystem`].
macro_rules! refuse {
    ($($error:ident { $($operation:ident($($kind:ty),*) -> $reply:ty;)* })*) => {$($(
        fn $operation(&self, _: &Request, $(_: $kind,)* to: $reply) {
            to.error(fuser::Errno::$error);
        }
    )*)*};
}

impl Filesystem for ImageServer {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for flag in WANTED {
            // An older kernel lacks some features; the server works without any.
            let _ = config.add_capabilities(flag);
        }
        if self.mover == Mover::Kernel {
            let _ = config.add_capabilities(InitFlags::FUSE_ALLOW_IDMAP);
        }
        self.opens = OpenRequests {
            no_open: config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_ok(),
            no_opendir: config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok(),
        };
        // The limit of a read, too.
        let _ = config.set_max_write(MAX_READ);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, to: ReplyEntry) {
        reply(to, || self.look_up(parent, name));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, to: ReplyAttr) {
        reply(to, || Ok(self.attributes(&self.inode(node)?)));
    }

    fn readlink(&self, _: &Request, node: INodeNo, to: ReplyData) {
        reply(to, || self.image.read_link(&self.inode(node)?));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, to: ReplyOpen) {
        if self.opens.no_open {
            return to.error(fuser::Errno::ENOSYS);
        }
        to.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
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
        to: ReplyData,
    ) {
        ROOM.with_borrow_mut(|room| reply(to, || self.content(node, offset, size, room)));
    }

    fn lseek(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        to: ReplyLseek,
    ) {
        reply(to, || self.seek(node, offset, whence));
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, to: ReplyOpen) {
        if self.opens.no_opendir {
            return to.error(fuser::Errno::ENOSYS);
        }
        to.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, to: ReplyDirectory) {
        reply_names(to, |visit| self.read_folder(node, offset, Detail::Names, visit));
    }

    fn readdirplus(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        to: ReplyDirectoryPlus,
    ) {
        reply_entries(to, |visit| self.read_folder(node, offset, Detail::Entries, visit));
    }

    fn statfs(&self, _: &Request, _: INodeNo, to: ReplyStatfs) {
        reply(to, || Ok(FsSpace::of_image(&self.image)));
    }

    /// Returns an attribute. Of an image without any the kernel asks once: ENOSYS tells it so.
    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, to: ReplyXattr) {
        if !self.image.has_xattrs() {
            return to.error(fuser::Errno::ENOSYS);
        }
        reply(to, || Ok(XattrReply(self.xattr(node, name)?, size)));
    }

    fn listxattr(&self, _: &Request, node: INodeNo, size: u32, to: ReplyXattr) {
        if !self.image.has_xattrs() {
            return to.error(fuser::Errno::ENOSYS);
        }
        reply(to, || Ok(XattrReply(self.xattr_names(node)?, size)));
    }

    refuse! {
        // The kernel does without, and need not ask again.
        ENOSYS {
            flush(INodeNo, FileHandle, LockOwner) -> ReplyEmpty;
            fsync(INodeNo, FileHandle, bool) -> ReplyEmpty;
            fsyncdir(INodeNo, FileHandle, bool) -> ReplyEmpty;
            poll(INodeNo, FileHandle, PollNotifier, PollEvents, PollFlags) -> ReplyPoll;
        }
        ENOTTY {
            ioctl(INodeNo, FileHandle, IoctlFlags, u32, &[u8], u32) -> ReplyIoctl;
        }
        // The file system is read-only; an administrator may have remounted it otherwise.
        EROFS {
            setattr(
                INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<TimeOrNow>,
                Option<TimeOrNow>, Option<SystemTime>, Option<FileHandle>, Option<SystemTime>,
                Option<SystemTime>, Option<SystemTime>, Option<BsdFileFlags>
            ) -> ReplyAttr;
            mknod(INodeNo, &OsStr, u32, u32, u32) -> ReplyEntry;
            mkdir(INodeNo, &OsStr, u32, u32) -> ReplyEntry;
            symlink(INodeNo, &OsStr, &Path) -> ReplyEntry;
            link(INodeNo, INodeNo, &OsStr) -> ReplyEntry;
            unlink(INodeNo, &OsStr) -> ReplyEmpty;
            rmdir(INodeNo, &OsStr) -> ReplyEmpty;
            rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
            create(INodeNo, &OsStr, u32, u32, i32) -> ReplyCreate;
            write(
                INodeNo, FileHandle, u64, &[u8], WriteFlags, OpenFlags, Option<LockOwner>
            ) -> ReplyWrite;
            setxattr(INodeNo, &OsStr, &[u8], i32, u32) -> ReplyEmpty;
            removexattr(INodeNo, &OsStr) -> ReplyEmpty;
            fallocate(INodeNo, FileHandle, u64, u64, i32) -> ReplyEmpty;
            copy_file_range(
                INodeNo, FileHandle, u64, INodeNo, FileHandle, u64, u64, CopyFileRangeFlags
            ) -> ReplyWrite;
        }
    }
}
