//! Attributes of files: owner, mode, extended attributes, time; stored on disk in the form of [`Owners`].

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::entry::{EntryKind, TarEntry};
use crate::error::{Context, Result};
use crate::image::owners::{FileType, OVERRIDE_STAT, OverrideStat, Owners};
use crate::layer::acl;
use crate::sys::inode;

/// Owner and umask of this process: the initial attributes of a new file.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessOwner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permissions that open(2) and similar calls withhold.
    pub(super) umask: u32,
}

impl ProcessOwner {
    pub(super) fn now() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            umask: umask().unwrap_or(0o777),
        }
    }
}

/// Reads the umask from /proc: umask(2) would change it for all threads.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// Group that a new file gets at its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewFileGroup {
    /// Group of this process.
    Process,
    /// Group of the folder, which may be another one (setgid, or a mount option).
    Folder,
}

/// Attributes to set on a file of a layer.
pub(super) struct EntryAttributes<'a> {
    /// Owner to set; `None`: a new file's owner stays.
    owner: Option<(u32, u32)>,
    pub(super) mode: u32,
    /// Record of the attributes that are impossible on disk.
    record: Option<OverrideStat>,
    xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// True if the file's ACL is set too; else the mode has the group's own bits, not the ACL's mask.
    keeps_acl: bool,
    /// ACL for new files in the folder, to be set when nothing more is made in it.
    pub(super) default_acl: Option<&'a [u8]>,
    pub(super) mtime: Option<Timespec>,
}

const SPECIAL: u32 = 0o7000;
const SETUID_SETGID: u32 = 0o6000;

/// The mode of a file that every user of the machine may read, and only its owner may write.
fn open_to_all(entry: &TarEntry) -> u32 {
    let is_executable = entry.kind == EntryKind::Folder || entry.mode & 0o111 != 0;
    if is_executable { 0o755 } else { 0o644 }
}

impl<'a> EntryAttributes<'a> {
    /// Attributes for the file of an entry.
    pub(super) fn of(entry: &'a TarEntry, owners: &Owners) -> Self {
        let file_type = match entry.kind {
            EntryKind::File | EntryKind::HardLink => FileType::File,
            EntryKind::Symlink => FileType::Symlink,
            EntryKind::Folder => FileType::Folder,
            EntryKind::Pipe => FileType::Pipe,
            EntryKind::Block(major, minor) => FileType::Block(major, minor),
            EntryKind::Character(major, minor) => FileType::Character(major, minor),
        };
        let acl = acl_of(entry, acl::ACCESS_ACL);
        let is_possible = |acl: &&[u8]| {
            let has_ids = |id| owners.has(id, id);
            matches!(owners, Owners::Mapped(_))
                && matches!(entry.kind, EntryKind::File | EntryKind::Folder)
                && acl::is_possible(acl, has_ids)
        };
        let keeps_acl = acl.as_ref().is_some_and(is_possible);
        let is_folder = |_: &&[u8]| entry.kind == EntryKind::Folder;
        let default_acl = acl_of(entry, acl::DEFAULT_ACL).filter(is_folder).filter(is_possible);
        let entry_mode = match acl {
            Some(acl) if !keeps_acl => acl::mode_without(acl, entry.mode),
            _ => entry.mode,
        };
        let real = OverrideStat {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry_mode,
            file_type: Some(file_type),
        };
        let (owner, mode) = match owners {
            Owners::Mapped(_) if owners.has(entry.uid, entry.gid) => {
                (Some((entry.uid, entry.gid)), entry_mode)
            }
            Owners::Mapped(_) => (Some((0, 0)), entry_mode & !SETUID_SETGID),
            // Without any power the user must be able to remove the folder, so its owner bits are set.
            Owners::Recorded if entry.kind == EntryKind::Folder => {
                (None, (entry_mode & !SETUID_SETGID) | 0o700)
            }
            Owners::Recorded => (None, entry_mode & !SETUID_SETGID),
            Owners::Shared => (None, open_to_all(entry)),
        };
        let on_disk = (owner.unwrap_or((0, 0)), mode);
        let record = (on_disk != ((real.uid, real.gid), real.mode)).then_some(real);
        let (xattrs, mtime) = (&*entry.xattrs, Some(entry.mtime));
        Self { owner, mode, record, xattrs, keeps_acl, default_acl, mtime }
    }

