//! Makes files, folders and links: directly in the upper layer where the name is free, else beside it and over the
//! whiteout.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::access::FileReach;
use super::copyup::CopyContent;
use super::file::{OpenAccess, OpenFile};
use super::layers::{FsCaller, FsResult, stat_at};
use super::lookup::NodeEntry;
use super::node::{Node, NodeOrigin, UPPER};
use super::overlay::OverlayTree;
use crate::layer::override_stat::{FileType as Recorded, OVERRIDE_STAT, OverrideStat};
use crate::layer::{DiskFolder, LowerFile, path_below, path_of};

/// File to make.
#[derive(Clone, Copy, Debug)]
pub enum NewFile<'a> {
    /// Folder, with this mode.
    Folder(u32),
    /// Symbolic link to this target.
    Symlink(&'a OsStr),
    /// File, FIFO, socket or device: type and mode, device number.
    Node(u32, u64),
}

impl OverlayTree {
    /// Makes a file without opening it. Errors: EEXIST; EPERM for the device 0:0, which means a whiteout.
    pub fn make(
        &self,
        parent: u64,
        name: &OsStr,
        what: NewFile<'_>,
        caller: FsCaller,
    ) -> FsResult<NodeEntry> {
        if matches!(what, NewFile::Node(mode, 0) if mode & libc::S_IFMT == libc::S_IFCHR) {
            return Err(Errno::PERM);
        }
        let parent = self.writable_folder(parent, name)?;
        let _moves = self.moves.read();
        let folder = self.upper_folder(&parent)?;
        let mask = self.mask(&parent, &folder, caller)?;
        self.place_new(&parent, &folder, name, |at, name| {
            self.make_at(at, name, what, mask)?;
            self.set_new_owner(&folder, at, name, what, mask, caller)
                .inspect_err(|_| discard_new(at, name, what))
        })?;
        let stat = stat_at(&folder, name)?;
        let layers = if matches!(what, NewFile::Folder(_)) { vec![UPPER] } else { Vec::new() };
        let origin = NodeOrigin { layers, ..NodeOrigin::default() };
        let node = self.known(&parent, name, &stat, origin);
        node.set_no_capabilities();
        let attributes = self.shown(&node, &stat, &FileReach::Name(folder, name.into()), UPPER)?;
        Ok(NodeEntry { generation: node.generation, attributes })
    }

    /// Makes a regular file and opens it.
    pub fn create(
        &self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        flags: i32,
        caller: FsCaller,
    ) -> FsResult<(NodeEntry, OpenFile)> {
        let parent = self.writable_folder(parent, name)?;
        let _moves = self.moves.read();
        let folder = self.upper_folder(&parent)?;
        let mode = mode & 0o7777 & !self.mask(&parent, &folder, caller)?;
        let what = NewFile::Node(libc::S_IFREG | mode, 0);
        let mut made = None;
        self.place_new(&parent, &folder, name, |at, name| {
            let kept_flags = flags & (libc::O_SYNC | libc::O_DSYNC);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let flags = flags | OFlags::from_bits_retain(kept_flags as u32);
            let fd = self.retry_with_fewer_open(|| {
                rustix::fs::openat(at, name, flags, Mode::from_raw_mode(self.disk_mode(mode)))
            })?;
            made = Some(fd);
            self.set_new_owner(&folder, at, name, what, 0, caller)
                .inspect_err(|_| discard_new(at, name, what))
        })?;
        let fd = made.ok_or(Errno::IO)?;
        let stat = rustix::fs::fstat(&fd)?;
        let node = self.known(&parent, name, &stat, NodeOrigin::default());
        node.set_no_capabilities();
        let file = OpenFile::new(node.clone(), UPPER, LowerFile::from(fd), OpenAccess::Writing);
        let attributes = self.shown(&node, &stat, &FileReach::Name(folder, name.into()), UPPER)?;
        let entry = NodeEntry { generation: node.generation, attributes };
        Ok((entry, file))
    }

    /// Gives a file one name more.
    pub fn link(&self, id: u64, parent: u64, name: &OsStr) -> FsResult<NodeEntry> {
        let node = self.node(id)?;
        self.copy_up(&node, CopyContent::Whole)?;
        let parent = self.writable_folder(parent, name)?;
        let _moves = self.moves.read();
        let folder = self.upper_folder(&parent)?;
        self.with(&node, |reach| {
            self.place_new(&parent, &folder, name, |at, name| match reach {
                FileReach::Name(from, old) => {
                    rustix::fs::linkat(from, &**old, at, name, AtFlags::empty())
                }
                FileReach::Held(fd) => {
                    let path = path_of(fd);
                    let follow = AtFlags::SYMLINK_FOLLOW;
                    rustix::fs::linkat(rustix::fs::CWD, path, at, name, follow)
                }
                FileReach::Stored(_) => Err(Errno::ROFS),
            })
        })?;
        self.links.add(id);
        let stat = stat_at(&folder, name)?;
        let node = self.known(&parent, name, &stat, NodeOrigin::default());
        let attributes = self.shown(&node, &stat, &FileReach::Name(folder, name.into()), UPPER)?;
        Ok(NodeEntry { generation: node.generation, attributes })
    }

