//! Creates the files of a layer's entries on disk.

use std::collections::HashMap;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, OFlags, makedev};
use rustix::io::Errno;

use super::attributes::{EntryAttributes, ProcessOwner};
use super::entry::{EntryKind, TarEntries, TarEntry};
use super::folders::{ExistingFile, FolderPath};
use super::path;
use super::{ContentSummary, UnpackContent, UnpackRules, stream};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::layer::whiteout::WhiteoutName;

/// Totals of an unpacked layer.
#[derive(Default)]
pub(super) struct UnpackCounts {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) whiteouts: u64,
    pub(super) opaque_root: bool,
    pub(super) has_marks: bool,
    pub(super) digests: HashMap<u64, ContentSummary>,
}

/// Unpacks the stream to its end.
pub(super) fn all(
    stream: impl BufRead,
    into: BorrowedFd<'_>,
    rules: &UnpackRules<'_>,
) -> Result<UnpackCounts> {
    let process = ProcessOwner::now();
    let folders = FolderPath::new(into, rules, process)?;
    let mut unpack = Unpack { folders, process, rules, counts: UnpackCounts::default() };
    let mut entries = TarEntries::new(stream);
    while let Some(entry) = entries.next()? {
        unpack.count(&entry)?;
        unpack.entry(&entry, &mut entries).context(|| path::printable(&entry.name))?;
    }
    unpack.counts.entries = unpack.counts.entries.saturating_add(unpack.folders.made);
    unpack.counts.has_marks = unpack.folders.has_marks;
    unpack.folders.finish()?;
    entries.drain()?;
    Ok(unpack.counts)
}

struct Unpack<'a> {
    folders: FolderPath,
    process: ProcessOwner,
    rules: &'a UnpackRules<'a>,
    counts: UnpackCounts,
}