    /// Attributes for a copy owned by the user: the copy gives no powers that the user lacks.
    pub(super) fn of_a_copy(entry: &TarEntry) -> Self {
        let acl = acl_of(entry, acl::ACCESS_ACL);
        let mode = acl.map_or(entry.mode, |acl| acl::mode_without(acl, entry.mode));
        Self {
            owner: None,
            mode: mode & !SETUID_SETGID,
            record: None,
            xattrs: &[],
            keeps_acl: false,
            default_acl: None,
            mtime: Some(entry.mtime),
        }
    }

    /// Attributes for a folder made without an entry.
    pub(super) fn of_missing_folder(owners: &Owners) -> Self {
        let owner = (!owners.are_recorded()).then_some((0, 0));
        Self {
            owner,
            mode: 0o755,
            record: None,
            xattrs: &[],
            keeps_acl: false,
            default_acl: None,
            mtime: None,
        }
    }

    /// Attributes for an empty file in place of a device, with a record of the device.
    pub(super) fn of_stand_in(entry: &'a TarEntry, owners: &Owners) -> Self {
        let mut attributes = Self::of(entry, owners);
        let file_type = match entry.kind {
            EntryKind::Block(major, minor) => FileType::Block(major, minor),
            EntryKind::Character(major, minor) => FileType::Character(major, minor),
            _ => return attributes,
        };
        attributes.record = Some(OverrideStat {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            file_type: Some(file_type),
        });
        attributes
    }

    /// Returns the group of new files in a folder with these attributes.
    pub(super) fn new_group(&self, process: ProcessOwner) -> NewFileGroup {
        match self.mode & 0o2000 != 0 || self.owner.is_some_and(|(_, gid)| gid != process.gid) {
            true => NewFileGroup::Folder,
            false => NewFileGroup::Process,
        }
    }

