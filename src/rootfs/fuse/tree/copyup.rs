//! Copy-up: makes a file of a lower layer again in the upper one before it is changed. The copy is completed beside the
//! tree and then gets its name: no caller ever sees a part of it, whatever ends the server.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::access::FileReach;
use super::data::{self, Copied};
use super::layers::{FsResult, stat_at};
use super::node::{LayerIndex, Node, UPPER};
use super::number::RealFile;
use super::overlay::OverlayTree;
use super::owner::NOBODY;
use super::work::WorkFolder;
use super::xattr;
use crate::layer::acl;
use crate::layer::{DiskFolder, LowerFile, LowerFolder, is_overlay_attribute, path_of};

/// Part of a file's content to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyContent {
    /// All of the content.
    Whole,
    /// None: the file is about to be truncated.
    Nothing,
}

/// File to copy.
struct CopySource {
    layer: LayerIndex,
    file: LowerFile,
    /// Way to its attributes.
    reach: FileReach,
}

/// New file beside the tree, which waits for its name.
enum NewCopy {
    /// File without a name.
    Nameless(OwnedFd),
    /// File under a name in the work folder.
    Named(OsString),
}

impl OverlayTree {
    /// Copies a node, and the folders above it, into the upper layer. The caller must not hold `moves`: copying may
    /// take long.
    pub(super) fn copy_up(&self, node: &Arc<Node>, content: CopyContent) -> FsResult<()> {
        let work = self.work()?;
        if node.layer() != UPPER {
            // From the topmost on, in a loop: a tree may be deeper than a stack.
            for folder in lower_folders_above(node).iter().rev() {
                self.copy_up_one(work, folder, CopyContent::Whole)?;
            }
            self.copy_up_one(work, node, content)?;
        }
        if node.kind == libc::S_IFDIR { Ok(()) } else { self.link_under_all_names(node) }
    }

    /// Copies a node into the upper layer, which holds the node's folder already.
    fn copy_up_one(
        &self,
        work: &WorkFolder,
        node: &Arc<Node>,
        content: CopyContent,
    ) -> FsResult<()> {
        let _alone = self.copying[node.id as usize % self.copying.len()].lock();
        if node.layer() == UPPER {
            return Ok(()); // another thread was faster
        }
        if node.kind == libc::S_IFDIR {
            return self.copy_up_folder(work, node);
        }
        let (made, source) = self.copy(work, node, content)?;
        self.put(work, node, made, &source)
    }

    fn copy_up_folder(&self, work: &WorkFolder, node: &Arc<Node>) -> FsResult<()> {
        let _moves = self.moves.read();
        let reach = FileReach::of_folder(&self.layer_folder(node, node.layer())?);
        let stat = self.recorded_stat(reach.stat()?, &reach, node.layer())?;
        let name = work.new_name();
        rustix::fs::mkdirat(&work.fd, &name, Mode::from_raw_mode(stat.st_mode & 0o777))?;
        let copied = rustix::fs::openat(&work.fd, &name, DiskFolder::FLAGS, Mode::empty())
            .and_then(|fd| self.copy_attributes(&reach, fd.as_fd(), &stat).map(|()| fd));
        let fd = match copied {
            Ok(fd) => fd,
            Err(error) => {
                work.discard(&name);
                return Err(error);
            }
        };
        self.put(work, node, NewCopy::Named(name), &stat)?;
        self.keep_open(node, UPPER, LowerFolder::from(fd));
        Ok(())
    }

    /// Makes a copy of a file, without a place yet.
    fn copy(
        &self,
        work: &WorkFolder,
        node: &Arc<Node>,
        content: CopyContent,
    ) -> FsResult<(NewCopy, Stat)> {
        if node.kind == libc::S_IFREG {
            let CopySource { layer, file, reach } = self.copy_source(node)?;
            let stat = self.recorded_stat(reach.stat()?, &reach, layer)?;
            let (name, fd) = new_file(work, stat.st_mode)?;
            let filled = match content {
                CopyContent::Whole => self.copy_data(work, &file, &fd, &stat),
                CopyContent::Nothing => Ok(()),
            };
            let done = filled.and_then(|()| self.copy_attributes(&reach, fd.as_fd(), &stat));
            let made = match name {
                Some(name) => NewCopy::Named(name),
                None => NewCopy::Nameless(fd),
            };
            return match done {
                Ok(()) => Ok((made, stat)),
                Err(error) => {
                    made.discard(work);
                    Err(error)
                }
            };
        }
        let _moves = self.moves.read();
        self.with(node, |reach| {
            let stat = self.recorded_stat(reach.stat()?, reach, node.layer())?;
            let made = work.new_name();
            copy_special(reach, &stat, work, &made).inspect_err(|_| work.discard(&made))?;
            Ok((NewCopy::Named(made), stat))
        })
    }

