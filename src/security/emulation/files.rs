//! Emulated owner and type of a file, recorded beside the file in [`OVERRIDE_STAT`].
//!
//! Regular files and folders alone can carry the attribute (xattr(7)): the owner of a link, a pipe or a socket is not
//! recorded. A device is represented by a regular file whose attribute has its numbers: reading the file yields no
//! data, and a commit makes the device. Attributes are written in the container's root alone: a volume belongs to the
//! host, where others would find our attributes. There, or on a file system without such attributes, a change of owner
//! succeeds without effect.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType as DiskType, Mode, OFlags, Stat, StatxFlags, XattrFlags};
use rustix::io::Errno;

use super::caller::{Caller, Last, Target};
use crate::layer::override_stat::{FileType, OVERRIDE_STAT, OverrideStat};

/// (uid_t) -1: no change.
const UNCHANGED: u32 = u32::MAX;

/// Size of the longest value in bytes: four numbers and a name.
const ROOM: usize = 128;

/// Reads the record of a file; `None`: no record, or an unreadable one. A single system call, as every stat of every
/// file leads here.
pub fn recalled(target: &Target) -> Option<OverrideStat> {
    let mut room = [0u8; ROOM];
    let length = match target {
        Target::Open(path) => rustix::fs::getxattr(path, OVERRIDE_STAT, &mut room),
        Target::Named(path, Last::Follow) => {
            rustix::fs::getxattr(&**path, OVERRIDE_STAT, &mut room)
        }
        Target::Named(path, Last::Itself) => {
            rustix::fs::lgetxattr(&**path, OVERRIDE_STAT, &mut room)
        }
    };
    OverrideStat::parse(&room[..length.ok()?]).ok()
}

/// Open file with its facts on disk.
pub struct File {
    fd: OwnedFd,
    /// Facts of the file on disk.
    pub stat: Stat,
    /// True if the file is in the container's root.
    is_ours: bool,
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl File {
    /// Opens the file without effect on it (O_PATH). `root`: the mount ID of the container's root.
    pub fn open(target: &Target, root: u64) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let fd = match target {
            Target::Open(path) => rustix::fs::open(path, flags, Mode::empty()),
            Target::Named(path, Last::Follow) => rustix::fs::open(&**path, flags, Mode::empty()),
            Target::Named(path, Last::Itself) => {
                rustix::fs::open(&**path, flags | OFlags::NOFOLLOW, Mode::empty())
            }
        }?;
        let stat = rustix::fs::fstat(&fd)?;
        let is_ours = mount_of(&fd)? == root;
        Ok(Self { fd, stat, is_ours })
    }

    /// Path of our descriptor, relative to the folder of any process: attributes need a path, not an O_PATH descriptor.
    fn by_name(&self) -> String {
        format!("../self/fd/{}", self.fd.as_raw_fd())
    }

    /// Reads the record of the file.
    pub fn recalled(&self) -> Option<OverrideStat> {
        self.is_ours.then(|| recalled(&Target::Open(self.by_name()))).flatten()
    }

    /// Returns the fields to report, if they differ from those on disk.
    pub fn shown(&self) -> Option<Shown> {
        self.recalled().map(|record| Shown::new(self.stat.st_mode, &record))
    }

    fn is_folder(&self) -> bool {
        DiskType::from_raw_mode(self.stat.st_mode).is_dir()
    }

    /// Emulates chown(2) by root. A file executable by others loses setuid and setgid.
    pub fn change_owner(&self, uid: u32, gid: u32) -> Result<(), Errno> {
        let before = self.recalled();
        let disk_mode = self.stat.st_mode & 0o7777;
        let known = before.unwrap_or(OverrideStat {
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            mode: disk_mode,
            file_type: Some(if self.is_folder() { FileType::Folder } else { FileType::File }),
        });
        let keeps = self.is_folder() || (uid, gid) == (UNCHANGED, UNCHANGED);
        let lost = match known.mode & 0o010 {
            _ if keeps => 0,
            0 => libc::S_ISUID,
            _ => libc::S_ISUID | libc::S_ISGID,
        };
        let or = |id: u32, before: u32| if id == UNCHANGED { before } else { id };
        let record = OverrideStat {
            uid: or(uid, known.uid),
            gid: or(gid, known.gid),
            mode: known.mode & !lost,
            ..known
        };
        if disk_mode & lost != 0 {
            rustix::fs::chmod(self.by_name(), Mode::from_raw_mode(disk_mode & !lost))?;
        }
        self.remember(&record, disk_mode & !lost)
    }

    /// Updates a record after chmod(2); the mode on disk is changed by the kernel.
    pub fn change_mode(&self, mode: u32) -> Result<(), Errno> {
        let Some(record) = self.recalled() else { return Ok(()) };
        self.remember(&OverrideStat { mode: mode & 0o7777, ..record }, mode & 0o7777)
    }

    /// Writes the record, if the file can carry one. A record equal to the file on disk is removed.
    fn remember(&self, record: &OverrideStat, disk_mode: u32) -> Result<(), Errno> {
        if !self.is_ours {
            return Ok(());
        }
        let is_plain = matches!(record.file_type, None | Some(FileType::File | FileType::Folder));
        let on_disk = (self.stat.st_uid, self.stat.st_gid, disk_mode);
        let done = if is_plain && (record.uid, record.gid, record.mode) == on_disk {
            rustix::fs::removexattr(self.by_name(), OVERRIDE_STAT)
        } else {
            let value = record.to_string();
            rustix::fs::setxattr(
                self.by_name(),
                OVERRIDE_STAT,
                value.as_bytes(),
                XattrFlags::empty(),
            )
        };
        match done {
            // A link or its like, or a file system without attributes: no record.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NODATA) => Ok(()),
            answer => answer,
        }
    }
}

/// Emulates mknod(2) of a device: creates the regular file that represents the device.
pub fn make_device(
    caller: &Caller,
    target: &Target,
    root: u64,
    mode: u32,
    device: FileType,
) -> Result<(), Errno> {
    let Target::Named(path, _) = target else { return Err(Errno::EXIST) };
    let mode = mode & 0o7777 & !caller.umask();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&**path, flags, Mode::from_raw_mode(mode))?;
    if mount_of(&fd)? != root {
        return Ok(());
    }
    let record = OverrideStat { uid: 0, gid: 0, mode, file_type: Some(device) };
    let value = record.to_string();
    match rustix::fs::fsetxattr(&fd, OVERRIDE_STAT, value.as_bytes(), XattrFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        answer => answer,
    }
}

/// Returns the mount ID of a file.
pub fn mount_of(fd: &OwnedFd) -> Result<u64, Errno> {
    let statx = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(statx.stx_mnt_id)
}

/// Fields of stat to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Owner to report.
    pub uid: u32,
    /// Group to report.
    pub gid: u32,
    /// Type and permissions to report.
    pub mode: u32,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
}

impl Shown {
    fn new(disk_mode: u32, record: &OverrideStat) -> Self {
        let (file_type, device) = match record.file_type {
            Some(FileType::Block(major, minor)) => (libc::S_IFBLK, Some((major, minor))),
            Some(FileType::Character(major, minor)) => (libc::S_IFCHR, Some((major, minor))),
            // Only a device has a different type on disk.
            _ => (disk_mode & libc::S_IFMT, None),
        };
        Self { uid: record.uid, gid: record.gid, mode: file_type | record.mode, device }
    }
}
