//! Changes of a file's attributes: those of stat(2) and extended ones.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Gid, IFlags, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::access::FileReach;
use super::attributes::FileAttributes;
use super::attributes::{AttributeChange, NewTime};
use super::copyup::CopyContent;
use super::file::{OpenFile, descriptor};
use super::layers::{FsCaller, FsResult};
use super::make::errno;
use super::node::{Node, UPPER};
use super::overlay::OverlayTree;
use crate::layer::acl::ACCESS_ACL;
use crate::layer::override_stat::{OVERRIDE_STAT, OverrideStat};
use crate::layer::path_of;
use crate::sys::inroot;

impl OverlayTree {
    /// Changes a node; returns its new attributes. `file` is the open file of the request, if any.
    pub fn change(
        &self,
        id: u64,
        change: AttributeChange,
        file: Option<&OpenFile>,
        caller: FsCaller,
    ) -> FsResult<FileAttributes> {
        let node = self.node(id)?;
        let cut = change.size == Some(0);
        self.copy_up(&node, if cut { CopyContent::Nothing } else { CopyContent::Whole })?;
        let _moves = self.moves.read();
        let open = match file {
            Some(file) if change.size.is_some() => Some(self.content_of_locked(file)?),
            _ => None,
        };
        self.with(&node, |reach| {
            if change.uid.is_some() || change.gid.is_some() {
                self.change_owner(&node, reach, &change, caller)?;
            }
            // After the owner: its change clears setuid.
            if let Some(mode) = change.mode {
                self.change_mode(reach, mode & 0o7777)?;
            }
            if let Some(size) = change.size {
                let open = open.as_ref().map(descriptor).transpose()?;
                resize(reach, open, size)?;
                self.drop_privileges(&node, reach, caller)?;
            }
            // Last: all other changes set the present time.
            change_times(reach, &change)?;
            self.shown(&node, &reach.stat()?, reach, UPPER)
        })
    }

    fn change_owner(
        &self,
        node: &Node,
        reach: &FileReach,
        change: &AttributeChange,
        caller: FsCaller,
    ) -> FsResult<()> {
        let ids = &self.rules.ids;
        let uid = change.uid.map(|uid| ids.disk_user(uid)).transpose()?;
        let gid = change.gid.map(|gid| ids.disk_group(gid)).transpose()?;
        if self.records_changes() {
            self.record(reach, |record| {
                record.uid = uid.unwrap_or(record.uid);
                record.gid = gid.unwrap_or(record.gid);
            })?;
            // The file system does this by itself for real owners (chown(2)).
            return self.drop_privileges(node, reach, caller);
        }
        let (folder, name, flags) = reach.at()?;
        rustix::fs::chownat(folder, name, uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)
    }

    fn change_mode(&self, reach: &FileReach, mode: u32) -> FsResult<()> {
        if self.records_changes() {
            return self.record(reach, |record| record.mode = mode);
        }
        set_mode(reach, mode)
    }

