//! The path from the root to the current folder: opened name by name, and left open for the next entries.
//!
//! A folder's time changes with every name created in it. So its time is restored when the path leaves the folder, and
//! nothing must be remembered until the end of the layer.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec};
use rustix::io::Errno;

use super::attributes::{EntryAttributes, NewFileGroup, ProcessOwner, both, set_default_acl};
use super::{UnpackRules, path};
use crate::error::{Context, Error, Result};
use crate::layer::acl::{ACCESS_ACL, DEFAULT_ACL};
use crate::layer::whiteout::{self, Whiteouts};
use crate::layer::{MarkAttributes, read_value};

/// Most open folders: deeper ones displace the upper ones. Several layers are unpacked at once.
const MOST_OPEN: usize = 32;

/// An open folder.
struct PathLevel {
    folder: OwnedFd,
    /// Time to restore when the path leaves the folder; `None`: no restoring.
    mtime: Option<Timespec>,
    is_changed: bool,
    /// Group of new files.
    new_group: NewFileGroup,
    /// Default ACL to set when the path leaves the folder: until then, new files would inherit it (acl(5)).
    default_acl: Option<Vec<u8>>,
}

impl PathLevel {
    fn leave(self) -> Result<()> {
        if let Some(acl) = &self.default_acl {
            set_default_acl(self.folder.as_fd(), acl)?;
        }
        match self.mtime.filter(|_| self.is_changed) {
            Some(mtime) => Ok(rustix::fs::futimens(&self.folder, &both(mtime))?),
            None => Ok(()),
        }
    }
}

/// Opens the folder `name` in `parent`. Errors: ENOTDIR or ELOOP if it is not a folder.
fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// Result of the lookup of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExistingFile {
    /// No file.
    Nothing,
    /// A whiteout.
    Whiteout,
    /// A folder of this layer.
    Folder,
    /// Another file of this layer.
    File,
}

