//! The work folder: where things are made before they are put into the upper layer by one rename or link, so that a
//! server killed at any instant leaves the old or the new.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::access::below;
use super::acl::DEFAULT_ACL;
use super::folders::FOLDER;
use super::whiteout::{OPAQUE_NAME, each_entry, whiteout_name};
use super::{Answer, Tree};
use crate::sys::inode;

/// In the folder that was given: names of the upper layer that begin with `.wh.` are whiteouts.
pub const NAMES: &str = "usnea-names";

/// The work folder, and what the upper file system can do.
pub struct Work {
    /// `work` in the folder that was given, as the kernel's overlay has it.
    pub fd: OwnedFd,
    /// Files of several names, as long as some of these may still be lower ones.
    pub links: Arc<OwnedFd>,
    _lock: OwnedFd,
    next: AtomicU64,
    /// How whiteouts are written.
    pub form: Form,
    /// How folders are made opaque.
    pub opacity: Opacity,
    /// Whether the file system was seen not to clone files: 0 not yet.
    pub no_clones: AtomicU8,
    /// Whether the file system was seen not to have files without a name: 0 not yet.
    pub no_nameless: AtomicU8,
}

/// How whiteouts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The device 0:0.
    Device,
    /// An empty file with an attribute, in a folder and a layer that say so (kernel 6.7).
    Attribute,
    /// A file `.wh.NAME`, where there is neither: nothing else can have such a name then.
    Name,
}

/// How a folder says that it hides those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opacity {
    /// By the attribute.
    Attribute,
    /// By a file in it, where there are no attributes.
    Name,
}

impl Work {
    /// Takes the work folder for this server alone, and clears what a killed one left. Errors: EBUSY when another server
    /// has it.
    pub fn open(given: &OwnedFd) -> Answer<Self> {
        let given = super::reopened(given.try_clone().map_err(|_| Errno::MFILE)?)?;
        lock(&given)?;
        let (fd, links) = (part(&given, "work")?, part(&given, "usnea-links")?);
        clear(&fd)?;
        inherit_nothing(&fd)?;
        let (form, opacity) = forms(&fd)?;
        if form == Form::Name || opacity == Opacity::Name {
            mark(&given, NAMES.as_ref())?;
        }
        Ok(Self {
            fd,
            links: Arc::new(links),
            _lock: given,
            next: AtomicU64::new(0),
            form,
            opacity,
            no_clones: AtomicU8::new(0),
            no_nameless: AtomicU8::new(0),
        })
    }

    /// A name that nothing in the folder has.
    pub fn new_name(&self) -> OsString {
        format!("#{:x}", self.next.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// Removes what was made and not needed, or was replaced.
    pub fn discard(&self, name: &std::ffi::OsStr) {
        if rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) == Err(Errno::ISDIR)
            && let Ok(folder) = rustix::fs::openat(&self.fd, name, FOLDER, Mode::empty())
        {
            let _ = clear(&folder);
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR);
        }
    }

    /// Whether names that begin with `.wh.` mean something in the upper layer.
    pub fn has_names(&self) -> bool {
        self.form == Form::Name || self.opacity == Opacity::Name
    }
}

/// Takes the lock of the work folder. umount(2) returns before the server of that mount has let go of it, so a lock that
/// is held is waited for. Errors: EBUSY when it is held for longer than a server takes to end.
fn lock(given: &OwnedFd) -> Answer<()> {
    const LONGEST: Duration = Duration::from_secs(2);
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    // A file system without locks says something else: there nothing tells.
    while rustix::fs::flock(given, exclusive) == Err(Errno::WOULDBLOCK) {
        if begin.elapsed() >= LONGEST {
            return Err(Errno::BUSY);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(32));
    }
    Ok(())
}

/// Takes off the work folder what it has of the folder above it and would give to every file that is made in it: a
/// default ACL and setgid, as the kernel's overlay does (`ovl_workdir_create`).
fn inherit_nothing(work: &OwnedFd) -> Answer<()> {
    let _ = rustix::fs::fremovexattr(work, DEFAULT_ACL);
    match rustix::fs::fstat(work)?.st_mode & 0o6000 {
        0 => Ok(()),
        _ => rustix::fs::fchmod(work, Mode::RWXU),
    }
}

/// What the file system can hold, tried: nothing else tells. Errors: it cannot be written to.
fn forms(work: &OwnedFd) -> Answer<(Form, Opacity)> {
    const TRIAL: &str = "#trial";
    const OPAQUE: &str = crate::whiteout::OPAQUE;
    let tried = |answer: Answer<()>| match answer {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => false,
        // A full disk, say: that is no answer, and will be one when something is written.
        _ => true,
    };
    let made = rustix::fs::mknodat(work, TRIAL, FileType::CharacterDevice, Mode::empty(), 0);
    if made == Err(Errno::ROFS) {
        return Err(Errno::ROFS);
    }
    // Some file systems take what they do not keep (fuse-overlayfs): what was written is read back.
    let is_lost = made.is_ok()
        && !rustix::fs::statat(work, TRIAL, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| super::whiteout::is_device(&stat));
    let devices = tried(made) && !is_lost;
    let _ = rustix::fs::unlinkat(work, TRIAL, AtFlags::empty());
    let path = super::access::path_of(work);
    let set = rustix::fs::setxattr(&path, OPAQUE, b"y", XattrFlags::empty());
    let is_lost = set.is_ok() && rustix::fs::getxattr(&path, OPAQUE, &mut [0; 1]) != Ok(1);
    let attributes = tried(set) && !is_lost;
    let _ = rustix::fs::removexattr(&path, OPAQUE);
    Ok(match (devices, attributes) {
        (true, true) => (Form::Device, Opacity::Attribute),
        (true, false) => (Form::Device, Opacity::Name),
        (false, true) => (Form::Attribute, Opacity::Attribute),
        (false, false) => (Form::Name, Opacity::Name),
    })
}