    /// Mode for creating a file: without setuid and setgid, which a change of owner would clear.
    pub(super) fn first_mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode & !SPECIAL)
    }

    fn is_whole_after_making(&self, process: ProcessOwner) -> bool {
        self.mode & (SPECIAL | process.umask) == 0
    }

    fn other_owner(
        &self,
        process: ProcessOwner,
        new_group: NewFileGroup,
    ) -> Option<(Option<Uid>, Option<Gid>)> {
        let (uid, gid) = self.owner.filter(|owner| {
            new_group == NewFileGroup::Folder || *owner != (process.uid, process.gid)
        })?;
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// Applies the attributes to a file or folder just created with [`EntryAttributes::first_mode`] (folders: any mode). The
    /// order matters: a change of owner clears setuid and security.capability (chown(2)), and any change clears the
    /// time.
    pub(super) fn apply(
        &self,
        file: BorrowedFd<'_>,
        process: ProcessOwner,
        new_group: NewFileGroup,
    ) -> Result<()> {
        if let Some((uid, gid)) = self.other_owner(process, new_group) {
            rustix::fs::fchown(file, uid, gid).context(|| "cannot set its owner")?;
        }
        if new_group == NewFileGroup::Folder || !self.is_whole_after_making(process) {
            self.set_mode(file)?;
        }
        self.set_xattrs(file)
    }

    /// Applies the attributes to a folder that already has others.
    pub(super) fn apply_again(&self, folder: BorrowedFd<'_>, process: ProcessOwner) -> Result<()> {
        if let Some((uid, gid)) = self.other_owner(process, NewFileGroup::Folder) {
            rustix::fs::fchown(folder, uid, gid).context(|| "cannot set its owner")?;
        }
        // Record and ACLs of an earlier entry do not apply to this one.
        for name in [OVERRIDE_STAT.as_bytes(), acl::ACCESS_ACL, acl::DEFAULT_ACL] {
            match rustix::fs::fremovexattr(folder, name) {
                // EPERM: fuse-overlayfs reserves the first for itself.
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => {
                    return Err(errno)
                        .context(|| format!("cannot remove {}", super::path::printable(name)));
                }
            }
        }
        self.set_mode(folder)?;
        self.set_xattrs(folder)
    }

    fn set_mode(&self, file: BorrowedFd<'_>) -> Result<()> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).context(|| "cannot set its mode")
    }

    fn set_xattrs(&self, file: BorrowedFd<'_>) -> Result<()> {
        if self.xattrs.is_empty() && self.record.is_none() {
            return Ok(());
        }
        // Attributes of "user." need write permission (xattr(7)), which even a file's owner may lack.
        let is_closed = self.mode & 0o200 == 0 && !rustix::process::geteuid().is_root();
        if is_closed {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode | 0o200))?;
        }
        for (name, value) in self.xattrs {
            match acl::is_acl(name) {
                true if name == acl::ACCESS_ACL && self.keeps_acl => self.set_acl(file, value)?,
                true => {}
                false => set_xattr(file, name, value)?,
            }
        }
        self.record.as_ref().map_or(Ok(()), |record| set_record(file, record))?;
        if is_closed { self.set_mode(file) } else { Ok(()) }
    }

    /// Sets the file's ACL. If the file system supports none, the mode gets the group's own bits.
    fn set_acl(&self, file: BorrowedFd<'_>, acl: &[u8]) -> Result<()> {
        match rustix::fs::fsetxattr(file, acl::ACCESS_ACL, acl, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => {
                let mode = Mode::from_raw_mode(acl::mode_without(acl, self.mode));
                rustix::fs::fchmod(file, mode).context(|| "cannot set its mode")
            }
            Err(errno) => Err(errno).context(|| "cannot set its ACL"),
        }
    }

    /// Sets the time of a regular file or a folder.
    pub(super) fn set_time(&self, file: BorrowedFd<'_>) -> Result<()> {
        let set = self.mtime.map(|mtime| rustix::fs::futimens(file, &both(mtime)));
        set.unwrap_or(Ok(())).context(|| "cannot set its time")
    }

    /// Applies the attributes to a link, a pipe or a device just created in `folder`. Uses a descriptor of the file
    /// (O_PATH): a container may share the folder and exchange the file. Errors: ESTALE if the file's kind has changed.
    pub(super) fn apply_at(
        &self,
        folder: impl AsFd,
        name: &[u8],
        kind: EntryKind,
        process: ProcessOwner,
        new_group: NewFileGroup,
    ) -> Result<()> {
        let owner = self.other_owner(process, new_group);
        let is_mode_set = kind != EntryKind::Symlink && !self.is_whole_after_making(process);
        if self.record.is_some_and(|record| !self.is_all_of_a_link(&record, kind)) {
            log::debug!("{}: no place for its owner or mode", super::path::printable(name));
        }
        let times = self.mtime.map(both);
        if owner.is_none() && !is_mode_set {
            let set = times.map(|times| {
                rustix::fs::utimensat(&folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            });
            return set.unwrap_or(Ok(())).context(|| "cannot set its time");
        }
        let file = inode::open(folder, name, on_disk(kind)).context(|| "cannot open it")?;
        if let Some((uid, gid)) = owner {
            inode::change_owner(&file, uid, gid).context(|| "cannot set its owner")?;
        }
        if is_mode_set {
            inode::change_mode(&file, self.mode).context(|| "cannot set its mode")?;
        }
        let set = times.map(|times| inode::change_times(&file, &times));
        set.unwrap_or(Ok(())).context(|| "cannot set its time")
    }

    // A symbolic link's mode has no meaning.
    fn is_all_of_a_link(&self, record: &OverrideStat, kind: EntryKind) -> bool {
        kind == EntryKind::Symlink && (record.uid, record.gid) == (0, 0)
    }
}