    /// Opens the content of a file to copy.
    fn copy_source(&self, node: &Arc<Node>) -> FsResult<CopySource> {
        let _moves = self.moves.read();
        let (layer, file) = self.open_for_reading(node)?;
        let reach = match &file {
            LowerFile::Disk(fd) => FileReach::Held(fd.clone()),
            LowerFile::Squashfs(_) => self.with(node, |reach| Ok(reach.clone()))?,
        };
        Ok(CopySource { layer, file, reach })
    }

    /// Copies the content, and waits until it is on disk. Otherwise a crash after the copy got its name would leave
    /// zeros in place of the old file. As in the kernel's overlay (`fsync=auto`), a clone needs no wait, nor does a
    /// disposable upper layer.
    fn copy_data(
        &self,
        work: &WorkFolder,
        from: &LowerFile,
        to: &OwnedFd,
        stat: &Stat,
    ) -> FsResult<()> {
        match data::copy(from, to, stat, &work.no_clones)? {
            Copied::Written if !self.rules.is_disposable => rustix::fs::fsync(to),
            _ => Ok(()),
        }
    }

    /// Puts a copy in its place: from here on the copy is the file.
    fn put(
        &self,
        work: &WorkFolder,
        node: &Arc<Node>,
        made: NewCopy,
        source: &Stat,
    ) -> FsResult<()> {
        let _moves = self.moves.read();
        let mut place = node.place.write();
        let parent = match place.parent.clone() {
            Some(parent) if !node.is_removed() => parent,
            _ => {
                // Removed while open: processes that have the file open see the change.
                let held = made.into_fd(work)?;
                place.rare().held = Some(Arc::new(held));
                node.set_upper();
                return Ok(());
            }
        };
        let folder = self.upper_folder(&parent)?;
        let times = rustix::fs::fstat(&folder)?;
        made.link(work, folder.as_fd(), &place.name)?;
        let stat = stat_at(&folder, &place.name)?;
        // The content of the folder is unchanged: restore its times.
        rustix::fs::futimens(&folder, &times_of(&times))?;
        self.numbers.keep(RealFile { dev: stat.st_dev, ino: stat.st_ino }, node.id);
        if node.kind != libc::S_IFDIR && source.st_nlink > 1 {
            self.keep_link(work, node, folder.as_fd(), &mut place, source)?;
        }
        if let Some(own) = &node.folder {
            own.layers.write().insert(0, UPPER);
        }
        node.set_upper();
        Ok(())
    }

    /// Copies owner, mode, extended attributes and times, in the order in which none undoes another.
    fn copy_attributes(&self, from: &FileReach, to: BorrowedFd<'_>, stat: &Stat) -> FsResult<()> {
        let own = rustix::fs::fstat(to)?;
        if (own.st_uid, own.st_gid) != (stat.st_uid, stat.st_gid) {
            give(from, stat, |user, group| rustix::fs::fchown(to, user, group))?;
        }
        if (own.st_mode ^ stat.st_mode) & 0o7777 != 0 || stat.st_mode & 0o6000 != 0 {
            rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        let names = from.attributes()?;
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            if !xattr::is_copied_up(name) {
                continue;
            }
            if is_overlay_attribute(name) {
                continue; // an attribute about the layers below would be about others in the upper layer
            }
            if self.is_record(name) && !self.records_changes() {
                continue; // the real attributes have the recorded values from here on
            }
            let value = from.attribute(name);
            let value = if acl::is_acl(name) {
                value.and_then(|acl| acl::without_unmapped(&acl))
            } else {
                value
            };
            let set = value
                .and_then(|value| rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()));
            match set {
                // The upper file system lacks this kind of attribute. An ACL must not be lost, which may deny access to
                // a user, nor the record of the file's owner.
                Err(Errno::OPNOTSUPP) if !acl::is_acl(name) && !self.is_record(name) => {}
                Err(Errno::PERM | Errno::INVAL) if name == b"security.capability" => {}
                Err(Errno::NODATA) => {}
                answer => answer?,
            }
        }
        rustix::fs::futimens(to, &times_of(stat))
    }
}

