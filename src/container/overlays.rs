//! Overlays of the user (`--overlay`): folders and images above the layers of an image, and the locks of the folders.
//!
//! A folder has apptainer's layout: `upper` with the changed files, and `work` for the storage driver. A container that
//! writes has the exclusive lock on the folder, containers that read share it. The locks end with their processes.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine;
use crate::error::{Context, Error, Result, Setting};
use crate::files::{self, Lock, LockAttempt};
use crate::hint;
use crate::image::sif;
use crate::layer::LowerLayer;
use crate::layer::squashfs::{CacheLimits, HeldFile, ImageFile, OpenImage, SquashfsImage};
use crate::layer::whiteout::Whiteouts;
use crate::spec::{OverlayAccess, OverlayFlag, UPPER, WORK};

/// Overlays of a container.
#[derive(Debug, Default)]
pub(super) struct Overlays {
    /// Values of the flags, with absolute paths.
    pub(super) flags: Vec<OverlayFlag>,
    /// Read-only layers, the topmost first.
    pub(super) lowers: Vec<LowerLayer>,
    /// Folder with the writable layer; `None`: the container has its own.
    pub(super) written: Option<PathBuf>,
    /// Form of the whiteouts in the folders.
    pub(super) whiteouts: Whiteouts,
    locks: Vec<File>,
}

/// Use of overlays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverlayUse {
    /// Description: nothing is made or locked.
    Described,
    /// Creation of a container that does not start: the folders are made.
    Created,
    /// Start of a container: the folders are made and locked.
    Started,
}

impl Overlays {
    /// Opens the overlays of `flags`; the last one is the topmost. Errors: two folders to write to; a folder that
    /// another container uses; a file that is no squashfs.
    pub(super) fn open(flags: &[OverlayFlag], usage: OverlayUse) -> Result<Self> {
        let mut overlays = Self::default();
        for flag in flags {
            let phrase = || Setting::Overlay.with(flag);
            overlays.add(flag, usage).context(phrase)?;
        }
        overlays.lowers.reverse();
        Ok(overlays)
    }

    fn add(&mut self, flag: &OverlayFlag, usage: OverlayUse) -> Result<()> {
        let mut path = std::path::absolute(&flag.path)?;
        // A file is opened once: each access to a path costs requests to the server of a parallel file system.
        let opened = match OpenImage::of_path(&path) {
            Ok(opened) => Some(opened),
            Err(_) if path.is_dir() => None,
            Err(error) => {
                return Err(match error.errno() {
                    Some(libc::EACCES) => error,
                    _ => error.hint(hint::MAKE_OVERLAY),
                });
            }
        };
        if opened.is_none() {
            path = path.canonicalize()?;
        }
        // The path stands in config.json.
        if path.to_str().is_none() {
            return Err(Error::invalid("the path is not UTF-8"));
        }
        if self.flags.iter().any(|other| other.path == path) {
            return Err(Error::invalid("it is given twice"));
        }
        match (opened, flag.access) {
            (None, OverlayAccess::ReadOnly) => self.add_read_only(&path, usage)?,
            (None, _) => self.add_written(&path, usage)?,
            (Some(_), OverlayAccess::ReadWrite) => {
                return Err(Error::invalid("a file is only read").hint(hint::MAKE_OVERLAY));
            }
            (Some(opened), _) => self.lowers.push(LowerLayer::Image(image(&path, opened)?)),
        }
        self.flags.push(OverlayFlag { path, access: flag.access });
        Ok(())
    }

    fn add_written(&mut self, folder: &Path, usage: OverlayUse) -> Result<()> {
        if let Some(other) = &self.written {
            let error = format!("the container writes to {} already", other.display());
            return Err(
                Error::invalid(error).hint("only one overlay is written to: the others need ':ro'")
            );
        }
        if usage != OverlayUse::Described {
            for name in [UPPER, WORK] {
                make_folder(&folder.join(name))?;
            }
        }
        self.lock(folder, Lock::Exclusive, usage)?;
        self.note_whiteouts(folder);
        self.written = Some(folder.to_owned());
        Ok(())
    }

    fn add_read_only(&mut self, folder: &Path, usage: OverlayUse) -> Result<()> {
        let upper = folder.join(UPPER);
        if !is_folder(&upper)? {
            return Err(Error::not_found(format!("it has no folder '{UPPER}'"))
                .hint("the files of an overlay are in that folder"));
        }
        self.lock(folder, Lock::Shared, usage)?;
        self.note_whiteouts(folder);
        self.lowers.push(LowerLayer::Folder(upper));
        Ok(())
    }

    fn note_whiteouts(&mut self, folder: &Path) {
        if engine::has_whiteout_names(&folder.join(WORK)) {
            self.whiteouts = Whiteouts::Names;
        }
    }

    fn lock(&mut self, folder: &Path, lock: Lock, usage: OverlayUse) -> Result<()> {
        if usage == OverlayUse::Started {
            self.locks.extend(locked(folder, lock)?);
        }
        Ok(())
    }

    /// Returns copies of the locks, for a process that outlives this value.
    pub(super) fn hold(&self) -> Result<Vec<OwnedFd>> {
        let held = self.locks.iter().map(|lock| lock.try_clone().map(OwnedFd::from));
        held.collect::<io::Result<_>>().context(|| "cannot hold the overlays")
    }
}

/// Locks the folders of a container's overlays, and makes their missing parts. Errors: another container uses one.
pub(super) fn hold(flags: &[OverlayFlag]) -> Result<Vec<OwnedFd>> {
    Overlays::open(flags, OverlayUse::Started)?.hold()
}

