//! Copies a root where layers cannot be stacked: owners, modes, times, links and attributes stay the same.
//!
//! Runs in the base user namespace. Files that base cannot make are left out and logged: device nodes, owners that base
//! has no ID for, attributes of other namespaces. Both trees are walked by descriptor of the folder and last name,
//! never through a symbolic link. A container may hold the target folder already, since a volume can be shared.
//! Therefore a new file is changed by its descriptor, never by its name, which may lead to another file by then.

mod way;

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::ids::{BaseIds, FileIds, Id, IdMaps, Map};
use crate::layer::acl;
use crate::layer::override_stat::{OVERRIDE_STAT, Records};
use crate::layer::whiteout::{WhiteoutName, Whiteouts};
use crate::layer::{Below, DiskFolder, Layer, LayerFolder, unescaped};
use crate::sys::{inode, tree};

use way::{CopiedFolder, FolderCopy, close_far, last_open};

/// Copies the content of the folder `from` into the folder `to`, over existing files. Errors: the first file that could
/// not be copied, by name.
pub fn tree(from: &Path, to: &Path, meaning: CopyRules<'_>) -> Result<()> {
    let open = |path: &Path| {
        rustix::fs::open(path, FOLDER, Mode::empty())
            .context(|| format!("cannot open {}", path.display()))
    };
    let (from, to) = (open(from)?, open(to)?);
    content(&from.into(), to.as_fd(), meaning)
}

fn content(from: &DiskFolder, to: BorrowedFd<'_>, meaning: CopyRules<'_>) -> Result<()> {
    let layer = Layer { root: from.clone(), whiteouts: meaning.whiteouts };
    let mut copy = TreeCopy { top: to, links: HashMap::new(), layer, meaning };
    copy.tree(from)
}

/// Copies as [`tree`] does, with open folders. Gives `to` the owner, mode, times and attributes of `from` too.
pub fn folder(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    content(&from.try_clone_to_owned()?.into(), to, CopyRules::default())?;
    copy_attributes(from, to, CopyRules::default());
    Ok(finish(to, &rustix::fs::fstat(from)?)?)
}

const FOLDER: OFlags = DiskFolder::FLAGS;

/// Meaning of owners and whiteouts on disk.
#[derive(Clone, Copy, Default)]
pub struct CopyRules<'a> {
    /// Place of the records of real owners.
    pub records: Records,
    /// Meaning of names that begin with `.wh.`.
    pub whiteouts: Whiteouts,
    /// Maps of IDs on disk to those of the copy; an unmapped ID stays. `None`: all stay.
    pub shown: Option<&'a IdMaps<FileIds, BaseIds>>,
}

impl CopyRules<'_> {
    /// Returns the attributes that stat(2) will report of the copy of the folder `path`.
    pub fn of(self, path: &Path) -> Result<Stat> {
        let folder = rustix::fs::open(path, FOLDER, Mode::empty())?;
        self.at(folder.as_fd(), c".", rustix::fs::fstat(&folder)?)
    }

    /// Returns the attributes of a file's copy. A regular file that stands for a device stays a regular file.
    fn at(self, folder: BorrowedFd<'_>, name: &CStr, stat: Stat) -> Result<Stat> {
        let kind = stat.st_mode & libc::S_IFMT;
        let mut recorded = match self.records {
            Records::Nowhere => stat,
            records => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                let mut value = vec![0; 256];
                let value = match rustix::fs::lgetxattr(path, OVERRIDE_STAT, &mut value[..]) {
                    Ok(length) => Some(&value[..length]),
                    Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => None,
                    Err(errno) => return Err(errno.into()),
                };
                // Any user in the container can set the attribute: a malformed value is no record.
                records.recorded_stat(stat, value).or_else(|_| records.recorded_stat(stat, None))?
            }
        };
        recorded.st_mode = kind | (recorded.st_mode & 0o7777);
        if let Some(maps) = self.shown {
            recorded.st_uid = shown(&maps.uids, recorded.st_uid);
            recorded.st_gid = shown(&maps.gids, recorded.st_gid);
        }
        Ok(recorded)
    }

    /// Returns the ACL with the IDs of the copy, without those that have none in this user namespace.
    fn acl(self, on_disk: &[u8]) -> Result<Vec<u8>, Errno> {
        let on_disk = acl::without_unmapped(on_disk)?;
        let Some(maps) = self.shown else { return Ok(on_disk) };
        let user = |id| Ok(Some(shown(&maps.uids, id)));
        acl::map_ids(&on_disk, user, |id| Ok(Some(shown(&maps.gids, id))))
    }
}