/// Sets the ACL for new files in a folder. A file system without ACLs has none.
pub(super) fn set_default_acl(folder: BorrowedFd<'_>, acl: &[u8]) -> Result<()> {
    match rustix::fs::fsetxattr(folder, acl::DEFAULT_ACL, acl, XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).context(|| "cannot set its default ACL"),
    }
}

fn acl_of<'a>(entry: &'a TarEntry, name: &[u8]) -> Option<&'a [u8]> {
    entry.xattrs.iter().find(|(found, _)| found == name).map(|(_, acl)| &**acl)
}

/// Uses the same time for access and change.
pub(super) fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

/// Kind of file on disk for an entry that is not replaced by a stand-in.
fn on_disk(kind: EntryKind) -> rustix::fs::FileType {
    use rustix::fs::FileType::{
        BlockDevice, CharacterDevice, Directory, Fifo, RegularFile, Symlink,
    };
    match kind {
        EntryKind::Folder => Directory,
        EntryKind::File | EntryKind::HardLink => RegularFile,
        EntryKind::Symlink => Symlink,
        EntryKind::Pipe => Fifo,
        EntryKind::Block(..) => BlockDevice,
        EntryKind::Character(..) => CharacterDevice,
    }
}

/// True if a layer may set the attribute. A layer must not forge the attributes of overlayfs, fuse-overlayfs and usnea;
/// the others belong to the host.
fn is_allowed(name: &[u8]) -> bool {
    let ours: [&[u8]; 4] =
        [b"user.overlay.", b"user.containers.", b"user.fuseoverlayfs.", b"user.usnea."];
    name == b"security.capability"
        || name.starts_with(b"user.") && !ours.iter().any(|prefix| name.starts_with(prefix))
}

fn set_xattr(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<()> {
    let printable = || super::path::printable(name);
    if !is_allowed(name) {
        log::debug!("left out: extended attribute {}", printable());
        return Ok(());
    }
    let value = if name == b"security.capability" { &*for_any_namespace(value) } else { value };
    match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(()),
        // The file system supports no attributes, or we lack root in its owning namespace, which security.capability
        // needs.
        Err(errno @ (Errno::OPNOTSUPP | Errno::PERM)) => {
            log::debug!("left out: extended attribute {}: {errno}", printable());
            Ok(())
        }
        Err(errno) => Err(errno).context(|| format!("cannot set its attribute {}", printable())),
    }
}

/// Removes the user namespace from capabilities (version 3 of capabilities(7) contains the ID of the namespace's root):
/// the kernel adds ours.
fn for_any_namespace(value: &[u8]) -> Vec<u8> {
    const LENGTH: usize = 20;
    match value {
        [flags, 0, 0, 3, rest @ ..] if rest.len() == LENGTH => {
            let rest = rest.get(..LENGTH - 4).unwrap_or_default();
            [&[*flags, 0, 0, 2], rest].concat()
        }
        _ => value.to_vec(),
    }
}

fn set_record(file: BorrowedFd<'_>, record: &OverrideStat) -> Result<()> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let value = record.to_string();
    match rustix::fs::fsetxattr(file, OVERRIDE_STAT, value.as_bytes(), XattrFlags::empty()) {
        // EPERM: fuse-overlayfs reserves these attributes for itself.
        Err(Errno::OPNOTSUPP | Errno::PERM) => {
            if !SAID.swap(true, Ordering::Relaxed) {
                log::warn!("the store's filesystem keeps no attributes: all files are root's");
            }
            Ok(())
        }
        answer => answer.context(|| format!("cannot set {OVERRIDE_STAT}")),
    }
}