impl ExistingFile {
    /// Looks up `name` in `folder`. A whiteout in the form of a name is no file of that name.
    pub(super) fn at(folder: BorrowedFd<'_>, name: &[u8], form: Whiteouts) -> Result<Self> {
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Self::Folder,
                _ if whiteout::is_device(&stat) => Self::Whiteout,
                // An archive cannot set this attribute.
                _ if form == Whiteouts::Attributes
                    && MarkAttributes::OWN.is_whiteout(folder, OsStr::from_bytes(name), &stat) =>
                {
                    Self::Whiteout
                }
                _ => Self::File,
            }),
            Err(Errno::NOENT) => Ok(Self::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The path to the current folder.
pub(super) struct FolderPath {
    root: PathLevel,
    /// Names of the folders on the path.
    names: Vec<Vec<u8>>,
    /// The last folders of the path, open.
    levels: VecDeque<PathLevel>,
    process: ProcessOwner,
    /// Attributes of folders made without an entry.
    missing: EntryAttributes<'static>,
    /// Number of such folders.
    pub(super) made: u64,
    whiteouts: Whiteouts,
    /// True if any folder has a default ACL.
    has_default_acls: bool,
    /// True if any whiteout or opaque mark was written.
    pub(super) has_marks: bool,
}

impl FolderPath {
    /// Starts at the empty root; removes attributes that the root inherited from its parent folder.
    pub(super) fn new(
        into: BorrowedFd<'_>,
        rules: &UnpackRules<'_>,
        process: ProcessOwner,
    ) -> Result<Self> {
        let root = open(into, b".").context(|| "cannot open its folder")?;
        // Default ACLs are inherited, and would change the modes of all files (acl(5)).
        for acl in [DEFAULT_ACL, ACCESS_ACL] {
            match rustix::fs::fremovexattr(&root, acl) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => {
                    return Err(errno)
                        .context(|| format!("cannot remove {}", path::printable(acl)));
                }
            }
        }
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?;
        let root = level(root, process)?;
        Ok(Self {
            root,
            names: Vec::new(),
            levels: VecDeque::new(),
            process,
            missing: EntryAttributes::of_missing_folder(rules.owners),
            made: 0,
            whiteouts: rules.whiteouts,
            has_default_acls: false,
            has_marks: false,
        })
    }

    fn top(&mut self) -> &mut PathLevel {
        self.levels.back_mut().unwrap_or(&mut self.root)
    }

    /// The current folder.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.levels.back().unwrap_or(&self.root).folder.as_fd()
    }

    /// The root folder.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.folder.as_fd()
    }

    /// Returns the group of new files here.
    pub(super) fn new_group(&self) -> NewFileGroup {
        self.levels.back().unwrap_or(&self.root).new_group
    }

    /// True if the current folder has this path.
    pub(super) fn is_at(&self, folders: &[&[u8]]) -> bool {
        self.names.iter().map(Vec::as_slice).eq(folders.iter().copied())
    }

    /// Looks up `name` in the current folder.
    pub(super) fn at(&self, name: &[u8]) -> Result<ExistingFile> {
        ExistingFile::at(self.here(), name, self.whiteouts)
    }

    /// Notes that a name is made or removed in the current folder.
    pub(super) fn change(&mut self) {
        self.top().is_changed = true;
    }

    /// Enters a folder, creating missing ones with mode 0755 and owner root. Symbolic links of this layer are followed
    /// with the layer's root as the root directory: no link leads out of it. Errors: a file on the path is not a
    /// folder.
    pub(super) fn enter(&mut self, folders: &[&[u8]]) -> Result<()> {
        let common = self.names.iter().zip(folders).take_while(|(one, two)| one == two).count();
        self.leave_to(common)?;
        let rest = folders.get(self.names.len()..).unwrap_or_default();
        let mut path_names: VecDeque<Vec<u8>> = rest.iter().map(|name| name.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = path_names.pop_front() {
            if name == b".." {
                self.go_up(&mut path_names)?;
                continue;
            }
            let Some(target) = self.descend(&name)? else { continue };
            follow(&target, &mut path_names, &mut links).context(|| path::printable(&name))?;
            if target.starts_with(b"/") {
                self.leave_to(0)?;
            }
        }
        Ok(())
    }

    /// Goes one folder up; the root is its own parent. If the upper folders are closed, their names are queued to be
    /// opened again.
    fn go_up(&mut self, path_names: &mut VecDeque<Vec<u8>>) -> Result<()> {
        let mut above = self.names.clone();
        above.pop();
        self.leave_to(above.len())?;
        for name in above.into_iter().skip(self.names.len()).rev() {
            path_names.push_front(name);
        }
        Ok(())
    }

    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.names.len() > depth {
            self.names.pop();
            self.levels.pop_back().map_or(Ok(()), PathLevel::leave)?;
        }
        if self.levels.is_empty() {
            // The upper folders are closed already: start from the root again.
            self.names.clear();
        }
        Ok(())
    }

    /// Enters the folder `name`, created if missing. Returns the target if the name is a symbolic link.
    fn descend(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        path::check_depth(self.names.len())?;
        let folder = match open(self.here(), name) {
            Err(Errno::NOENT) => self.make_missing(name)?,
            Err(Errno::NOTDIR | Errno::LOOP) => match self.at(name)? {
                ExistingFile::Whiteout => self.make_missing(name)?,
                _ => return link(self.here(), name).map(Some),
            },
            answer => answer?,
        };
        let mut level = level(folder, self.process)?;
        if self.has_default_acls {
            level.default_acl = take_default_acl(level.folder.as_fd())?;
        }
        self.push(name, level)?;
        Ok(None)
    }

    fn make_missing(&mut self, name: &[u8]) -> Result<OwnedFd> {
        self.made += 1;
        let (folder, _) = self.make(name, self.missing.first_mode())?;
        self.missing.apply(folder.as_fd(), self.process, self.new_group())?;
        Ok(folder)
    }

    /// Creates a folder here, or opens an existing one (true). An existing file is removed. A folder in place of a
    /// whiteout becomes opaque: the whiteout hides the lower layers' content, and the folder is this layer's (image
    /// spec, layer.md).
    fn make(&mut self, name: &[u8], mode: Mode) -> Result<(OwnedFd, bool)> {
        self.change();
        let was_marked = self.unmark(name)?;
        let here = self.here();
        let make = || rustix::fs::mkdirat(here, name, mode);
        let mut found = ExistingFile::Nothing;
        match make() {
            Err(Errno::EXIST) => {
                found = ExistingFile::at(here, name, self.whiteouts)?;
                if found != ExistingFile::Folder {
                    rustix::fs::unlinkat(here, name, AtFlags::empty())?;
                    make().map_err(super::cannot_make)?;
                }
            }
            answer => answer.map_err(super::cannot_make)?,
        }
        let folder = open(here, name)?;
        if found == ExistingFile::Whiteout || was_marked {
            self.hide_below(folder.as_fd())?;
        }
        Ok((folder, found == ExistingFile::Folder))
    }

    /// Creates the folder `name` with the entry's attributes, or sets them on the existing one. Enters the folder, as
    /// the next entries mostly belong there.
    pub(super) fn folder(&mut self, name: &[u8], attributes: &EntryAttributes<'_>) -> Result<()> {
        let (folder, was_there) = self.make(name, attributes.first_mode())?;
        let new_group = self.new_group();
        if was_there {
            attributes.apply_again(folder.as_fd(), self.process)?;
        } else {
            attributes.apply(folder.as_fd(), self.process, new_group)?;
        }
        let new_group = attributes.new_group(self.process);
        let default_acl = attributes.default_acl.map(<[u8]>::to_vec);
        self.has_default_acls |= default_acl.is_some();
        let mtime = attributes.mtime;
        self.push(name, PathLevel { folder, mtime, is_changed: true, new_group, default_acl })
    }

    /// Sets the entry's attributes on the root.
    pub(super) fn root_folder(&mut self, attributes: &EntryAttributes<'_>) -> Result<()> {
        self.leave_to(0)?;
        attributes.apply_again(self.root(), self.process)?;
        self.root.mtime = attributes.mtime;
        self.root.is_changed = true;
        self.root.new_group = attributes.new_group(self.process);
        self.root.default_acl = attributes.default_acl.map(<[u8]>::to_vec);
        Ok(())
    }

    fn push(&mut self, name: &[u8], level: PathLevel) -> Result<()> {
        self.names.push(name.to_vec());
        self.levels.push_back(level);
        if self.levels.len() > MOST_OPEN {
            self.levels.pop_front().map_or(Ok(()), PathLevel::leave)?;
        }
        Ok(())
    }

    /// Hides a name of the current folder in the layers below. This layer's own file stays; its folder becomes opaque.
    /// True if a whiteout was made.
    pub(super) fn white_out(&mut self, name: &[u8]) -> Result<bool> {
        self.change();
        match self.at(name)? {
            ExistingFile::Folder => {
                let folder = open(self.here(), name)?;
                // Its time is already that of its entry, and is not restored later.
                let stat = rustix::fs::fstat(&folder)?;
                self.hide_below(folder.as_fd())?;
                rustix::fs::futimens(&folder, &both(mtime(&stat)))?;
                Ok(false)
            }
            ExistingFile::File | ExistingFile::Whiteout => Ok(false),
            ExistingFile::Nothing => {
                match self.whiteouts {
                    Whiteouts::Names => self.mark(self.here(), &whiteout_of(name)),
                    Whiteouts::Attributes => {
                        let (form, here) = (MarkAttributes::OWN, self.here());
                        form.declare(self.root())
                            .and_then(|()| form.declare(here))
                            .and_then(|()| form.make_whiteout(here, OsStr::from_bytes(name)))
                    }
                    Whiteouts::Overlay => {
                        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
                        rustix::fs::mknodat(self.here(), name, kind, mode, 0)
                    }
                }
                .context(|| "cannot make a whiteout")
                .hint(|| super::ANOTHER_FILESYSTEM)?;
                self.has_marks = true;
                Ok(true)
            }
        }
    }

    /// Removes the whiteout file of `name` before a file of that name is created; true if one existed.
    pub(super) fn unmark(&self, name: &[u8]) -> Result<bool> {
        if !self.has_marks || self.whiteouts != Whiteouts::Names {
            return Ok(false);
        }
        match rustix::fs::unlinkat(self.here(), whiteout_of(name), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Creates an empty whiteout file.
    fn mark(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    }

    /// Makes the current folder opaque. True for the root, for which overlayfs ignores the mark.
    pub(super) fn make_here_opaque(&mut self) -> Result<bool> {
        self.change();
        let here = self.here().try_clone_to_owned()?;
        self.hide_below(here.as_fd())?;
        Ok(self.names.is_empty())
    }

    fn hide_below(&mut self, folder: BorrowedFd<'_>) -> Result<()> {
        match self.whiteouts {
            Whiteouts::Names => self.mark(folder, whiteout::OPAQUE_NAME.as_ref()),
            Whiteouts::Overlay => MarkAttributes::KERNEL.set_opaque(folder, ".".as_ref()),
            Whiteouts::Attributes => MarkAttributes::OWN.set_opaque(folder, ".".as_ref()),
        }
        .context(|| "cannot make a folder opaque")
        .hint(|| super::ANOTHER_FILESYSTEM)?;
        self.has_marks = true;
        Ok(())
    }

    /// Opens another folder by its path from the root, without leaving the current one. Links are followed as in
    /// [`FolderPath::enter`], and no folder is created.
    pub(super) fn elsewhere(&self, folders: &[&[u8]]) -> Result<OwnedFd> {
        let mut path_names: VecDeque<Vec<u8>> = folders.iter().map(|name| name.to_vec()).collect();
        // Names on the path that are folders, not links.
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut here = self.below(&names)?;
        let mut links = 0;
        while let Some(name) = path_names.pop_front() {
            if name == b".." {
                names.pop();
                here = self.below(&names)?;
                continue;
            }
            path::check_depth(names.len())?;
            match open(here.as_fd(), &name) {
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = link(here.as_fd(), &name)?;
                    follow(&target, &mut path_names, &mut links)
                        .context(|| path::printable(&name))?;
                    if target.starts_with(b"/") {
                        names.clear();
                        here = self.below(&names)?;
                    }
                }
                folder => {
                    here = folder?;
                    names.push(name);
                }
            }
        }
        Ok(here)
    }

    /// Opens a folder by its names from the root; no name may be a link.
    fn below(&self, names: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        let start = open(self.root(), b".")?;
        names.iter().try_fold(start, |folder, name| open(folder.as_fd(), name))
    }

    /// Leaves all folders and restores their times.
    pub(super) fn finish(mut self) -> Result<()> {
        self.leave_to(0)?;
        self.root.leave()
    }
}

