//! FUSE operations of the server: one line per operation, and one place that replies.
//!
//! Every caller of an operation gets an answer: a panic is EIO. The kernel caches for ever: only this server changes
//! the layers.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use super::content::Mover;
use super::handles::Handles;
use super::notices::Notices;
use super::reply::{OpenReply, XattrReply, reply, reply_entries, reply_names};
use super::tree::{
    AttributeChange, Detail, FilePosition, FsCaller, FsResult, NewFile, NewTime, OpenFile,
    OverlayTree, RenameMode, Synced, Time, WritePrivileges,
};

/// Overlay as a file system of fuser.
pub struct FuseServer {
    tree: Arc<OverlayTree>,
    files: Handles<OpenFile>,
    notices: Arc<Notices>,
    /// Side that moves the shown IDs, if they are moved.
    mover: Mover,
    /// True if the kernel can do without opendir (5.1).
    no_opendir: bool,
}

thread_local! {
    /// Buffer for data on its way to the kernel.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Features that the kernel may use. Not requested: passthrough (real root's alone), and locks (the kernel keeps them
/// itself, for all users of the mount).
const WANTED: [InitFlags; 11] = [
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
];

/// FS_IOC_GETFLAGS and FS_IOC_SETFLAGS (ioctl_iflags(2)); on 32-bit machines their numbers encode fewer bytes.
const GET_FLAGS: u32 = linux_request(2, 1);
const SET_FLAGS: u32 = linux_request(1, 2);

/// FS_IOC_FSGETXATTR
const GET_EXTENDED_FLAGS: u32 = 0x801c_581f;

/// Returns a `struct fsxattr` (linux/fs.h) with the meaning of `flags`.
fn extended(flags: u32) -> [u8; 28] {
    // FS_SYNC_FL and FS_XFLAG_SYNC, and so on: immutable, append, nodump, noatime.
    let pairs = [(0x08, 0x20), (0x10, 0x08), (0x20, 0x10), (0x40, 0x80), (0x80, 0x40)];
    let bits = pairs.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, other)| other);
    let mut answer = [0; 28];
    answer[..4].copy_from_slice(&bits.sum::<u32>().to_ne_bytes());
    answer
}

/// Returns the number of a request of the group `f` with a `long` (asm-generic/ioctl.h).
const fn linux_request(direction: u32, number: u32) -> u32 {
    direction << 30 | (size_of::<libc::c_long>() as u32) << 16 | (b'f' as u32) << 8 | number
}

/// Largest write, in bytes.
const MAX_WRITE: u32 = 1 << 20;

impl FuseServer {
    /// Makes a server of `tree`.
    pub fn new(tree: Arc<OverlayTree>, notices: Arc<Notices>, mover: Mover) -> Self {
        Self { tree, files: Handles::default(), notices, mover, no_opendir: false }
    }

    fn open_file(&self, id: u64, flags: OpenFlags, caller: FsCaller) -> FsResult<OpenReply> {
        let file = self.tree.open(id, flags.0, caller)?;
        if flags.0 & libc::O_TRUNC == 0 && file.may_be_written() && file.has_no_blocks() {
            // The kernel would keep reporting no blocks while it holds written pages.
            self.notices.forget_attributes(id);
        }
        Ok(OpenReply(self.files.keep(file), FopenFlags::FOPEN_KEEP_CACHE))
    }
}

fn caller(by: &Request, umask: u32) -> FsCaller {
    FsCaller { uid: by.uid(), gid: by.gid(), umask }
}

fn new_time(time: TimeOrNow) -> NewTime {
    let TimeOrNow::SpecificTime(time) = time else { return NewTime::Now };
    NewTime::At(match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time { seconds: after.as_secs() as i64, nanoseconds: after.subsec_nanos() },
        // fuser subtracts the nanoseconds from a time before 1970 instead of adding them.
        Err(before) => {
            let before = before.duration();
            Time { seconds: -(before.as_secs() as i64), nanoseconds: before.subsec_nanos() }
        }
    })
}

