//! Work folder: files are made there, and then moved into the upper layer by one rename or link. A server killed at any
//! moment leaves the old or the new state.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::layers::{FsResult, reopened};
use crate::layer::acl::DEFAULT_ACL;
use crate::layer::whiteout::{self, OPAQUE};
use crate::layer::{DiskFolder, MarkAttributes, for_each_entry, path_of};
use crate::sys::inode;

/// Mark in the folder of the mount option: names of the upper layer that begin with `.wh.` are whiteouts.
pub const NAMES: &str = "usnea-names";

/// Work folder, and the abilities of the upper file system.
pub struct WorkFolder {
    /// Folder `work` in the folder of the mount option, as in the kernel's overlay.
    pub fd: OwnedFd,
    /// Folder of links to copied files of several names, while some of these names may still lead to lower files.
    pub links: Arc<OwnedFd>,
    _lock: OwnedFd,
    next: AtomicU64,
    /// Form of new whiteouts.
    pub form: WhiteoutForm,
    /// Form of opaque folders.
    pub opacity: Opacity,
    /// Attributes of both, in the form of attributes.
    pub attributes: MarkAttributes,
    /// 1 if the file system failed to clone a file; 0: unknown.
    pub no_clones: AtomicU8,
    /// 1 if the file system failed to make a file without a name; 0: unknown.
    pub no_nameless: AtomicU8,
}

/// Form of new whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhiteoutForm {
    /// Device 0:0.
    Device,
    /// Empty file with an attribute, in a folder and a layer that declare such whiteouts (kernel 6.8).
    Attribute,
    /// File `.wh.NAME`, without devices and attributes: no other file can have such a name then.
    Name,
}

/// Form of opaque folders, which hide those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opacity {
    /// Attribute.
    Attribute,
    /// File in the folder, where attributes are missing.
    Name,
}

impl WorkFolder {
    /// Opens the work folder for this server alone, and clears leftovers of a killed server. Errors: EBUSY when another
    /// server uses the folder.
    pub fn open(folder: &OwnedFd) -> FsResult<Self> {
        let folder = reopened(folder)?;
        lock(&folder)?;
        let (fd, links) = (part(&folder, "work")?, part(&folder, "usnea-links")?);
        clear(&fd)?;
        inherit_nothing(&fd)?;
        let (form, opacity, attributes) = forms(&fd)?;
        if form == WhiteoutForm::Name || opacity == Opacity::Name {
            mark(&folder, NAMES.as_ref())?;
        }
        Ok(Self {
            fd,
            links: Arc::new(links),
            _lock: folder,
            next: AtomicU64::new(0),
            form,
            opacity,
            attributes,
            no_clones: AtomicU8::new(0),
            no_nameless: AtomicU8::new(0),
        })
    }

    /// Returns a new, unused name in the folder.
    pub fn new_name(&self) -> OsString {
        format!("#{:x}", self.next.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// Removes a file that is not needed, or was replaced.
    pub fn discard(&self, name: &std::ffi::OsStr) {
        if rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) == Err(Errno::ISDIR)
            && let Ok(folder) = rustix::fs::openat(&self.fd, name, DiskFolder::FLAGS, Mode::empty())
        {
            let _ = clear(&folder);
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR);
        }
    }

    /// True if the upper layer has whiteouts or opaque marks by name.
    pub fn has_names(&self) -> bool {
        self.form == WhiteoutForm::Name || self.opacity == Opacity::Name
    }
}

/// Takes the lock of the work folder. umount(2) returns before the server of that mount has released its lock: waits
/// for a held lock. Errors: EBUSY when the lock is held longer than a server takes to end.
fn lock(folder: &OwnedFd) -> FsResult<()> {
    const LONGEST: Duration = Duration::from_secs(2);
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    // A file system without locks returns another error: no other server can be detected there.
    while rustix::fs::flock(folder, exclusive) == Err(Errno::WOULDBLOCK) {
        if begin.elapsed() >= LONGEST {
            return Err(Errno::BUSY);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(32));
    }
    Ok(())
}

/// Removes the default ACL and setgid that the work folder inherited from its parent. Every new file in it would
/// inherit them in turn. The kernel's overlay does the same (`ovl_workdir_create`).
fn inherit_nothing(work: &OwnedFd) -> FsResult<()> {
    let _ = rustix::fs::fremovexattr(work, DEFAULT_ACL);
    match rustix::fs::fstat(work)?.st_mode & 0o6000 {
        0 => Ok(()),
        _ => rustix::fs::fchmod(work, Mode::RWXU),
    }
}