fn shown(map: &Map<FileIds, BaseIds>, on_disk: u32) -> u32 {
    map.outside_of(Id::new(on_disk)).map_or(on_disk, Id::number)
}

struct TreeCopy<'a> {
    /// Folder that is filled. Other processes may move files in it.
    top: BorrowedFd<'a>,
    /// First copies of files with several names, by device and inode.
    links: HashMap<(u64, u64), FirstCopy>,
    /// Layer that is copied.
    layer: Layer,
    meaning: CopyRules<'a>,
}

/// First name of a copied file, and the copy's inode.
struct FirstCopy {
    path: PathBuf,
    inode: u64,
}

impl TreeCopy<'_> {
    /// Copies the content of `from` in a loop: a tree may be deeper than a stack, and than a process has descriptors.
    fn tree(&mut self, from: &DiskFolder) -> Result<()> {
        let mut path = PathBuf::new();
        let list = |path: &Path| format!("cannot list /{}", path.display());
        let to = Arc::new(self.top.try_clone_to_owned().context(|| list(&path))?);
        let top = CopiedFolder { from: from.clone(), to };
        let mut way = vec![FolderCopy::new(c"", top, None).context(|| list(&path))?];
        while let Some(pair) = last_open(&mut way).context(|| list(&path))? {
            let Some(name) = way.last_mut().and_then(|folder| folder.names.next()) else {
                if let Some(FolderCopy { stat: Some(stat), .. }) = way.pop() {
                    copy_attributes(&pair.from, &pair.to, self.meaning);
                    finish(&pair.to, &stat)
                        .context(|| format!("cannot copy /{}", path.display()))?;
                    path.pop();
                }
                continue;
            };
            path.push(&name);
            match self.entry(&pair, &name, &path)? {
                Some(folder) => {
                    way.push(folder);
                    close_far(&mut way);
                }
                None => {
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// Copies a file. Returns a folder whose content is to be copied.
    fn entry(
        &mut self,
        pair: &CopiedFolder,
        os_name: &OsStr,
        path: &Path,
    ) -> Result<Option<FolderCopy>> {
        let failed = || format!("cannot copy /{}", path.display());
        let (from, to) = (&pair.from, pair.to.as_fd());
        let name = CString::new(os_name.as_bytes()).map_err(io::Error::from).context(failed)?;
        let name = name.as_c_str();
        let stat = from.stat(os_name).context(failed)?;
        if self.layer.is_whiteout(from, os_name, &stat).context(failed)? {
            return remove(to, name).map(|()| None).context(failed);
        }
        if self.layer.is_mark(os_name) {
            return remove_marked(from, to, os_name).map(|()| None).context(failed);
        }
        let on_disk = FileType::from_raw_mode(stat.st_mode);
        let stat = self.meaning.at(from.as_fd(), name, stat).context(failed)?;
        let made = match on_disk {
            FileType::Directory => return self.subfolder(pair, name, stat).context(failed),
            FileType::RegularFile => {
                remove(to, name).context(failed)?;
                if self.link_if_known(&stat, to, name).context(failed)? {
                    return Ok(None);
                }
                let file = copy_file(from.as_fd(), to, name, self.meaning).context(failed)?;
                if stat.st_nlink > 1 {
                    let inode = rustix::fs::fstat(&file).context(failed)?.st_ino;
                    let first = FirstCopy { path: path.to_owned(), inode };
                    self.links.insert((stat.st_dev, stat.st_ino), first);
                }
                file
            }
            FileType::Symlink | FileType::Fifo => {
                remove(to, name).context(failed)?;
                make_special(from.as_fd(), to, name, on_disk).context(failed)?
            }
            kind => {
                remove(to, name).context(failed)?;
                log::info!("not copied: {} ({kind:?})", path.display());
                return Ok(None);
            }
        };
        finish(&made, &stat).context(failed)?;
        Ok(None)
    }

    /// Makes a folder. Returns the folder, to be filled; `None`: it stays empty.
    fn subfolder(
        &self,
        pair: &CopiedFolder,
        name: &CStr,
        stat: Stat,
    ) -> io::Result<Option<FolderCopy>> {
        let (from, to) = (&pair.from, &pair.to);
        let source = open_folder(from.as_fd(), name)?;
        let below = match &source {
            Some(source) => self.layer.below(from, OsStr::from_bytes(name.to_bytes()), source)?,
            None => Below::Seen,
        };
        // An existing file comes from a layer below: only a folder that shows those below leaves another in place.
        let there = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| {
            below == Below::Hidden || !FileType::from_raw_mode(there.st_mode).is_dir()
        }) {
            remove(to.as_fd(), name)?;
        }
        match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            answer => answer?,
        }
        let target = rustix::fs::openat(to, name, FOLDER, Mode::empty())?;
        // A lower layer's folder: new files would inherit its default ACL (acl(5)).
        let _ = rustix::fs::fremovexattr(&target, acl::DEFAULT_ACL);
        match source {
            Some(from) => {
                let pair = CopiedFolder { from, to: Arc::new(target) };
                FolderCopy::new(name, pair, Some(stat)).map(Some)
            }
            // Mounts in the root are not part of it: an overlay does not show them either.
            None => Ok(finish(&target, &stat).map(|()| None)?),
        }
    }

    /// Makes another name for the copy of a file that was copied under another name before. False: no such copy, or
    /// another process has put another file in its place.
    fn link_if_known(&self, stat: &Stat, to: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else { return Ok(false) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let Ok(copy) = rustix::fs::openat2(self.top, &first.path, flags, Mode::empty(), resolve)
        else {
            return Ok(false);
        };
        if rustix::fs::fstat(&copy)?.st_ino != first.inode {
            return Ok(false);
        }
        inode::link(&copy, to, name)?;
        Ok(true)
    }
}

/// Makes a symbolic link or a pipe, and opens it (O_PATH).
fn make_special(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
) -> io::Result<OwnedFd> {
    match kind {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&*target, to, name)?;
        }
        _ => rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(0o600), 0)?,
    }
    Ok(inode::open(to, name, kind)?)
}