fn part(given: &OwnedFd, name: &str) -> Answer<OwnedFd> {
    match rustix::fs::mkdirat(given, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::openat(given, name, FOLDER, Mode::empty()) {
        // The kernel's overlay makes it without any permission, which stops only those without privileges.
        Err(Errno::ACCESS) => {
            let folder = inode::open(given, name, FileType::Directory)?;
            inode::change_mode(folder, 0o700)?;
            rustix::fs::openat(given, name, FOLDER, Mode::empty())
        }
        answer => answer,
    }
}

/// Makes an empty file whose name says all; it may be there.
fn mark(folder: impl AsFd, name: &std::ffi::OsStr) -> Answer<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}

/// Removes all that is in a folder, however deep: what a folder in it holds comes up into it first, so that neither
/// stack nor descriptors are used by the level.
fn clear(folder: &OwnedFd) -> Answer<()> {
    let mut next = 0u64;
    loop {
        let entries = entries(folder)?;
        if entries.is_empty() {
            return Ok(());
        }
        for (name, file_type) in entries {
            if file_type == FileType::Directory {
                let below = rustix::fs::openat(folder, &name, FOLDER, Mode::empty())?;
                lift(&below, folder, &mut next)?;
                rustix::fs::unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
            } else {
                rustix::fs::unlinkat(folder, &name, AtFlags::empty())?;
            }
        }
    }
}

/// Removes the files of a folder, and moves the folders in it up into `above`, under names that nothing has there.
fn lift(folder: &OwnedFd, above: &OwnedFd, next: &mut u64) -> Answer<()> {
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

fn entries(folder: &OwnedFd) -> Answer<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    each_entry(folder, |name, _, file_type| names.push((name.to_owned(), file_type)))?;
    Ok(names)
}

impl Tree {
    /// The work folder. Errors: EROFS where there is no upper layer.
    pub(super) fn work(&self) -> Answer<&Work> {
        self.work.as_ref().ok_or(Errno::ROFS)
    }

    /// Makes a whiteout under `name` of a folder where nothing is.
    pub(super) fn make_whiteout(
        &self,
        folder: impl AsFd,
        name: &std::ffi::OsStr,
        home: impl AsFd,
    ) -> Answer<()> {
        match self.work()?.form {
            Form::Device => {
                rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
            }
            Form::Attribute => self.make_attribute_whiteout(&folder, name, home),
            Form::Name => mark(folder, &whiteout_name(name)),
        }
    }

    /// The layers below a folder of the upper layer are not seen in it.
    pub(super) fn set_opaque(&self, folder: impl AsFd, name: &std::ffi::OsStr) -> Answer<()> {
        match self.work()?.opacity {
            Opacity::Attribute => {
                let path = below(folder, name);
                rustix::fs::lsetxattr(path, "user.overlay.opaque", b"y", XattrFlags::empty())
            }
            Opacity::Name => {
                let folder = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
                mark(folder, OPAQUE_NAME.as_ref())
            }
        }
    }

    /// The form for file systems without devices; `home`, where it is to lie, says that it holds such.
    fn make_attribute_whiteout(
        &self,
        folder: impl AsFd,
        name: &std::ffi::OsStr,
        home: impl AsFd,
    ) -> Answer<()> {
        let root = self.node(super::ROOT)?;
        let root = self.folder_fd(&root, super::UPPER)?;
        for folder in [root.as_fd(), home.as_fd()] {
            match rustix::fs::fsetxattr(folder, "user.overlay.opaque", b"x", XattrFlags::CREATE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        // To be read by its owner: attributes cannot be told otherwise.
        drop(rustix::fs::openat(&folder, name, flags, Mode::RUSR)?);
        let path = below(&folder, name);
        rustix::fs::lsetxattr(path, "user.overlay.whiteout", b"y", XattrFlags::empty())
    }

    /// Puts a whiteout in the place of what `name` of an upper folder is, by one rename; what was there is discarded.
    pub(super) fn replace_by_whiteout(
        &self,
        folder: impl AsFd,
        name: &std::ffi::OsStr,
        kind: u32,
    ) -> Answer<()> {
        let work = self.work()?;
        let made = work.new_name();
        if work.form == Form::Name {
            // It says nothing of its own layer: what is there is seen until it goes.
            mark(&folder, &whiteout_name(name))?;
            if kind != libc::S_IFDIR {
                return rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            }
            rustix::fs::renameat(&folder, name, &work.fd, &made)?;
            work.discard(&made);
            return Ok(());
        }
        self.make_whiteout(&work.fd, &made, &folder)?;
        if kind != libc::S_IFDIR {
            return match rustix::fs::renameat(&work.fd, &made, &folder, name) {
                Ok(()) => Ok(()),
                Err(error) => {
                    work.discard(&made);
                    Err(error)
                }
            };
        }
        let exchange = RenameFlags::EXCHANGE;
        let exchanged = match rustix::fs::renameat_with(&work.fd, &made, &folder, name, exchange) {
            // No exchange on this file system: for an instant there is neither.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let old = work.new_name();
                rustix::fs::renameat(&folder, name, &work.fd, &old)?;
                let put = rustix::fs::renameat(&work.fd, &made, &folder, name);
                work.discard(&old);
                put
            }
            answer => answer,
        };
        work.discard(&made);
        exchanged
    }
}