impl Unpack<'_> {
    fn count(&mut self, entry: &TarEntry) -> Result<()> {
        let limits = self.rules.limits;
        self.counts.entries += 1;
        if self.counts.entries.saturating_add(self.folders.made) > limits.layer_entries {
            let what = format!("has more than {} entries", limits.layer_entries);
            return Err(Error::new(what).hint(
                "if the image is to be trusted, raise layer-entries under [limits] in usnea.toml",
            ));
        }
        // Holes count too: a later copy of the file may fill them.
        self.counts.bytes = self.counts.bytes.saturating_add(entry.size());
        if self.counts.bytes > limits.layer_bytes {
            return Err(stream::too_many_bytes(limits)).context(|| path::printable(&entry.name));
        }
        Ok(())
    }

    fn entry<S: BufRead>(&mut self, entry: &TarEntry, content: &mut TarEntries<S>) -> Result<()> {
        let components = path::components(&entry.name)?;
        if path::is_of_aufs(&components) {
            return Ok(());
        }
        let Some((name, folders)) = components.split_last() else { return self.root(entry) };
        path::check_folders(folders)?;
        self.folders.enter(folders)?;
        match path::mark(name) {
            WhiteoutName::File => self.make(name, folders, entry, content),
            WhiteoutName::Whiteout(removed) => self.whiteout(removed.as_bytes()),
            WhiteoutName::Opaque => {
                self.counts.opaque_root |= self.folders.make_here_opaque()?;
                Ok(())
            }
            WhiteoutName::Aufs => Ok(()),
            WhiteoutName::Nothing => Err(Error::new("a whiteout of no file")),
        }
    }

    fn root(&mut self, entry: &TarEntry) -> Result<()> {
        if entry.kind != EntryKind::Folder {
            return Err(Error::new("the root is a folder"));
        }
        self.folders.root_folder(&EntryAttributes::of(entry, self.rules.owners))
    }

    fn make<S: BufRead>(
        &mut self,
        name: &[u8],
        folders: &[&[u8]],
        entry: &TarEntry,
        content: &mut TarEntries<S>,
    ) -> Result<()> {
        let attributes = EntryAttributes::of(entry, self.rules.owners);
        match entry.kind {
            EntryKind::File => self.file(name, entry, &attributes, content),
            EntryKind::Folder => self.folders.folder(name, &attributes),
            EntryKind::HardLink => self.hard_link(name, folders, entry),
            EntryKind::Symlink => {
                self.replace(name, |here| rustix::fs::symlinkat(&entry.link, here, name))?;
                self.apply_at(name, entry.kind, &attributes)
            }
            EntryKind::Pipe => {
                self.node(name, rustix::fs::FileType::Fifo, 0, &attributes)?;
                self.apply_at(name, entry.kind, &attributes)
            }
            EntryKind::Block(major, minor) => {
                self.device(name, rustix::fs::FileType::BlockDevice, makedev(major, minor), entry)
            }
            // overlayfs would treat it as a whiteout, and it is useless as a device.
            EntryKind::Character(0, 0) => {
                log::debug!("{}: left out: a device 0:0", path::printable(&entry.name));
                Ok(())
            }
            EntryKind::Character(major, minor) => self.device(
                name,
                rustix::fs::FileType::CharacterDevice,
                makedev(major, minor),
                entry,
            ),
        }
    }

    /// Creates a file here, in place of any file of that name.
    fn replace<T>(
        &mut self,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T> {
        self.folders.change();
        self.folders.unmark(name)?;
        let here = self.folders.here();
        match make(here) {
            Err(Errno::EXIST) => {
                crate::sys::tree::remove(here, name).context(|| "cannot replace what was there")?;
                make(here).map_err(super::cannot_make)
            }
            answer => answer.map_err(super::cannot_make),
        }
    }

    fn new_file(&mut self, name: &[u8], attributes: &EntryAttributes<'_>) -> Result<OwnedFd> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = attributes.first_mode();
        self.replace(name, |here| rustix::fs::openat(here, name, flags, mode))
    }

    fn file<S: BufRead>(
        &mut self,
        name: &[u8],
        entry: &TarEntry,
        attributes: &EntryAttributes<'_>,
        content: &mut TarEntries<S>,
    ) -> Result<()> {
        let file = self.new_file(name, attributes)?;
        match self.rules.content {
            UnpackContent::Whole => self::content(file.as_fd(), entry, content)?,
            UnpackContent::Digests => {
                let sketched =
                    ContentSummary { size: entry.size(), digest: digest(entry, content)? };
                self.counts.digests.insert(rustix::fs::fstat(&file)?.st_ino, sketched);
            }
        }
        self.settle(file.as_fd(), attributes)
    }

    fn settle(&self, file: BorrowedFd<'_>, attributes: &EntryAttributes<'_>) -> Result<()> {
        attributes.apply(file, self.process, self.folders.new_group())?;
        attributes.set_time(file)
    }

    fn apply_at(
        &self,
        name: &[u8],
        kind: EntryKind,
        attributes: &EntryAttributes<'_>,
    ) -> Result<()> {
        let new_group = self.folders.new_group();
        attributes.apply_at(self.folders.here(), name, kind, self.process, new_group)
    }

    fn node(
        &mut self,
        name: &[u8],
        file_type: rustix::fs::FileType,
        device: u64,
        attributes: &EntryAttributes<'_>,
    ) -> Result<()> {
        let mode = attributes.first_mode();
        self.replace(name, |here| rustix::fs::mknodat(here, name, file_type, mode, device))
    }

    /// Creates a device node if the kernel permits. Otherwise, and with recorded owners, creates an empty file with a
    /// record of the device.
    fn device(
        &mut self,
        name: &[u8],
        file_type: rustix::fs::FileType,
        device: u64,
        entry: &TarEntry,
    ) -> Result<()> {
        let owners = self.rules.owners;
        if !owners.are_recorded() {
            let attributes = EntryAttributes::of(entry, owners);
            let mode = attributes.first_mode();
            let make = |here: BorrowedFd<'_>| match rustix::fs::mknodat(
                here, name, file_type, mode, device,
            ) {
                Err(Errno::PERM) => Ok(false),
                answer => answer.map(|()| true),
            };
            if self.replace(name, make)? {
                return self.apply_at(name, entry.kind, &attributes);
            }
        }
        let attributes = EntryAttributes::of_stand_in(entry, owners);
        let file = self.new_file(name, &attributes)?;
        self.settle(file.as_fd(), &attributes)
    }

    /// Creates a hard link to a file of this layer. The link entry's own attributes are ignored: the target's apply.
    fn hard_link(&mut self, name: &[u8], folders: &[&[u8]], entry: &TarEntry) -> Result<()> {
        let link_phrase = || format!("hard link to {}", path::printable(&entry.link));
        let target = path::components(&entry.link).context(link_phrase)?;
        let Some((old, old_folders)) = target.split_last() else {
            return Err(Error::new("the root is a folder")).context(link_phrase);
        };
        if (*old, old_folders) == (name, folders) {
            let there = self.folders.at(name)?;
            return is_linkable(there).context(link_phrase);
        }
        let old_folder = match self.folders.is_at(old_folders) {
            true => self.folders.here().try_clone_to_owned()?,
            false => self.folders.elsewhere(old_folders).context(link_phrase)?,
        };
        let there = ExistingFile::at(old_folder.as_fd(), old, self.rules.whiteouts)?;
        is_linkable(there).context(link_phrase)?;
        if is_same(old_folder.as_fd(), old, self.folders.here(), name)? {
            return Ok(());
        }
        self.replace(name, |here| {
            rustix::fs::linkat(&old_folder, *old, here, name, AtFlags::empty())
        })
        .context(link_phrase)
    }

    /// Hides `gone` in the layers below. This layer's own file of that name stays.
    fn whiteout(&mut self, gone: &[u8]) -> Result<()> {
        if self.folders.white_out(gone)? {
            self.counts.whiteouts += 1;
        }
        Ok(())
    }
}