/// Most attempts to lock a folder, one each 20 ms. A monitor that has recorded the end of its container holds the lock
/// for a moment longer.
const MOST_ATTEMPTS: u32 = 50;

/// Locks the folder of an overlay. `None`: its file system has no locks. Errors: another container has the lock.
fn locked(folder: &Path, lock: Lock) -> Result<Option<File>> {
    for _ in 0..MOST_ATTEMPTS {
        match files::attempt(folder, lock) {
            Ok(LockAttempt::Ours(file)) => return Ok(Some(file)),
            Ok(LockAttempt::Gone) => return Err(Error::not_found("the folder is gone")),
            Ok(LockAttempt::Held) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) if files::has_no_locks(&error) => {
                log::warn!(
                    "{} {}: its file system has no locks: no second container may use it at the same time",
                    Setting::Overlay,
                    folder.display()
                );
                return Ok(None);
            }
            Err(error) => return Err(error).context(|| "cannot lock the folder"),
        }
    }
    let verb = if lock == Lock::Exclusive { "uses" } else { "writes to" };
    Err(Error::conflict(format!("another container {verb} {}", folder.display())).hint(
        "a folder is either written by one container or read by several: end the other, or give each a folder of its own",
    ))
}

/// Makes a folder of an overlay, if it is missing. Errors: another file, or a symbolic link, has that name.
fn make_folder(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.context(|| format!("cannot make {}", path.display())),
    }
    match is_folder(path)? {
        true => Ok(()),
        false => Err(Error::invalid(format!("{} is no folder", path.display()))),
    }
}

/// True for a folder, false for a missing one. Errors: another file; a symbolic link, which could lead to any folder.
fn is_folder(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(|| path.display().to_string()),
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(Error::invalid(format!("{} is no folder", path.display()))),
    }
}

/// Returns the image in an open file. Errors: another file, with the way out.
fn image(path: &Path, opened: OpenImage) -> Result<ImageFile> {
    let held = HeldFile::of(&opened).context(|| "cannot keep the file open")?;
    let file = ImageFile { identity: Some(opened.identity), held, ..ImageFile::new(path, 0) };
    let open = File::from(opened.file);
    if is_ext(&open) {
        let error = "an ext3 image: usnea cannot mount it, since only root of the host may, and a crash damages it";
        return Err(Error::invalid(error).hint(hint::EXT3_OVERLAY));
    }
    let kinds = "an overlay is a folder or a squashfs file";
    if sif::is_sif(&open) {
        return Err(Error::invalid("a SIF file is an image of its own").hint(kinds));
    }
    let limits = CacheLimits { data_bytes: 0, metadata_bytes: 0, workers: 0 };
    SquashfsImage::open(file.open().hint(|| kinds)?.file, 0, limits)?;
    Ok(file)
}

/// True for a file with an ext2, ext3 or ext4 file system: its superblock has the magic 0xEF53 at byte 1024 + 56
/// (kernel, Documentation/filesystems/ext4/super.rst).
fn is_ext(file: &File) -> bool {
    let mut magic = [0; 2];
    file.read_exact_at(&mut magic, 1080).is_ok() && magic == [0x53, 0xef]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn error(flags: &[String]) -> String {
        let flags: Vec<OverlayFlag> = flags.iter().map(|text| text.parse().unwrap()).collect();
        Overlays::open(&flags, OverlayUse::Started).unwrap_err().to_string()
    }

    #[test]
    fn only_folders_without_links_and_one_of_them_are_written_to() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name).display().to_string();
        for name in ["a", "b", "linked", "elsewhere"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        symlink(path("elsewhere"), path("linked/upper")).unwrap();
        std::fs::write(path("file"), "neither").unwrap();
        assert!(error(&[path("a"), path("b")]).contains("writes to"));
        assert!(error(&[path("a"), path("a")]).contains("given twice"));
        assert!(error(&[path("linked")]).contains("is no folder"));
        assert!(error(&[format!("{}:ro", path("linked"))]).contains("is no folder"));
        assert!(error(&[path("elsewhere") + ":ro"]).contains("no folder 'upper'"));
        assert!(error(&[path("file")]).contains("no squashfs"));
        assert!(error(&[path("missing")]).contains("No such file"));
        assert!(std::fs::read_dir(path("elsewhere")).unwrap().next().is_none());
    }

    #[test]
    fn a_description_makes_nothing_and_a_start_locks() {
        let top = tempfile::tempdir().unwrap();
        let flag: OverlayFlag = top.path().display().to_string().parse().unwrap();
        let flags = [flag.clone()];
        Overlays::open(&flags, OverlayUse::Described).unwrap();
        assert!(std::fs::read_dir(top.path()).unwrap().next().is_none());
        let first = Overlays::open(&flags, OverlayUse::Started).unwrap();
        assert!(top.path().join("upper").is_dir() && top.path().join("work").is_dir());
        let read_only = OverlayFlag { access: OverlayAccess::ReadOnly, ..flag };
        assert!(error(&[flags[0].to_string()]).contains("another container uses"));
        assert!(error(&[read_only.to_string()]).contains("another container writes to"));
        Overlays::open(&flags, OverlayUse::Created).unwrap();
        let held = first.hold().unwrap();
        drop(first);
        assert!(error(&[flags[0].to_string()]).contains("another container uses"));
        drop(held);
        let readers =
            [0; 2].map(|_| Overlays::open(std::slice::from_ref(&read_only), OverlayUse::Started));
        assert!(readers.iter().all(Result::is_ok));
    }
}