/// Tries which forms the file system can hold: only a trial shows that. Errors: EROFS.
fn forms(work: &OwnedFd) -> FsResult<(WhiteoutForm, Opacity, MarkAttributes)> {
    const TRIAL: &str = "#trial";
    let tried = |answer: FsResult<()>| match answer {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => false,
        // An error such as a full disk decides nothing here, and shows again at the first write.
        _ => true,
    };
    let made = rustix::fs::mknodat(work, TRIAL, FileType::CharacterDevice, Mode::empty(), 0);
    if made == Err(Errno::ROFS) {
        return Err(Errno::ROFS);
    }
    // Some file systems accept files and attributes that they do not keep (fuse-overlayfs): read them back.
    let is_lost = made.is_ok()
        && !rustix::fs::statat(work, TRIAL, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| whiteout::is_device(&stat));
    let devices = tried(made) && !is_lost;
    let _ = rustix::fs::unlinkat(work, TRIAL, AtFlags::empty());
    let path = path_of(work);
    let set = rustix::fs::setxattr(&path, OPAQUE, b"y", XattrFlags::empty());
    let is_lost = set.is_ok() && rustix::fs::getxattr(&path, OPAQUE, &mut [0; 1]) != Ok(1);
    let attributes = tried(set) && !is_lost;
    let _ = rustix::fs::removexattr(&path, OPAQUE);
    let kernel = MarkAttributes::KERNEL;
    Ok(match (devices, attributes) {
        (true, true) => (WhiteoutForm::Device, Opacity::Attribute, kernel),
        (false, true) => (WhiteoutForm::Attribute, Opacity::Attribute, kernel),
        // Names that are whiteouts may be reserved too (fuse-overlayfs).
        (_, false) if !tried(mark(work, &whiteout::whiteout_name(TRIAL.as_ref()))) => {
            (WhiteoutForm::Attribute, Opacity::Attribute, MarkAttributes::OWN)
        }
        (_, false) => {
            rustix::fs::unlinkat(work, whiteout::whiteout_name(TRIAL.as_ref()), AtFlags::empty())?;
            let form = if devices { WhiteoutForm::Device } else { WhiteoutForm::Name };
            (form, Opacity::Name, kernel)
        }
    })
}

fn part(folder: &OwnedFd, name: &str) -> FsResult<OwnedFd> {
    match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::openat(folder, name, DiskFolder::FLAGS, Mode::empty()) {
        // The kernel's overlay makes the folder without any permission, which stops only users without privileges.
        Err(Errno::ACCESS) => {
            let closed = inode::open(folder, name, FileType::Directory)?;
            inode::change_mode(closed, 0o700)?;
            rustix::fs::openat(folder, name, DiskFolder::FLAGS, Mode::empty())
        }
        answer => answer,
    }
}

/// Makes an empty file, whose name is its meaning, unless it exists.
pub fn mark(folder: impl AsFd, name: &std::ffi::OsStr) -> FsResult<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}

/// Removes all files in a folder, however deep. Moves the content of each subfolder up into the folder first: depth
/// then uses neither stack nor descriptors.
fn clear(folder: &OwnedFd) -> FsResult<()> {
    let mut next = 0u64;
    loop {
        let entries = entries(folder)?;
        if entries.is_empty() {
            return Ok(());
        }
        for (name, file_type) in entries {
            if file_type == FileType::Directory {
                let below = rustix::fs::openat(folder, &name, DiskFolder::FLAGS, Mode::empty())?;
                lift(&below, folder, &mut next)?;
                rustix::fs::unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
            } else {
                rustix::fs::unlinkat(folder, &name, AtFlags::empty())?;
            }
        }
    }
}

/// Removes the files of a folder, and moves its subfolders up into `above`, under unused names.
fn lift(folder: &OwnedFd, above: &OwnedFd, next: &mut u64) -> FsResult<()> {
    for (name, file_type) in entries(folder)? {
        if file_type != FileType::Directory {
            rustix::fs::unlinkat(folder, &name, AtFlags::empty())?;
            continue;
        }
        loop {
            *next += 1;
            let lifted = format!("#lifted{next:x}");
            match rustix::fs::renameat(folder, &name, above, &lifted) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                answer => break answer?,
            }
        }
    }
    Ok(())
}

fn entries(folder: &OwnedFd) -> FsResult<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for_each_entry(folder, |name, _, file_type| names.push((name.to_owned(), file_type)))?;
    Ok(names)
}