impl NewCopy {
    fn discard(&self, work: &WorkFolder) {
        if let Self::Named(name) = self {
            work.discard(name);
        }
    }

    fn link(self, work: &WorkFolder, folder: BorrowedFd<'_>, name: &OsStr) -> FsResult<()> {
        match self {
            Self::Nameless(fd) => rustix::fs::linkat(
                rustix::fs::CWD,
                path_of(&fd),
                folder,
                name,
                AtFlags::SYMLINK_FOLLOW,
            ),
            Self::Named(made) => rustix::fs::renameat(&work.fd, &made, folder, name)
                .inspect_err(|_| work.discard(&made)),
        }
    }

    fn into_fd(self, work: &WorkFolder) -> FsResult<OwnedFd> {
        match self {
            Self::Nameless(fd) => Ok(fd),
            Self::Named(name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&work.fd, &name, flags, Mode::empty());
                work.discard(&name);
                fd
            }
        }
    }
}

/// Returns the folders above a node that are not in the upper layer, the lowest first.
fn lower_folders_above(node: &Arc<Node>) -> Vec<Arc<Node>> {
    let above = |node: &Arc<Node>| {
        let parent = node.place.read().parent.clone();
        parent.filter(|parent| !node.is_removed() && parent.layer() != UPPER)
    };
    std::iter::successors(above(node), above).collect()
}

/// Makes a regular file beside the tree, open for writing; without a name where the file system supports that.
fn new_file(work: &WorkFolder, mode: u32) -> FsResult<(Option<OsString>, OwnedFd)> {
    let mode = Mode::from_raw_mode(mode & 0o777);
    if work.no_nameless.load(Ordering::Relaxed) == 0 {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&work.fd, ".", flags, mode) {
            Ok(fd) => return Ok((None, fd)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                work.no_nameless.store(1, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    let name = work.new_name();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&work.fd, &name, flags, mode)?;
    Ok((Some(name), fd))
}

/// Returns the times of a file, in the form to set them.
pub fn times_of(stat: &Stat) -> Timestamps {
    let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec as i64 };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Gives a copy to the owner of its source, by `chown`. A stored ID that does not exist in this user namespace is shown as
/// the overflow ID (user_namespaces(7)): the copy gets that one. Errors: EINVAL where that ID does not exist either.
fn give(
    from: &FileReach,
    stat: &Stat,
    chown: impl Fn(Option<Uid>, Option<Gid>) -> FsResult<()>,
) -> FsResult<()> {
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match chown(Some(user), Some(group)) {
        Err(Errno::INVAL) if matches!(from, FileReach::Stored(_)) => {
            let or_overflow = |answer, other: &dyn Fn() -> FsResult<()>| match answer {
                Err(Errno::INVAL) => other(),
                answer => answer,
            };
            let nobody = || chown(Some(Uid::from_raw(NOBODY)), None);
            or_overflow(chown(Some(user), None), &nobody)?;
            let no_group = || chown(None, Some(Gid::from_raw(NOBODY)));
            or_overflow(chown(None, Some(group)), &no_group)
        }
        answer => answer,
    }
}

/// Copies a symbolic link, FIFO, socket or device.
fn copy_special(from: &FileReach, stat: &Stat, work: &WorkFolder, made: &OsStr) -> FsResult<()> {
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind == rustix::fs::FileType::Symlink {
        let target = OsString::from_vec(from.read_link()?);
        rustix::fs::symlinkat(target, &work.fd, made)?;
    } else {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::mknodat(&work.fd, made, kind, mode, stat.st_rdev)?;
    }
    give(from, stat, |user, group| {
        rustix::fs::chownat(&work.fd, made, user, group, AtFlags::SYMLINK_NOFOLLOW)
    })?;
    rustix::fs::utimensat(&work.fd, made, &times_of(stat), AtFlags::SYMLINK_NOFOLLOW)
}
