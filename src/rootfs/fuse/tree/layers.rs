//! Layers of an overlay and the callers of its operations.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::layer::LowerFolder;
use crate::layer::squashfs::{CacheLimits, ImageFile, SquashfsFolder, SquashfsImage};

/// Result of an operation.
pub type FsResult<T> = std::result::Result<T, Errno>;

/// Process that requests an operation.
#[derive(Clone, Copy, Debug)]
pub struct FsCaller {
    /// File system user.
    pub uid: u32,
    /// File system group.
    pub gid: u32,
    /// Mask for the mode of new files.
    pub umask: u32,
}

/// Read-only layer, before its content is read.
#[derive(Debug)]
pub enum LowerSource {
    /// Open folder on disk.
    Folder(OwnedFd),
    /// Image in an open file.
    Image(LowerImage),
}

/// Image in an open file.
#[derive(Debug)]
pub struct LowerImage {
    /// Descriptor, for reading.
    pub file: OwnedFd,
    /// Start of the image in the file, in bytes.
    pub offset: u64,
    /// Name of the file, for messages.
    pub name: PathBuf,
}

/// Layers of an overlay, before their content is read.
#[derive(Debug, Default)]
pub struct OverlayLayers {
    /// Read-only layers, the topmost first.
    pub lowers: Vec<LowerSource>,
    /// Writable layer and its work folder, on one file system.
    pub upper: Option<(OwnedFd, OwnedFd)>,
}

/// Layers of an overlay, ready to be read.
pub struct OpenLayers {
    /// Root folders of the read-only layers, the topmost first.
    pub lowers: Vec<LowerFolder>,
    /// As [`OverlayLayers::upper`].
    pub upper: Option<(OwnedFd, OwnedFd)>,
}

impl OverlayLayers {
    /// Returns the descriptors of all layers.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let written = self.upper.iter().flat_map(|(upper, work)| [upper, work]);
        self.lowers.iter().map(LowerSource::as_fd).chain(written.map(AsFd::as_fd)).collect()
    }

    /// Returns the number of images.
    pub fn count_images(&self) -> usize {
        self.lowers.iter().filter(|lower| matches!(lower, LowerSource::Image(_))).count()
    }

    /// Opens the images; each has its own caches, with the limits of `each`. Errors: a file holds no image, or one that is
    /// truncated, damaged or of an unknown form.
    pub fn open(self, each: impl Fn() -> CacheLimits) -> Result<OpenLayers> {
        let open = |lower| match lower {
            LowerSource::Folder(folder) => Ok(LowerFolder::from(folder)),
            LowerSource::Image(source) => open_root(source, each()).map(LowerFolder::Squashfs),
        };
        let lowers = self.lowers.into_iter().map(open).collect::<Result<_>>()?;
        Ok(OpenLayers { lowers, upper: self.upper })
    }
}

impl LowerSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Folder(folder) => folder.as_fd(),
            Self::Image(source) => source.file.as_fd(),
        }
    }
}

impl LowerImage {
    /// Opens the file of an image. Errors: [`ImageFile::open`].
    pub fn open_file(image: &ImageFile) -> Result<Self> {
        let file = image.open()?.file;
        Ok(Self { file, offset: image.offset, name: image.path.clone() })
    }

    /// Opens the root folder for a few small reads: without threads that read ahead. Errors: a damaged image.
    pub fn root(&self) -> Result<SquashfsFolder> {
        let limits = CacheLimits { data_bytes: 1 << 20, metadata_bytes: 1 << 20, workers: 0 };
        let file = self.file.try_clone().context(|| "cannot open an image again")?;
        open_root(LowerImage { file, name: self.name.clone(), ..*self }, limits)
    }
}

fn open_root(source: LowerImage, limits: CacheLimits) -> Result<SquashfsFolder> {
    let LowerImage { file, offset, name } = source;
    let phrase = || format!("image {}", name.display());
    let image = SquashfsImage::open(file, offset, limits).context(phrase)?;
    SquashfsFolder::root(&image).map_err(Error::from).context(phrase)
}

/// True if files can be moved from one folder to the other: not between file systems, nor between two mounts of one.
pub fn in_one_mount(one: impl AsFd, other: impl AsFd) -> FsResult<bool> {
    use rustix::fs::{StatxFlags, fstat, statx};
    if fstat(&one)?.st_dev != fstat(&other)?.st_dev {
        return Ok(false);
    }
    // Both are zero where the kernel does not report it (before 5.8).
    let mount = |fd: BorrowedFd<'_>| {
        statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|x| x.stx_mnt_id)
    };
    Ok(match (mount(one.as_fd()), mount(other.as_fd())) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    })
}

/// Reopens a folder for reading: attributes and names cannot be read through O_PATH.
pub fn reopened(fd: impl AsFd) -> FsResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(fd, ".", flags, Mode::empty())
}

/// Returns the attributes of `name` itself (fstatat(2)), not of a link's target.
pub fn stat_at(folder: impl AsFd, name: &OsStr) -> FsResult<rustix::fs::Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}