impl Filesystem for FuseServer {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for flag in WANTED {
            // An older kernel lacks some features; the server works without any.
            let _ = config.add_capabilities(flag);
        }
        if self.mover == Mover::Kernel {
            let _ = config.add_capabilities(InitFlags::FUSE_ALLOW_IDMAP);
        }
        self.no_opendir = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok();
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

    fn open(&self, by: &Request, id: INodeNo, flags: OpenFlags, to: ReplyOpen) {
        reply(to, || self.open_file(id.0, flags, caller(by, 0)));
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
            reply(to, || self.tree.read(&*self.files.find(handle.0)?, offset, size as usize, room));
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

    /// Opens a folder. Reading a folder needs no open handle: the kernel need not ask again, nor report its end. The
    /// kernel caches the entries until the folder changes.
    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, to: ReplyOpen) {
        if self.no_opendir {
            return to.error(fuser::Errno::ENOSYS);
        }
        to.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _: &Request, id: INodeNo, _: FileHandle, offset: u64, to: ReplyDirectory) {
        reply_names(to, |visit| self.tree.read_folder(id.0, offset, Detail::Names, visit));
    }

    fn readdirplus(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        offset: u64,
        to: ReplyDirectoryPlus,
    ) {
        reply_entries(to, |visit| self.tree.read_folder(id.0, offset, Detail::Entries, visit));
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, to: ReplyEmpty) {
        to.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, to: ReplyStatfs) {
        reply(to, || self.tree.space());
    }

    fn getxattr(&self, _: &Request, id: INodeNo, name: &OsStr, size: u32, to: ReplyXattr) {
        reply(to, || Ok(XattrReply(self.tree.xattr(id.0, name)?, size)));
    }

    fn listxattr(&self, _: &Request, id: INodeNo, size: u32, to: ReplyXattr) {
        reply(to, || Ok(XattrReply(self.tree.xattrs(id.0)?, size)));
    }

    fn setattr(
        &self,
        by: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        to: ReplyAttr,
    ) {
        reply(to, || {
            let (accessed, modified) = (accessed.map(new_time), modified.map(new_time));
            let change = AttributeChange { mode, uid, gid, size, accessed, modified };
            let file = handle.map(|handle| self.files.find(handle.0)).transpose()?;
            self.tree.change(id.0, change, file.as_deref(), caller(by, 0))
        });
    }

    fn mknod(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        device: u32,
        to: ReplyEntry,
    ) {
        let what = NewFile::Node(mode, u64::from(device));
        reply(to, || self.tree.make(parent.0, name, what, caller(by, umask)));
    }

    fn mkdir(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        to: ReplyEntry,
    ) {
        reply(to, || self.tree.make(parent.0, name, NewFile::Folder(mode), caller(by, umask)));
    }

    fn symlink(&self, by: &Request, parent: INodeNo, name: &OsStr, target: &Path, to: ReplyEntry) {
        let what = NewFile::Symlink(target.as_os_str());
        reply(to, || self.tree.make(parent.0, name, what, caller(by, 0)));
    }