/// Removes the file that the name `mark` declares removed. An opaque folder was emptied before it was filled.
fn remove_marked(from: &DiskFolder, to: BorrowedFd<'_>, mark: &OsStr) -> io::Result<()> {
    match WhiteoutName::parse(mark) {
        // A file of the same layer was made after the whiteout, and replaces those below itself.
        WhiteoutName::Whiteout(removed) if from.stat(removed).is_err() => {
            remove(to, &CString::new(removed.as_bytes())?)
        }
        _ => Ok(()),
    }
}

/// Removes a file, or a folder with all its content; a missing one is no error.
fn remove(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match tree::remove(folder, name.to_bytes()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a folder. `None`: a mount covers it.
fn open_folder(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<DiskFolder>> {
    match rustix::fs::openat2(folder, name, FOLDER, Mode::empty(), ResolveFlags::NO_XDEV) {
        Err(Errno::XDEV) => Ok(None),
        answer => Ok(Some(answer?.into())),
    }
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    meaning: CopyRules<'_>,
) -> io::Result<OwnedFd> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut source =
        File::from(rustix::fs::openat(from, name, flags | OFlags::RDONLY, Mode::empty())?);
    if !source.metadata()?.is_file() {
        return Err(Errno::STALE.into());
    }
    let make = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut target = File::from(rustix::fs::openat(to, name, make, Mode::from_raw_mode(0o600))?);
    // ioctl shares blocks where the file system can; std copies inside the kernel where possible.
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut source, &mut target)?;
    }
    copy_attributes(&source, &target, meaning);
    Ok(target.into())
}