/// True if two names are already the same file: through a symbolic link they may even be the same name.
fn is_same(
    old_folder: BorrowedFd<'_>,
    old: &[u8],
    folder: BorrowedFd<'_>,
    name: &[u8],
) -> Result<bool> {
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    let old = rustix::fs::statat(old_folder, old, no_follow)?;
    match rustix::fs::statat(folder, name, no_follow) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (old.st_dev, old.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_linkable(target: ExistingFile) -> Result<()> {
    match target {
        ExistingFile::File => Ok(()),
        ExistingFile::Folder => Err(Error::new("it is a folder")),
        ExistingFile::Nothing | ExistingFile::Whiteout => Err(Error::new("no file of this layer")),
    }
}

/// Writes the whole content of a file.
pub(super) fn content<S: BufRead>(
    file: BorrowedFd<'_>,
    entry: &TarEntry,
    content: &mut TarEntries<S>,
) -> Result<()> {
    let Some(sparse) = &entry.sparse else { return write(file, entry.stored, content) };
    for region in &sparse.regions {
        rustix::fs::seek(file, rustix::fs::SeekFrom::Start(region.offset))?;
        write(file, region.length, content)?;
    }
    Ok(rustix::fs::ftruncate(file, sparse.size)?)
}

/// Computes the digest of a file's whole content.
fn digest<S: BufRead>(entry: &TarEntry, content: &mut TarEntries<S>) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let Some(sparse) = &entry.sparse else {
        hash(&mut hasher, entry.stored, content)?;
        return Ok(hasher.finish());
    };
    let mut at = 0;
    for region in &sparse.regions {
        hash_hole(&mut hasher, region.offset.saturating_sub(at));
        hash(&mut hasher, region.length, content)?;
        at = region.offset.saturating_add(region.length);
    }
    hash_hole(&mut hasher, sparse.size.saturating_sub(at));
    Ok(hasher.finish())
}

fn hash<S: BufRead>(hasher: &mut Hasher, length: u64, content: &mut TarEntries<S>) -> Result<()> {
    let mut left = length;
    while left > 0 {
        let bytes = content.content()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get(..most).unwrap_or_default();
        hasher.update(bytes);
        let count = bytes.len();
        content.consume(count);
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

fn hash_hole(hasher: &mut Hasher, length: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = length;
    while left > 0 {
        let most = left.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..most as usize]);
        left -= most;
    }
}

/// Writes `length` bytes of the content.
fn write<S: BufRead>(file: BorrowedFd<'_>, length: u64, content: &mut TarEntries<S>) -> Result<()> {
    let mut left = length;
    while left > 0 {
        let bytes = content.content()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get(..most).unwrap_or_default();
        let written = match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => continue,
            Ok(0) => return Err(Error::new("nothing more can be written")),
            answer => answer.map_err(super::cannot_make)?,
        };
        content.consume(written);
        left = left.saturating_sub(written as u64);
    }
    Ok(())
}
