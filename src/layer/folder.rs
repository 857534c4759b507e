//! Reading of one layer: an open folder of the layer, and the operations on the names in it.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

/// Result of reading a layer.
type Read<T> = Result<T, Errno>;

/// Open folder of a layer that does not change. A clone is another handle of the same folder, and costs no system call.
///
/// An implementation need not have file descriptors, as for an image file that is read in place. It owes its callers:
///
/// - Names: one component, neither empty nor with a `/`; `.` and `..` are never passed. A name is never followed: a
///   symbolic link is itself, and no name leads out of the layer.
/// - Threads: all methods may be called by several threads at once, also on one handle. A method may block on the disk,
///   never on another caller for longer than a read.
/// - Errors: those of the system call named at each method. ENOENT and ENOTDIR mean absence; EIO means content that
///   contradicts itself, such as a corrupt image. An implementation never panics because of a layer's content: other
///   people make the layers.
/// - Inodes: `(st_dev, st_ino)` identifies a file for the life of all handles of the layer. Hard links share it, and no
///   two files do, of this layer or another one in the same stack, unless the same folder or image is both. `st_nlink`
///   counts the names in the layer.
/// - Attributes: `st_mode`, `st_uid`, `st_gid`, `st_rdev` and extended attributes are as stored; their meaning is that of
///   [`super`] and of the caller. The marks of overlayfs are attributes and devices like any other.
/// - Lifetime: a handle stays valid until it is dropped, also when its parent's handle is dropped. Callers limit their
///   number; a handle without a descriptor behaves the same.
pub trait LayerFolder: Clone + Send + Sync {
    /// Open regular file of the layer.
    type File: LayerFile;

    /// Returns the attributes of a file (lstat(2)).
    fn stat(&self, name: &OsStr) -> Read<Stat>;

    /// Opens a subfolder. Errors: ENOTDIR or ELOOP for another kind of file.
    fn open_folder(&self, name: &OsStr) -> Read<Self>;

    /// Opens a regular file for reading. Errors: ELOOP for a symbolic link. The caller has checked the type.
    fn open_file(&self, name: &OsStr) -> Read<Self::File>;

    /// Returns the target of a symbolic link. Errors: EINVAL for another kind of file.
    fn read_link(&self, name: &OsStr) -> Read<Vec<u8>>;

    /// Calls `tell` with name, inode number and type of each entry but `.` and `..`, in any order. The type may be
    /// [`FileType::Unknown`].
    fn for_each_entry(&self, visit: impl FnMut(&CStr, u64, FileType)) -> Read<()>;

    /// Returns the value of an extended attribute of a file. Errors: ENODATA for a missing one.
    fn xattr(&self, name: &OsStr, attribute: &[u8]) -> Read<Vec<u8>>;

    /// Returns the names of a file's extended attributes, a zero after each; empty where a layer has none.
    fn xattr_names(&self, name: &OsStr) -> Read<Vec<u8>>;

    /// Returns [`LayerFolder::stat`] of the folder itself.
    fn own_stat(&self) -> Read<Stat>;

    /// Returns [`LayerFolder::xattr`] of the folder itself.
    fn own_xattr(&self, attribute: &[u8]) -> Read<Vec<u8>>;

    /// Returns [`LayerFolder::xattr_names`] of the folder itself.
    fn own_xattr_names(&self) -> Read<Vec<u8>>;
}

/// Open regular file of a layer that does not change.
pub trait LayerFile: Send + Sync {
    /// Reads from the position `offset` until `buffer` is full or the file ends, and returns the bytes read. Errors:
    /// those of pread(2); EIO where any part of that range is broken, since a short answer means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Read<usize>;
}

impl LayerFile for OwnedFd {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Read<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(self, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Folder of a layer that is a folder on disk.
#[derive(Clone, Debug)]
pub struct DiskFolder(Arc<OwnedFd>);

impl DiskFolder {
    /// Flags for opening a layer's folders.
    pub const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    /// Returns the descriptor, for calls that change the folder.
    pub fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.0
    }

    /// Returns a path to `name` in the folder, for system calls that take paths alone. The name is the last part: calls
    /// that do not follow links do not follow a symbolic link here.
    pub fn path_to(&self, name: &OsStr) -> PathBuf {
        path_below(self, name)
    }
}

impl From<OwnedFd> for DiskFolder {
    fn from(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }
}

impl From<Arc<OwnedFd>> for DiskFolder {
    fn from(fd: Arc<OwnedFd>) -> Self {
        Self(fd)
    }
}

impl AsFd for DiskFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl LayerFolder for DiskFolder {
    type File = OwnedFd;