fn copy_attributes(from: impl AsFd, to: impl AsFd, meaning: CopyRules<'_>) {
    let mut names = vec![0u8; 65536];
    let Ok(length) = rustix::fs::flistxattr(&from, &mut names[..]) else {
        return;
    };
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let mut value = vec![0u8; 65536];
        let copied = rustix::fs::fgetxattr(&from, name, &mut value[..]).and_then(|length| {
            let value = &value[..length];
            let value = match acl::is_acl(name.to_bytes()) {
                true => &*meaning.acl(value)?,
                false => value,
            };
            rustix::fs::fsetxattr(&to, name, value, XattrFlags::empty())
        });
        if unescaped(name.to_bytes()).as_deref() != Some(name.to_bytes()) {
            // These attributes describe layers, and the copy has none.
            let _ = rustix::fs::fremovexattr(&to, name);
        } else if let Err(error) = copied {
            log::debug!("attribute {} not copied: {error}", name.to_string_lossy());
        }
    }
}

/// Sets owner, mode, times: in this order, since chown(2) clears setuid bits and each change moves the times.
fn finish(made: impl AsFd, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    if let Err(error) = inode::change_owner(&made, Some(uid), Some(gid)) {
        log::debug!("owner {uid:?}:{gid:?} not copied: {error}");
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        inode::change_mode(&made, stat.st_mode & 0o7777)?;
    }
    inode::change_times(&made, &times(stat))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec: i64, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_copy_has_the_same_files_modes_links_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("a/file"), "content").unwrap();
        std::fs::set_permissions(from.join("a/file"), std::fs::Permissions::from_mode(0o640))
            .unwrap();
        std::fs::hard_link(from.join("a/file"), from.join("a/b/same")).unwrap();
        symlink("/nowhere/../x", from.join("link")).unwrap();
        tree(&from, &to, CopyRules::default()).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("a/b/same")).unwrap(), "content");
        let meta = |path: &str| to.join(path).symlink_metadata().unwrap();
        assert_eq!(meta("a/file").mode() & 0o7777, 0o640);
        assert_eq!(meta("a/file").ino(), meta("a/b/same").ino());
        assert_eq!(
            meta("a/file").mtime_nsec(),
            from.join("a/file").metadata().unwrap().mtime_nsec()
        );
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere/../x"));
    }

    #[test]
    fn a_layer_over_another_removes_what_it_whites_out_and_hides() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["low/gone/deep", "low/opaque", "low/folder", "high/opaque", "to"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in
            ["low/gone/deep/x", "low/opaque/old", "low/folder/x", "low/file", "high/opaque/new"]
        {
            std::fs::write(path(name), name).unwrap();
        }
        std::fs::write(path("high/folder"), "a file now").unwrap();
        std::fs::create_dir(path("high/file")).unwrap();
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, path("high/gone"), kind, Mode::empty(), 0).unwrap();
        rustix::fs::setxattr(path("high/opaque"), "user.overlay.opaque", b"y", XattrFlags::empty())
            .unwrap();
        tree(&path("low"), &path("to"), CopyRules::default()).unwrap();
        tree(&path("high"), &path("to"), CopyRules::default()).unwrap();
        assert!(path("to/gone").symlink_metadata().is_err());
        assert!(path("to/opaque/old").symlink_metadata().is_err());
        assert_eq!(std::fs::read_to_string(path("to/opaque/new")).unwrap(), "high/opaque/new");
        assert_eq!(std::fs::read_to_string(path("to/folder")).unwrap(), "a file now");
        assert!(path("to/file").is_dir());
        let mut value = [0u8; 1];
        let opaque = rustix::fs::getxattr(path("to/opaque"), "user.overlay.opaque", &mut value);
        assert!(opaque.is_err());
    }

    #[test]
    fn whiteouts_by_name_remove_what_is_below_and_no_file_of_their_own_layer() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["low/again", "low/new", "low/opaque", "high/again", "high/opaque", "to"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["low/gone", "low/file", "low/again/old", "low/opaque/old"] {
            std::fs::write(path(name), "old").unwrap();
        }
        for name in ["high/file", "high/again/new", "high/opaque/new"] {
            std::fs::write(path(name), "new").unwrap();
        }
        for name in [".wh.gone", ".wh.file", ".wh.again", "opaque/.wh..wh..opq", ".wh..wh.plnk"] {
            std::fs::write(path("high").join(name), "").unwrap();
        }
        let named = CopyRules { whiteouts: Whiteouts::Names, ..CopyRules::default() };
        tree(&path("low"), &path("to"), CopyRules::default()).unwrap();
        tree(&path("high"), &path("to"), named).unwrap();
        let mut names = crate::sys::inode::names(std::fs::File::open(path("to")).unwrap()).unwrap();
        names.sort();
        assert_eq!(names, ["again", "file", "new", "opaque"]);
        assert_eq!(std::fs::read_to_string(path("to/file")).unwrap(), "new");
        for name in ["again", "opaque"] {
            assert!(!path("to").join(name).join("old").exists(), "{name}");
            assert!(path("to").join(name).join("new").exists(), "{name}");
        }
    }

    #[test]
    fn attributes_of_either_prefix_hide_what_is_below() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["low/folder", "high/folder", "to"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["low/folder/old", "low/gone", "high/gone"] {
            std::fs::write(path(name), "").unwrap();
        }
        let set = |name: &str, attribute: &str, value: &[u8]| {
            rustix::fs::setxattr(path(name), attribute, value, XattrFlags::empty())
        };
        set("high", "user.overlay.opaque", b"x").unwrap();
        set("high/gone", "user.overlay.whiteout", b"").unwrap();
        let is_privileged = set("high/folder", "trusted.overlay.opaque", b"y").is_ok();
        tree(&path("low"), &path("to"), CopyRules::default()).unwrap();
        tree(&path("high"), &path("to"), CopyRules::default()).unwrap();
        assert!(!path("to/gone").exists());
        assert_eq!(path("to/folder/old").exists(), !is_privileged);
    }

    /// Runs `act` while a thread repeats `attack`, as a process with the folder open could.
    fn while_attacked(act: impl FnOnce(), attack: impl Fn() + Sync) {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    attack();
                }
            });
            act();
            is_over.store(true, Ordering::Relaxed);
        });
    }

    /// Makes folders `from`, `to` and `outside`, and in `outside` a file that no other user may read.
    fn with_a_secret() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["from", "to", "outside"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let secret = folder.path().join("outside/file");
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        (folder, secret)
    }

    // As CVE-2018-15664 and CVE-2019-19921: two containers, one volume.
    #[test]
    fn a_file_that_is_exchanged_for_a_link_while_it_is_copied_changes_nothing_else() {
        let (folder, secret) = with_a_secret();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(from.join("big"), vec![7; 24 << 20]).unwrap();
        std::fs::set_permissions(from.join("big"), PermissionsExt::from_mode(0o777)).unwrap();
        let exchange = || {
            let is_new = !to.join("taken").exists();
            if is_new && std::fs::rename(to.join("big"), to.join("taken")).is_ok() {
                symlink(&secret, to.join("big")).unwrap();
            }
        };
        while_attacked(|| tree(&from, &to, CopyRules::default()).unwrap(), exchange);
        assert!(to.join("big").is_symlink(), "it was not exchanged");
        assert_eq!(secret.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(to.join("taken").metadata().unwrap().mode() & 0o777, 0o777);
    }

    #[test]
    fn a_folder_that_is_exchanged_for_a_link_brings_no_other_file_in() {
        let (folder, secret) = with_a_secret();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let names: Vec<String> = (0..12).map(|number| format!("folder-{number}")).collect();
        for name in &names {
            std::fs::create_dir(from.join(name)).unwrap();
            std::fs::write(from.join(name).join("slow"), vec![7; 2 << 20]).unwrap();
            let first = from.join("folder-0/file");
            match name.as_str() {
                "folder-0" => std::fs::write(first, "shared").unwrap(),
                _ => std::fs::hard_link(first, from.join(name).join("file")).unwrap(),
            }
        }
        let exchange = || {
            for name in names.iter().filter(|name| to.join(name).join("file").is_file()) {
                if !to.join(name).is_symlink() {
                    std::fs::rename(to.join(name), to.join(format!("taken-{name}"))).unwrap();
                    symlink(folder.path().join("outside"), to.join(name)).unwrap();
                }
            }
        };
        while_attacked(|| drop(tree(&from, &to, CopyRules::default())), exchange);
        assert!(names.iter().any(|name| to.join(name).is_symlink()), "none was exchanged");
        assert_eq!(secret.metadata().unwrap().nlink(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_copied_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::create_dir_all(from.join("sub")).unwrap();
        // Not even root can make files in this folder.
        let error =
            tree(&from, Path::new("/proc/sys"), CopyRules::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot copy /sub: "), "{error}");
    }
}
