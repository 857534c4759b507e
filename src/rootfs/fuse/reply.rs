//! Replies to the kernel: converts an answer for fuser, an error to its errno, a panic to EIO.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use rustix::io::Errno;

use super::tree::{FileAttributes, FileBytes, FsResult, FsSpace, Item, NodeEntry, ReplyRoom, Time};

/// A year: practically for ever.
const EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Returns the validity of attributes in the kernel. A write by a caller without privileges removes setuid and setgid
/// from a file. The kernel leaves that to the server, and would keep honouring the cached bits: `fuse_cache_write_iter`
/// checks the mode again only when it is too old.
fn validity(attributes: &FileAttributes) -> Duration {
    let is_file = attributes.mode & libc::S_IFMT == libc::S_IFREG;
    match is_file && attributes.mode & (libc::S_ISUID | libc::S_ISGID) != 0 {
        true => Duration::ZERO,
        false => EVER,
    }
}

/// Sends the result of `work`.
pub fn reply<T, R: Reply<T>>(to: R, work: impl FnOnce() -> FsResult<T>) {
    match safely(work) {
        Ok(answer) => to.set_new_owner(answer),
        Err(error) => to.refuse(error),
    }
}

thread_local! {
    /// True while a panic of this thread is caught and answered.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// True if a panic of this thread will be answered.
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

fn safely<T>(work: impl FnOnce() -> FsResult<T>) -> Result<T, fuser::Errno> {
    CAUGHT.set(true);
    let answer = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno::IO));
    CAUGHT.set(false);
    answer.map_err(|error| fuser::Errno::from_i32(reply_errno(error).raw_os_error()))
}

/// Returns the errno for a layer's error. The kernel takes ENOSYS for "never ask for this again, of any file":
/// EOPNOTSUPP replaces it.
fn reply_errno(error: Errno) -> Errno {
    if error == Errno::NOSYS { Errno::OPNOTSUPP } else { error }
}

/// Reply of fuser that can carry a `T`.
pub trait Reply<T> {
    /// Sends the answer.
    fn set_new_owner(self, answer: T);
    /// Sends an error.
    fn refuse(self, error: fuser::Errno);
}

impl Reply<FileBytes<'_>> for ReplyData {
    fn set_new_owner(self, bytes: FileBytes<'_>) {
        match &bytes {
            FileBytes::OfBlock(block, range) => match block.get(range.clone()) {
                Some(part) => self.data(part),
                None => self.error(fuser::Errno::EIO),
            },
            FileBytes::Copied(bytes) => self.data(bytes),
        }
    }

    fn refuse(self, error: fuser::Errno) {
        self.error(error);
    }
}

/// Number of an open file, and the kernel's treatment of it.
pub struct OpenReply(pub u64, pub FopenFlags);

/// Value, and the number of bytes that the kernel wants; 0: only its size.
pub struct XattrReply(pub Vec<u8>, pub u32);

macro_rules! replies {
    ($($kind:ident<$answer:ty> |$to:ident, $value:ident| $set_new_owner:expr;)*) => {$(
        impl Reply<$answer> for $kind {
            fn set_new_owner(self, $value: $answer) {
                let $to = self;
                $set_new_owner
            }

            fn refuse(self, error: fuser::Errno) {
                self.error(error);
            }
        }
    )*};
}

replies! {
    ReplyEmpty<()> |to, _answer| to.ok();
    ReplyAttr<FileAttributes> |to, attributes| to.attr(&validity(&attributes), &file_attr(&attributes));
    // Number 0: no file of that name, and the kernel may cache that.
    ReplyEntry<Option<NodeEntry>> |to, entry| {
        let attributes_for = entry.map_or(EVER, |entry| validity(&entry.attributes));
        let (attr, generation) = entry.map_or_else(nothing, |entry| parts(&entry));
        to.entry_with_ttls(&attributes_for, &EVER, &attr, generation);
    };
    ReplyEntry<NodeEntry> |to, entry| {
        let (attr, generation) = parts(&entry);
        to.entry_with_ttls(&validity(&entry.attributes), &EVER, &attr, generation);
    };
    ReplyData<Vec<u8>> |to, bytes| to.data(&bytes);
    ReplyOpen<OpenReply> |to, opened| to.opened(FileHandle(opened.0), opened.1);
    ReplyCreate<(NodeEntry, OpenReply)> |to, created| {
        let (attr, generation) = parts(&created.0);
        to.created(&validity(&created.0.attributes), &attr, generation, FileHandle(created.1.0), created.1.1);
    };
    ReplyWrite<usize> |to, count| to.written(count as u32);
    ReplyIoctl<Vec<u8>> |to, bytes| to.ioctl(0, &bytes);
    ReplyLseek<u64> |to, offset| to.offset(offset as i64);
    ReplyStatfs<FsSpace> |to, space| to.statfs(
        space.blocks,
        space.free,
        space.available,
        space.files,
        space.free_files,
        space.block_size,
        space.name_max,
        space.fragment_size,
    );
    ReplyXattr<XattrReply> |to, value| match value {
        XattrReply(value, 0) => to.size(value.len() as u32),
        XattrReply(value, size) if value.len() <= size as usize => to.data(&value),
        XattrReply(..) => to.error(fuser::Errno::ERANGE),
    };
}

