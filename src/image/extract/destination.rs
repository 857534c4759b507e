//! Puts a tar stream into an existing tree (`usnea cp`), merging it with existing files.
//!
//! As with layers, no path of the stream is passed to the kernel whole. Each member is a single name in a folder that
//! was opened name by name from the chosen place, without following symbolic links. Unlike there, processes in the tree
//! may change it meanwhile: only descriptors are used, and a file whose kind changed is an error.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{EntryAttributes, NewFileGroup, ProcessOwner, both, set_default_acl};
use super::entry::{EntryKind, TarEntries, TarEntry};
use super::{path, unpack};
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::image::owners::Owners;

/// Destination of the members.
#[derive(Debug)]
pub enum MemberDestination {
    /// In this folder, under their own names.
    In(OwnedFd),
    /// In this folder, with the first name of each member replaced by this name.
    As(OwnedFd, Vec<u8>),
    /// In a folder of this name, in this folder.
    Under(OwnedFd, Vec<u8>),
    /// The only member is the content of this file.
    File(OwnedFd),
}

/// New owner of the files.
#[derive(Clone, Copy, Debug)]
pub enum MemberOwners<'a> {
    /// The owners recorded in the members.
    Recorded(&'a Owners),
    /// Root.
    Root(&'a Owners),
    /// The user, without setuid and attributes: nothing that gives powers over others.
    User,
}

/// Treatment of a folder in place of a file, or a file in place of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherKind {
    /// Report an error.
    #[default]
    Refused,
    /// Remove the existing file or folder.
    Replaced,
}

/// Kind of the first member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMember {
    /// A folder.
    Folder,
    /// Any other kind.
    File,
}

/// Puts the members of `stream` at the destination that `choose` returns for the first member's kind.
pub fn extract(
    stream: impl BufRead,
    owners: MemberOwners<'_>,
    other_kind: OtherKind,
    choose: impl FnOnce(FirstMember) -> Result<MemberDestination>,
) -> Result<()> {
    match extract_if_any(stream, owners, other_kind, choose)? {
        ExtractedMembers::Some => Ok(()),
        ExtractedMembers::Nothing => Err(Error::invalid("the archive is empty")),
    }
}

/// Result of [`extract_if_any`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractedMembers {
    /// Members were put in place.
    Some,
    /// The archive has no members.
    Nothing,
}

/// Same as [`extract`], but an archive without members is no error.
pub fn extract_if_any(
    stream: impl BufRead,
    owners: MemberOwners<'_>,
    other_kind: OtherKind,
    choose: impl FnOnce(FirstMember) -> Result<MemberDestination>,
) -> Result<ExtractedMembers> {
    let mut entries = TarEntries::new(stream);
    let Some(first) = entries.next()? else { return Ok(ExtractedMembers::Nothing) };
    let kind =
        if first.kind == EntryKind::Folder { FirstMember::Folder } else { FirstMember::File };
    let place = choose(kind)?;
    let mut writer = MemberWriter {
        place,
        owners,
        other_kind,
        process: ProcessOwner::now(),
        levels: Vec::new(),
    };
    let mut next = Some(first);
    while let Some(mut entry) = next {
        writer.entry(&mut entry, &mut entries).context(|| path::printable(&entry.name))?;
        next = entries.next()?;
    }
    writer.leave_to(0)?;
    entries.drain()?;
    Ok(ExtractedMembers::Some)
}

/// Attributes of a folder that would disturb the creation of its content, or be changed by it.
struct LastAttributes {
    mode: Mode,
    mtime: rustix::fs::Timespec,
    default_acl: Option<Vec<u8>>,
}

/// An open folder on the current path.
struct PlacedLevel {
    name: Vec<u8>,
    folder: OwnedFd,
    // Mode and time to set after its content is complete, for folders made here.
    last: Option<LastAttributes>,
}

struct MemberWriter<'a> {
    place: MemberDestination,
    owners: MemberOwners<'a>,
    other_kind: OtherKind,
    process: ProcessOwner,
    levels: Vec<PlacedLevel>,
}