    fn stat(&self, name: &OsStr) -> Read<Stat> {
        rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn open_folder(&self, name: &OsStr) -> Read<Self> {
        let open = |flags| rustix::fs::openat(self, name, flags, Mode::empty()).map(Self::from);
        match open(Self::FLAGS) {
            // A folder that may be searched and not listed: names in it are found all the same.
            Err(Errno::ACCESS) => open(Self::FLAGS | OFlags::PATH),
            answer => answer,
        }
    }

    fn open_file(&self, name: &OsStr) -> Read<OwnedFd> {
        // NONBLOCK: where a layer changes in spite of all, the file may have become a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        rustix::fs::openat(self, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    fn read_link(&self, name: &OsStr) -> Read<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self, name, Vec::with_capacity(256))?.into_bytes())
    }

    fn for_each_entry(&self, visit: impl FnMut(&CStr, u64, FileType)) -> Read<()> {
        for_each_entry(self, visit)
    }

    fn xattr(&self, name: &OsStr, attribute: &[u8]) -> Read<Vec<u8>> {
        let path = self.path_to(name);
        read_value(|room| rustix::fs::lgetxattr(&path, attribute, room))
    }

    fn xattr_names(&self, name: &OsStr) -> Read<Vec<u8>> {
        let path = self.path_to(name);
        read_names(|room| rustix::fs::llistxattr(&path, room))
    }

    fn own_stat(&self) -> Read<Stat> {
        rustix::fs::fstat(self)
    }

    fn own_xattr(&self, attribute: &[u8]) -> Read<Vec<u8>> {
        match read_value(|room| rustix::fs::fgetxattr(self, attribute, room)) {
            // O_PATH descriptors have no attributes; this path leads to the open folder (proc_pid_fd(5)).
            Err(Errno::BADF) => {
                read_value(|room| rustix::fs::getxattr(path_of(self), attribute, room))
            }
            answer => answer,
        }
    }

    fn own_xattr_names(&self) -> Read<Vec<u8>> {
        match read_names(|room| rustix::fs::flistxattr(self, room)) {
            Err(Errno::BADF) => read_names(|room| rustix::fs::listxattr(path_of(self), room)),
            answer => answer,
        }
    }
}

/// Calls `tell` as [`LayerFolder::for_each_entry`] for an open folder.
pub fn for_each_entry(folder: impl AsFd, mut visit: impl FnMut(&CStr, u64, FileType)) -> Read<()> {
    // A separate descriptor: a folder's position belongs to the open file.
    let fd = rustix::fs::openat(folder, ".", DiskFolder::FLAGS, Mode::empty())?;
    let mut room = Vec::with_capacity(64 << 10);
    let mut entries = RawDir::new(fd, room.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            visit(entry.file_name(), entry.ino(), entry.file_type());
        }
    }
    Ok(())
}

/// Returns a path to an open file, to be followed.
pub fn path_of(fd: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into()
}

/// Returns a path to `name` in an open folder, as [`DiskFolder::path_to`].
pub fn path_below(folder: impl AsFd, name: &OsStr) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    OsString::from_vec(path).into()
}

/// Reads names of attributes; none for a file system without attributes.
pub fn read_names(read: impl Fn(&mut [u8]) -> Read<usize>) -> Read<Vec<u8>> {
    match read_value(read) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Reads a value of unknown size.
pub fn read_value(read: impl Fn(&mut [u8]) -> Read<usize>) -> Read<Vec<u8>> {
    let mut room = vec![0; 512];
    loop {
        match read(&mut room) {
            Ok(size) => {
                room.truncate(size);
                return Ok(room);
            }
            // 64 KiB is the kernel's own limit (XATTR_SIZE_MAX, XATTR_LIST_MAX).
            Err(Errno::RANGE) if room.len() < 1 << 16 => room.resize(1 << 16, 0),
            Err(error) => return Err(error),
        }
    }
}