/// Sends a part of a folder.
pub fn reply_names(
    mut to: ReplyDirectory,
    work: impl FnOnce(&mut dyn FnMut(Item<'_>) -> ReplyRoom) -> FsResult<()>,
) {
    let mut add = |item: Item<'_>| match to.add(
        INodeNo(item.number),
        item.next,
        file_type(item.kind),
        item.name,
    ) {
        true => ReplyRoom::None,
        false => ReplyRoom::Left,
    };
    match safely(|| work(&mut add)) {
        Ok(()) => to.ok(),
        Err(error) => to.error(error),
    }
}

/// Sends a part of a folder with the attributes of its entries.
pub fn reply_entries(
    mut to: ReplyDirectoryPlus,
    work: impl FnOnce(&mut dyn FnMut(Item<'_>) -> ReplyRoom) -> FsResult<()>,
) {
    let mut add = |item: Item<'_>| {
        let (node, valid, (attr, generation)) = match &item.entry {
            Some(entry) => (entry.attributes.number, validity(&entry.attributes), parts(entry)),
            // Number 0: the kernel takes the name alone.
            None => (0, EVER, named(item.number, item.kind)),
        };
        match to.add(INodeNo(node), item.next, item.name, &valid, &attr, generation) {
            true => ReplyRoom::None,
            false => ReplyRoom::Left,
        }
    };
    match safely(|| work(&mut add)) {
        Ok(()) => to.ok(),
        Err(error) => to.error(error),
    }
}

fn nothing() -> (FileAttr, Generation) {
    named(0, libc::S_IFREG)
}

fn named(number: u64, kind: u32) -> (FileAttr, Generation) {
    let attributes = FileAttributes { number, mode: kind, ..FileAttributes::default() };
    (file_attr(&attributes), Generation(0))
}

fn parts(entry: &NodeEntry) -> (FileAttr, Generation) {
    (file_attr(&entry.attributes), Generation(u64::from(entry.generation)))
}

fn file_attr(attributes: &FileAttributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.number),
        size: attributes.size,
        blocks: attributes.blocks,
        atime: system_time(attributes.accessed),
        mtime: system_time(attributes.modified),
        ctime: system_time(attributes.changed),
        crtime: UNIX_EPOCH,
        kind: file_type(attributes.mode & libc::S_IFMT),
        perm: (attributes.mode & 0o7777) as u16,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        // The kernel's new_encode_dev, which is makedev(3) for numbers that fit 32 bits.
        rdev: attributes.rdev as u32,
        blksize: attributes.block_size,
        flags: 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = match time.seconds {
        0.. => UNIX_EPOCH.checked_add(seconds),
        _ => UNIX_EPOCH.checked_sub(seconds),
    };
    let nanoseconds = Duration::from_nanos(u64::from(time.nanoseconds));
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}

fn file_type(kind: u32) -> FileType {
    match kind {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_layer_makes_the_kernel_give_an_operation_up_for_all_files() {
        let sent = |error| safely(|| Err::<(), _>(error)).expect_err("an error").code();
        assert_eq!(sent(Errno::NOSYS), libc::EOPNOTSUPP);
        assert_eq!(sent(Errno::NOENT), libc::ENOENT);
    }

    #[test]
    fn attributes_are_believed_for_ever_but_those_of_files_with_privileges() {
        let valid = |mode| validity(&FileAttributes { mode, ..FileAttributes::default() });
        for mode in [0o4755, 0o2755, 0o6000] {
            assert_eq!(valid(libc::S_IFREG | mode), Duration::ZERO);
            assert_eq!(valid(libc::S_IFDIR | mode), EVER);
        }
        assert_eq!(valid(libc::S_IFREG | 0o1777), EVER);
    }
}