/// Most symbolic links on one path (the kernel's limit, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Puts the target of a symbolic link before the rest of the path. Errors: too many links.
fn follow(target: &[u8], path_names: &mut VecDeque<Vec<u8>>, links: &mut usize) -> Result<()> {
    *links += 1;
    if *links > MOST_LINKS {
        return Err(Error::new("too many symbolic links on the way"));
    }
    for name in path::path_names(target)?.into_iter().rev() {
        path_names.push_front(name.to_vec());
    }
    Ok(())
}

/// The target of the symbolic link `name`. Errors: the file is neither a link nor a folder.
fn link(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    match rustix::fs::readlinkat(folder, name, Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(Errno::INVAL) => {
            Err(Error::new(format!("'{}' on the way is no folder", path::printable(name))))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Returns the name of the whiteout of `name`.
fn whiteout_of(name: &[u8]) -> OsString {
    whiteout::whiteout_name(OsStr::from_bytes(name))
}

/// Removes the default ACL of a folder in which files will be made, and returns it.
fn take_default_acl(folder: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
    match read_value(|room| rustix::fs::fgetxattr(folder, DEFAULT_ACL, room)) {
        Ok(acl) => {
            rustix::fs::fremovexattr(folder, DEFAULT_ACL)?;
            Ok(Some(acl))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn mtime(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ }
}

fn level(folder: OwnedFd, process: ProcessOwner) -> Result<PathLevel> {
    let stat = rustix::fs::fstat(&folder)?;
    let new_group = match stat.st_mode & 0o2000 != 0 || stat.st_gid != process.gid {
        true => NewFileGroup::Folder,
        false => NewFileGroup::Process,
    };
    let mtime = mtime(&stat);
    Ok(PathLevel { folder, mtime: Some(mtime), is_changed: false, new_group, default_acl: None })
}