    /// Changes the record of owner and mode. Links have no record; only their owner would matter.
    fn record(&self, reach: &FileReach, change: impl FnOnce(&mut OverrideStat)) -> FsResult<()> {
        let stat = reach.stat()?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
            return Ok(());
        }
        let mut record = match reach.attribute(OVERRIDE_STAT.as_bytes()) {
            Ok(value) => OverrideStat::parse(&value).map_err(|_| Errno::IO)?,
            Err(Errno::NODATA) => OverrideStat {
                uid: stat.st_uid,
                gid: stat.st_gid,
                mode: stat.st_mode & 0o7777,
                file_type: None,
            },
            Err(error) => return Err(error),
        };
        change(&mut record);
        let value = record.to_string();
        reach.set_attribute(OVERRIDE_STAT.as_bytes(), value.as_bytes(), XattrFlags::empty())
    }

    /// Removes setuid, setgid and capabilities from a file whose content or owner changes, for any caller. Root of a
    /// user namespace is no exception (`setattr_should_drop_suidgid` requires CAP_FSETID over the machine). Where the
    /// group may not execute the file, setgid stays for a caller who may set it.
    pub(super) fn drop_privileges(
        &self,
        node: &Node,
        reach: &FileReach,
        caller: FsCaller,
    ) -> FsResult<()> {
        let stat = self.recorded_stat(reach.stat()?, reach, UPPER)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(());
        }
        let stays = stat.st_mode & 0o010 == 0 && self.may_set_group_bit(caller, &stat);
        let taken = libc::S_ISUID | if stays { 0 } else { libc::S_ISGID };
        if stat.st_mode & taken != 0 {
            self.change_mode(reach, stat.st_mode & 0o7777 & !taken)?;
        }
        if node.has_no_capabilities() {
            return Ok(());
        }
        match reach.remove_attribute(b"security.capability") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True if a caller may set setgid on a file (`in_group_or_capable`), by the data from the kernel. The kernel
    /// reports one group of the caller's alone, and -1 where it moves IDs itself.
    fn may_set_group_bit(&self, caller: FsCaller, stat: &Stat) -> bool {
        let ids = &self.rules.ids;
        ids.disk_user(caller.uid) == Ok(0) || ids.disk_group(caller.gid) == Ok(stat.st_gid)
    }

    /// Removes setgid from a file whose ACL was set by a caller who is neither privileged nor in its group
    /// (CVE-2016-7097). A folder keeps setgid, which is no privilege there: the caller may be in its group by a
    /// supplementary one.
    fn drop_group_privilege(&self, reach: &FileReach, caller: FsCaller) -> FsResult<()> {
        let stat = reach.stat()?;
        if stat.st_mode & libc::S_ISGID == 0
            || stat.st_mode & libc::S_IFMT == libc::S_IFDIR
            || self.may_set_group_bit(caller, &stat)
        {
            return Ok(());
        }
        set_mode(reach, stat.st_mode & 0o7777 & !libc::S_ISGID)
    }

    /// Returns the flags of a file or folder (FS_IOC_GETFLAGS). Errors: ENOTTY for a file system without flags.
    pub fn flags(&self, id: u64) -> FsResult<u32> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        self.with(&node, |reach| Ok(rustix::fs::ioctl_getflags(openable(&node, reach)?)?.bits()))
    }

    /// Sets the flags of a file or folder (FS_IOC_SETFLAGS). Errors: EPERM for flags that would keep the upper layer
    /// from renaming or removing the file.
    pub fn set_flags(&self, id: u64, flags: u32) -> FsResult<()> {
        let flags = IFlags::from_bits_retain(flags);
        let node = self.node(id)?;
        if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
            return Err(Errno::PERM);
        }
        self.copy_up(&node, CopyContent::Whole)?;
        let _moves = self.moves.read();
        self.with(&node, |reach| rustix::fs::ioctl_setflags(openable(&node, reach)?, flags))
    }

    /// Sets an extended attribute.
    pub fn set_xattr(
        &self,
        id: u64,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        caller: FsCaller,
    ) -> FsResult<()> {
        let node = self.node(id)?;
        let disk_name = self.disk_name(name).map_err(|_| Errno::PERM)?;
        self.refuse_acl(&disk_name)?;
        let value = self.disk_value(&disk_name, value)?;
        let flags = XattrFlags::from_bits_retain(flags as u32);
        self.copy_up(&node, CopyContent::Whole)?;
        let _moves = self.moves.read();
        node.clear_no_capabilities();
        self.with(&node, |reach| {
            reach.set_attribute(&disk_name, &value, flags)?;
            match disk_name == ACCESS_ACL {
                true => self.drop_group_privilege(reach, caller),
                false => Ok(()),
            }
        })?;
        forget_acl(&node);
        Ok(())
    }

    /// Removes an extended attribute. Errors: ENODATA, before any file is copied up.
    pub fn remove_xattr(&self, id: u64, name: &OsStr) -> FsResult<()> {
        let node = self.node(id)?;
        let disk_name = self.disk_name(name)?;
        self.refuse_acl(&disk_name)?;
        if node.layer() != UPPER {
            let _moves = self.moves.read();
            self.with(&node, |reach| reach.attribute(&disk_name))?;
        }
        self.copy_up(&node, CopyContent::Whole)?;
        let _moves = self.moves.read();
        self.with(&node, |reach| reach.remove_attribute(&disk_name))?;
        forget_acl(&node);
        Ok(())
    }
}

/// Opens a file that can have flags. Errors: ENOTTY for other kinds.
fn openable(node: &Node, reach: &FileReach) -> FsResult<OwnedFd> {
    match node.kind {
        // Files of an image have no flags.
        _ if matches!(reach, FileReach::Stored(_)) => Err(Errno::NOTTY),
        libc::S_IFREG | libc::S_IFDIR => reach.open(OFlags::RDONLY | OFlags::NONBLOCK),
        _ => Err(Errno::NOTTY),
    }
}

/// Forgets the cached state of the default ACL: the changed attribute may be it.
fn forget_acl(node: &Arc<Node>) {
    if let Some(folder) = &node.folder {
        folder.default_acl.store(0, Ordering::Release);
    }
}

fn set_mode(reach: &FileReach, mode: u32) -> FsResult<()> {
    match reach {
        FileReach::Name(folder, name) => inroot::change_mode(folder, name, mode).map_err(errno),
        FileReach::Held(fd) => rustix::fs::chmod(path_of(fd), Mode::from_raw_mode(mode)),
        FileReach::Stored(_) => Err(Errno::ROFS),
    }
}

fn resize(reach: &FileReach, open: Option<&OwnedFd>, size: u64) -> FsResult<()> {
    if let Some(fd) = open {
        match rustix::fs::ftruncate(fd, size) {
            Err(Errno::INVAL | Errno::BADF) => {} // the file is open for reading alone
            answer => return answer,
        }
    }
    let fd = reach.open(OFlags::WRONLY | OFlags::NONBLOCK)?;
    rustix::fs::ftruncate(&fd, size)
}

fn change_times(reach: &FileReach, change: &AttributeChange) -> FsResult<()> {
    const NOW: i64 = 0x3fff_ffff; // UTIME_NOW
    const OMIT: i64 = 0x3fff_fffe; // UTIME_OMIT
    if change.accessed.is_none() && change.modified.is_none() {
        return Ok(());
    }
    let time = |time: Option<NewTime>| match time {
        None => Timespec { tv_sec: 0, tv_nsec: OMIT },
        Some(NewTime::Now) => Timespec { tv_sec: 0, tv_nsec: NOW },
        Some(NewTime::At(time)) => {
            Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) }
        }
    };
    let times =
        Timestamps { last_access: time(change.accessed), last_modification: time(change.modified) };
    match reach {
        FileReach::Name(folder, name) => {
            rustix::fs::utimensat(folder, &**name, &times, AtFlags::SYMLINK_NOFOLLOW)
        }
        FileReach::Held(fd) => {
            rustix::fs::utimensat(rustix::fs::CWD, path_of(fd), &times, AtFlags::empty())
        }
        FileReach::Stored(_) => Err(Errno::ROFS),
    }
}