    /// Returns a folder for a new name, copied up if necessary. Errors: ENOENT when the folder was removed, EPERM for a
    /// name that means a whiteout.
    pub(super) fn writable_folder(&self, id: u64, name: &OsStr) -> FsResult<Arc<Node>> {
        let node = self.node(id)?;
        if node.is_removed() {
            return Err(Errno::NOENT);
        }
        if self.is_mark(name) {
            return Err(Errno::PERM);
        }
        self.copy_up(&node, CopyContent::Whole)?;
        Ok(node)
    }

    /// Makes `name` by `make`: directly where the name is free, else in the work folder and then over the whiteout.
    fn place_new(
        &self,
        parent: &Node,
        folder: &DiskFolder,
        name: &OsStr,
        mut make: impl FnMut(BorrowedFd<'_>, &OsStr) -> FsResult<()>,
    ) -> FsResult<()> {
        match make(folder.as_fd(), name) {
            Err(Errno::EXIST) => {}
            answer => return answer,
        }
        let there = stat_at(folder, name)?;
        if !self.is_whiteout(parent, UPPER, folder, name, &there)? {
            return Err(Errno::EXIST);
        }
        let has_acl = |own: &super::node::FolderState| own.default_acl.load(Ordering::Acquire) == 2;
        if parent.folder.as_deref().is_some_and(has_acl) {
            // Only files made in the folder itself inherit its default ACL.
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            return make(folder.as_fd(), name);
        }
        let work = self.work()?;
        let made = work.new_name();
        let placed = make(work.fd.as_fd(), &made)
            .and_then(|()| self.put_over_whiteout(work, &made, folder, name));
        if placed.is_err() {
            work.discard(&made);
        }
        placed
    }

    /// Moves a file from the work folder to the place of a whiteout.
    fn put_over_whiteout(
        &self,
        work: &super::work::WorkFolder,
        made: &OsStr,
        folder: &DiskFolder,
        name: &OsStr,
    ) -> FsResult<()> {
        if stat_at(&work.fd, made)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return rustix::fs::renameat(&work.fd, made, folder, name);
        }
        self.set_opaque(&work.fd, made)?;
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        match rustix::fs::renameat_with(&work.fd, made, folder, name, exchange) {
            Ok(()) => {
                work.discard(made);
                Ok(())
            }
            // This file system has no exchange. A folder cannot be moved over a file.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
                rustix::fs::renameat(&work.fd, made, folder, name)
            }
            Err(error) => Err(error),
        }
    }

    fn make_at(
        &self,
        at: BorrowedFd<'_>,
        name: &OsStr,
        what: NewFile<'_>,
        mask: u32,
    ) -> FsResult<()> {
        let recorded = self.records_changes();
        match what {
            NewFile::Folder(mode) => {
                let mode = if recorded { mode & 0o777 | 0o700 } else { mode & 0o1777 };
                rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode & !mask))
            }
            NewFile::Symlink(target) => rustix::fs::symlinkat(target, at, name),
            NewFile::Node(mode, device) => {
                // Only regular files and folders can have user attributes (xattr(7)).
                let kind =
                    if recorded { FileType::RegularFile } else { FileType::from_raw_mode(mode) };
                let mode = Mode::from_raw_mode(self.disk_mode(mode & !mask & 0o7777));
                rustix::fs::mknodat(at, name, kind, mode, if recorded { 0 } else { device })
            }
        }
    }

    /// Returns the mode on disk: where modes are recorded, one that gives the server access.
    pub(super) fn disk_mode(&self, mode: u32) -> u32 {
        if self.records_changes() { mode & 0o777 | 0o600 } else { mode & 0o7777 }
    }

    /// Returns the mask for a new file's mode: 0 where a default ACL decides (umask(2)).
    fn mask(&self, parent: &Arc<Node>, folder: &DiskFolder, caller: FsCaller) -> FsResult<u32> {
        let Some(own) = &parent.folder else { return Err(Errno::NOTDIR) };
        let known = match own.default_acl.load(Ordering::Acquire) {
            0 => {
                let found = rustix::fs::fgetxattr_query(folder, "system.posix_acl_default").is_ok();
                let known = if found { 2 } else { 1 };
                own.default_acl.store(known, Ordering::Release);
                known
            }
            known => known,
        };
        Ok(if known == 2 { 0 } else { caller.umask })
    }

    /// Gives a new file to the caller, or to the group of a setgid folder (inode(7)).
    fn set_new_owner(
        &self,
        parent: &DiskFolder,
        at: BorrowedFd<'_>,
        name: &OsStr,
        what: NewFile<'_>,
        mask: u32,
        caller: FsCaller,
    ) -> FsResult<()> {
        let ids = &self.rules.ids;
        let (uid, gid) = (ids.disk_user(caller.uid)?, ids.disk_group(caller.gid)?);
        let in_place = at.as_raw_fd() == parent.as_fd().as_raw_fd();
        if in_place && (uid, gid) == self.own && !self.records_changes() {
            return Ok(()); // the file system has set the owner already
        }
        let above = rustix::fs::fstat(parent)?;
        let above =
            self.recorded_stat(above, &FileReach::Held(parent.descriptor().clone()), UPPER)?;
        let owner = NewOwner::new(uid, gid, &above, what, mask);
        if self.records_changes() {
            return record_new(at, name, what, &owner);
        }
        if (owner.uid, owner.gid) != self.own || owner.by_setgid {
            let (user, group) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
            rustix::fs::chownat(at, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        match what {
            NewFile::Symlink(_) => Ok(()),
            _ => owner.restore_bits(at, name),
        }
    }
}

/// Owner and mode of a new file.
struct NewOwner {
    uid: u32,
    gid: u32,
    /// Requested mode, with the changes that a setgid folder requires.
    mode: u32,
    /// True if the group is that of a setgid folder.
    by_setgid: bool,
}

impl NewOwner {
    /// Computes owner and mode for a caller of these IDs, in a folder with the attributes `above`.
    fn new(uid: u32, gid: u32, above: &rustix::fs::Stat, what: NewFile<'_>, mask: u32) -> Self {
        let mode = match what {
            NewFile::Folder(mode) | NewFile::Node(mode, _) => mode & !mask & 0o7777,
            NewFile::Symlink(_) => 0o777,
        };
        if above.st_mode & libc::S_ISGID == 0 {
            return Self { uid, gid, mode, by_setgid: false };
        }
        let runs_as_group = libc::S_ISGID | 0o010;
        let mode = match what {
            NewFile::Folder(_) => mode | libc::S_ISGID,
            // A group without the caller must not lend itself to a program (CVE-2018-13405; the kernel ensures this
            // from 6.0).
            _ if mode & runs_as_group == runs_as_group && uid != 0 && gid != above.st_gid => {
                mode & !libc::S_ISGID
            }
            _ => mode,
        };
        Self { uid, gid: above.st_gid, mode, by_setgid: true }
    }

    /// Sets setuid and setgid, which the change of the owner removed. Keeps the rest of the mode on disk: a default ACL
    /// may have reduced the requested mode.
    fn restore_bits(&self, at: BorrowedFd<'_>, name: &OsStr) -> FsResult<()> {
        let wanted = self.mode & 0o6000;
        if wanted == 0 && !self.by_setgid {
            return Ok(());
        }
        let mode = stat_at(at, name)?.st_mode & 0o7777;
        if mode & 0o6000 == wanted {
            return Ok(());
        }
        crate::sys::inroot::change_mode(at, name, mode & 0o1777 | wanted).map_err(errno)
    }
}

/// Removes a new file that could not be given to its owner.
fn discard_new(at: BorrowedFd<'_>, name: &OsStr, what: NewFile<'_>) {
    let flags = match what {
        NewFile::Folder(_) => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    let _ = rustix::fs::unlinkat(at, name, flags);
}

/// Returns the errno of an error of the standard library's.
pub fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn record_new(
    at: BorrowedFd<'_>,
    name: &OsStr,
    what: NewFile<'_>,
    owner: &NewOwner,
) -> FsResult<()> {
    let file_type = match what {
        NewFile::Symlink(_) => return Ok(()), // links cannot have user attributes (xattr(7))
        NewFile::Folder(_) => None,
        NewFile::Node(mode, device) => {
            let numbers = (rustix::fs::major(device), rustix::fs::minor(device));
            match mode & libc::S_IFMT {
                libc::S_IFIFO => Some(Recorded::Pipe),
                libc::S_IFSOCK => Some(Recorded::Socket),
                libc::S_IFBLK => Some(Recorded::Block(numbers.0, numbers.1)),
                libc::S_IFCHR => Some(Recorded::Character(numbers.0, numbers.1)),
                _ => None,
            }
        }
    };
    let NewOwner { uid, gid, mode, .. } = *owner;
    let value = OverrideStat { uid, gid, mode, file_type }.to_string();
    rustix::fs::lsetxattr(
        path_below(at, name),
        OVERRIDE_STAT,
        value.as_bytes(),
        XattrFlags::empty(),
    )
}