impl MemberWriter<'_> {
    /// Components of a member's name below the destination folder; empty: the folder itself.
    fn names<'n>(&'n self, name: &'n [u8]) -> Result<Vec<&'n [u8]>> {
        let mut names = path::components(name)?;
        match &self.place {
            MemberDestination::In(_) | MemberDestination::File(_) => {}
            MemberDestination::Under(_, above) => names.insert(0, above),
            MemberDestination::As(_, first) => match names.first_mut() {
                Some(name) => *name = first,
                None => names.push(first),
            },
        }
        Ok(names)
    }

    fn top(&self) -> BorrowedFd<'_> {
        match &self.place {
            MemberDestination::In(folder)
            | MemberDestination::As(folder, _)
            | MemberDestination::Under(folder, _) => folder.as_fd(),
            MemberDestination::File(file) => file.as_fd(),
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.top(), |level| level.folder.as_fd())
    }

    fn entry<S: BufRead>(
        &mut self,
        entry: &mut TarEntry,
        content: &mut TarEntries<S>,
    ) -> Result<()> {
        if matches!(self.owners, MemberOwners::Root(_)) {
            (entry.uid, entry.gid) = (0, 0);
        }
        if let MemberDestination::File(file) = &self.place {
            if entry.kind != EntryKind::File {
                return Err(Error::invalid("it is to be the content of a file, and is none"));
            }
            return unpack::content(file.as_fd(), entry, content);
        }
        let names: Vec<Vec<u8>> =
            self.names(&entry.name)?.into_iter().map(<[u8]>::to_vec).collect();
        // The destination itself exists already, and stays unchanged.
        let Some((name, folders)) = names.split_last() else { return Ok(()) };
        self.enter(folders)?;
        match entry.kind {
            EntryKind::Folder => self.folder(name, entry),
            _ => self.file(name, entry, content),
        }
    }

    fn attributes<'e>(&self, entry: &'e TarEntry) -> EntryAttributes<'e> {
        match self.owners {
            MemberOwners::Recorded(owners) | MemberOwners::Root(owners) => {
                EntryAttributes::of(entry, owners)
            }
            MemberOwners::User => EntryAttributes::of_a_copy(entry),
        }
    }

    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.levels.len() > depth {
            let Some(level) = self.levels.pop() else { break };
            if let Some(last) = level.last {
                rustix::fs::fchmod(&level.folder, last.mode).context(|| "cannot set its mode")?;
                if let Some(acl) = last.default_acl {
                    set_default_acl(level.folder.as_fd(), &acl)?;
                }
                let times = both(last.mtime);
                rustix::fs::futimens(&level.folder, &times).context(|| "cannot set its time")?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, folders: &[Vec<u8>]) -> Result<()> {
        let common = self.levels.iter().zip(folders).take_while(|(one, two)| one.name == **two);
        self.leave_to(common.count())?;
        for name in folders.iter().skip(self.levels.len()) {
            let folder = match open(self.here(), name) {
                Err(Errno::NOENT) => {
                    let made = rustix::fs::mkdirat(self.here(), name, Mode::from_raw_mode(0o755));
                    made.map_err(super::cannot_make)?;
                    open(self.here(), name)?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Error::invalid(format!(
                        "'{}' is no folder",
                        path::printable(name)
                    )));
                }
                answer => answer?,
            };
            self.levels.push(PlacedLevel { name: name.clone(), folder, last: None });
        }
        Ok(())
    }

    /// Looks up `name`; true for a folder. `None`: no such file.
    fn there(&self, name: &[u8]) -> Result<Option<bool>> {
        match rustix::fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode).is_dir())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remove(&self, name: &[u8], said: &str) -> Result<()> {
        if self.other_kind == OtherKind::Refused {
            return Err(Error::conflict(said).hint(hint::OVERWRITE));
        }
        crate::sys::tree::remove(self.here(), name).context(|| "cannot replace what was there")
    }

    fn folder(&mut self, name: &[u8], entry: &TarEntry) -> Result<()> {
        let mut there = self.there(name)?;
        if there == Some(false) {
            self.remove(name, "a folder cannot be copied over what is none")?;
            there = None;
        }
        let attributes = self.attributes(entry);
        if there.is_none() {
            let closed = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(self.here(), name, closed).map_err(super::cannot_make)?;
        }
        let folder = open(self.here(), name)?;
        let mut last = None;
        if there.is_none() {
            attributes.apply(folder.as_fd(), self.process, NewFileGroup::Folder)?;
            // Writable for us until its content is complete.
            let (mode, writer) = (attributes.mode, attributes.mode | 0o700);
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(writer))?;
            last = Some(LastAttributes {
                mode: Mode::from_raw_mode(mode),
                mtime: entry.mtime,
                default_acl: attributes.default_acl.map(<[u8]>::to_vec),
            });
        }
        self.levels.push(PlacedLevel { name: name.to_vec(), folder, last });
        Ok(())
    }

    fn file<S: BufRead>(
        &mut self,
        name: &[u8],
        entry: &TarEntry,
        content: &mut TarEntries<S>,
    ) -> Result<()> {
        match self.there(name)? {
            Some(true) => self.remove(name, "what is no folder cannot be copied over one")?,
            Some(false) => match rustix::fs::unlinkat(self.here(), name, AtFlags::empty()) {
                // The file is a mount point: its content can be changed, but the file cannot be replaced.
                Err(Errno::BUSY) if entry.kind == EntryKind::File => {
                    let file = open_mounted(self.here(), name)?;
                    return unpack::content(file.as_fd(), entry, content);
                }
                answer => answer.context(|| "cannot replace what was there")?,
            },
            None => {}
        }
        let attributes = self.attributes(entry);
        let (here, mode) = (self.here(), attributes.first_mode());
        match entry.kind {
            EntryKind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let file = rustix::fs::openat(here, name, flags | OFlags::CLOEXEC, mode)
                    .map_err(super::cannot_make)?;
                unpack::content(file.as_fd(), entry, content)?;
                attributes.apply(file.as_fd(), self.process, NewFileGroup::Folder)?;
                return attributes.set_time(file.as_fd());
            }
            EntryKind::HardLink => return self.hard_link(name, entry),
            EntryKind::Symlink => {
                rustix::fs::symlinkat(&entry.link, here, name).map_err(super::cannot_make)?;
            }
            // overlayfs would treat it as a whiteout.
            EntryKind::Character(0, 0) => {
                log::warn!("{}: left out: a device 0:0", path::printable(&entry.name));
                return Ok(());
            }
            kind => {
                let (file_type, device) = match kind {
                    EntryKind::Block(major, minor) => {
                        (FileType::BlockDevice, rustix::fs::makedev(major, minor))
                    }
                    EntryKind::Character(major, minor) => {
                        (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
                    }
                    _ => (FileType::Fifo, 0),
                };
                match rustix::fs::mknodat(here, name, file_type, mode, device) {
                    Err(Errno::PERM) => return leave_out_device(entry),
                    answer => answer.map_err(super::cannot_make)?,
                }
            }
        }
        attributes.apply_at(here, name, entry.kind, self.process, NewFileGroup::Folder)
    }

    /// Creates a hard link to a file that was put here before.
    fn hard_link(&self, name: &[u8], entry: &TarEntry) -> Result<()> {
        let link_phrase = || format!("hard link to {}", path::printable(&entry.link));
        let names = self.names(&entry.link).context(link_phrase)?;
        let Some((old, folders)) = names.split_last() else {
            return Err(Error::new("it is a folder")).context(link_phrase);
        };
        let start = open(self.top(), b".").context(link_phrase)?;
        let folder = folders.iter().try_fold(start, |folder, name| open(folder.as_fd(), name));
        let folder = folder.context(link_phrase)?;
        rustix::fs::linkat(&folder, *old, self.here(), name, AtFlags::empty()).context(link_phrase)
    }
}

/// Opens the regular file mounted on `name` and empties it. NONBLOCK: the file may have become a pipe meanwhile.
fn open_mounted(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty())?;
    if !FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_file() {
        return Err(Error::new("what is mounted there is no file"));
    }
    rustix::fs::ftruncate(&file, 0)?;
    Ok(file)
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Warns that a device is left out: making one takes root.
fn leave_out_device(entry: &TarEntry) -> Result<()> {
    log::warn!("{}: left out: a device takes root", path::printable(&entry.name));
    Ok(())
}