    fn link(&self, _: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, to: ReplyEntry) {
        reply(to, || self.tree.link(id.0, parent.0, name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, to: ReplyEmpty) {
        reply(to, || self.tree.unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, to: ReplyEmpty) {
        reply(to, || self.tree.remove_folder(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        to: ReplyEmpty,
    ) {
        reply(to, || {
            let mode = match flags {
                RenameFlags::RENAME_NOREPLACE => RenameMode::Keep,
                RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
                none if none.is_empty() => RenameMode::Replace,
                _ => return Err(Errno::INVAL),
            };
            self.tree.rename(parent.0, name, new_parent.0, new_name, mode)
        });
    }

    fn create(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        to: ReplyCreate,
    ) {
        reply(to, || {
            let (entry, file) = self.tree.create(parent.0, name, mode, flags, caller(by, umask))?;
            Ok((entry, OpenReply(self.files.keep(file), FopenFlags::FOPEN_KEEP_CACHE)))
        });
    }

    fn write(
        &self,
        by: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        to: ReplyWrite,
    ) {
        let privileges = match flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            true => WritePrivileges::DroppedBy(caller(by, 0)),
            false => WritePrivileges::Kept,
        };
        reply(to, || {
            let file = self.files.find(handle.0)?;
            self.tree.write(&file, offset, bytes, privileges).inspect_err(|_| {
                // The kernel's size of the file includes all bytes written to its cache.
                self.notices.forget_names(self.tree.names(id.0));
            })
        });
    }

    /// Refuses flush: no work is needed at close(2), and ENOSYS tells the kernel not to ask again.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, to: ReplyEmpty) {
        to.error(fuser::Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, data: bool, to: ReplyEmpty) {
        let what = if data { Synced::Data } else { Synced::All };
        reply(to, || self.tree.sync(&*self.files.find(handle.0)?, what));
    }

    fn fsyncdir(&self, _: &Request, id: INodeNo, _: FileHandle, _: bool, to: ReplyEmpty) {
        reply(to, || self.tree.sync_folder(id.0));
    }

    fn setxattr(
        &self,
        by: &Request,
        id: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        to: ReplyEmpty,
    ) {
        reply(to, || self.tree.set_xattr(id.0, name, value, flags, caller(by, 0)));
    }

    fn removexattr(&self, _: &Request, id: INodeNo, name: &OsStr, to: ReplyEmpty) {
        reply(to, || self.tree.remove_xattr(id.0, name));
    }

    fn fallocate(
        &self,
        by: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        to: ReplyEmpty,
    ) {
        reply(to, || {
            let file = self.files.find(handle.0)?;
            self.tree.allocate(&file, mode as u32, offset, length, caller(by, 0))
        });
    }

    /// Finds data and holes. The kernel asks without writing back its pages of the file.
    fn lseek(
        &self,
        _: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        to: ReplyLseek,
    ) {
        let (file, tree) = (self.files.find(handle.0), self.tree.clone());
        let is_stale = file.as_ref().is_ok_and(|file| file.may_be_stale());
        let answer = move || {
            reply(to, || {
                let offset = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
                tree.seek(&*file?, offset, whence)
            });
        };
        match is_stale {
            true => self.notices.write_back(id.0, answer),
            false => answer(),
        }
    }

    fn copy_file_range(
        &self,
        by: &Request,
        _: INodeNo,
        from: FileHandle,
        read: u64,
        _: INodeNo,
        into: FileHandle,
        written: u64,
        length: u64,
        _: CopyFileRangeFlags,
        to: ReplyWrite,
    ) {
        reply(to, || {
            let (from, into) = (self.files.find(from.0)?, self.files.find(into.0)?);
            let from = FilePosition { file: &from, offset: read };
            let into = FilePosition { file: &into, offset: written };
            self.tree.copy_range(from, into, length, caller(by, 0))
        });
    }

    /// Handles the flags of files and folders, for lsattr(1) and chattr(1). Refuses any other request: only its own
    /// file system knows the meaning.
    fn ioctl(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        request: u32,
        given: &[u8],
        _: u32,
        to: ReplyIoctl,
    ) {
        reply(to, || match (request, given.first_chunk()) {
            (GET_FLAGS, _) => Ok(self.tree.flags(id.0)?.to_ne_bytes().to_vec()),
            // Before it sets other flags, the kernel asks for these.
            (GET_EXTENDED_FLAGS, _) => Ok(extended(self.tree.flags(id.0)?).to_vec()),
            (SET_FLAGS, Some(flags)) => {
                self.tree.set_flags(id.0, u32::from_ne_bytes(*flags)).map(|()| Vec::new())
            }
            _ => Err(Errno::NOTTY),
        });
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        to: ReplyPoll,
    ) {
        to.error(fuser::Errno::ENOSYS); // files are always ready; the kernel need not ask again
    }
}
