//! Read-only layer of a root: a folder on disk, or an image that is read in place.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;

use super::folder::{DiskFolder, LayerFile, LayerFolder};
use super::squashfs::{
    CacheLimits, ImageFile, InodeRef, SquashfsFile, SquashfsFolder, SquashfsImage, StoredFile,
};
use crate::error::{Context, Error, Result};
use crate::sys::inroot;

/// Read-only layer of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LowerLayer {
    /// Folder on disk.
    Folder(PathBuf),
    /// Squashfs image in a file.
    Image(ImageFile),
}

impl LowerLayer {
    /// Path of the folder, or of the file with the image.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Image(file) => &file.path,
        }
    }

    /// File with the image; `None`: a folder.
    pub fn image(&self) -> Option<&ImageFile> {
        match self {
            Self::Folder(_) => None,
            Self::Image(file) => Some(file),
        }
    }

    /// Opens the root folder of the layer. Errors: a folder that is missing; an image that is damaged or was replaced.
    pub fn open(&self) -> Result<LowerFolder> {
        match self {
            Self::Folder(path) => {
                let phrase = || format!("root file system {}", path.display());
                let flags = DiskFolder::FLAGS.difference(rustix::fs::OFlags::NOFOLLOW);
                let folder = rustix::fs::open(path, flags, Mode::empty()).context(phrase)?;
                Ok(LowerFolder::Disk(folder.into()))
            }
            Self::Image(file) => open_image(file),
        }
    }
}

impl From<PathBuf> for LowerLayer {
    fn from(path: PathBuf) -> Self {
        Self::Folder(path)
    }
}

/// Opens an image for a few small files: without threads that read ahead.
fn open_image(file: &ImageFile) -> Result<LowerFolder> {
    let limits = CacheLimits { data_bytes: 1 << 20, metadata_bytes: 1 << 20, workers: 0 };
    let phrase = || format!("image {}", file.path.display());
    let open = file.open().context(phrase)?;
    let image = SquashfsImage::open(open.file, file.offset, limits).context(phrase)?;
    let root = SquashfsFolder::root(&image).map_err(Error::from);
    Ok(LowerFolder::Squashfs(root.context(phrase)?))
}

/// Open folder of a layer.
#[derive(Clone)]
pub enum LowerFolder {
    /// Folder on disk.
    Disk(DiskFolder),
    /// Folder of an image.
    Squashfs(SquashfsFolder),
}

/// Open regular file of a layer. A clone is another handle of the same file, and costs no system call.
#[derive(Clone)]
pub enum LowerFile {
    /// File on disk.
    Disk(Arc<OwnedFd>),
    /// File of an image.
    Squashfs(SquashfsFile),
}

/// File that was looked up in a folder.
pub struct FoundFile {
    /// Attributes of the file itself (lstat(2)).
    pub stat: Stat,
    /// The file in its image; `None`: a file on disk, which is reached by its name alone.
    pub stored: Option<StoredFile>,
}

/// Entry of a folder's listing.
#[derive(Clone, Copy, Debug)]
pub struct LowerName<'a> {
    /// Name of the entry.
    pub name: &'a OsStr,
    /// Inode number.
    pub number: u64,
    /// Type of the file, which may be [`FileType::Unknown`].
    pub kind: FileType,
    /// Location of its inode; `None` for a folder on disk.
    pub location: Option<InodeRef>,
}

impl LowerFolder {
    /// Looks a name up. Errors: ENOENT.
    pub fn find(&self, name: &OsStr) -> Result<FoundFile, Errno> {
        match self {
            Self::Disk(folder) => Ok(FoundFile { stat: folder.stat(name)?, stored: None }),
            Self::Squashfs(folder) => folder.find(name).map(FoundFile::from),
        }
    }

    /// Returns the file of a listed name, as it is now. Errors: ENOENT.
    pub fn find_listed(
        &self,
        name: &OsStr,
        location: Option<InodeRef>,
    ) -> Result<FoundFile, Errno> {
        match (self, location) {
            (Self::Squashfs(folder), Some(location)) => folder.at(location).map(FoundFile::from),
            _ => self.find(name),
        }
    }

    /// Opens a subfolder that was looked up under `name`. Errors: as [`LayerFolder::open_folder`].
    pub fn open_found(&self, name: &OsStr, found: &FoundFile) -> Result<Self, Errno> {
        match (self, &found.stored) {
            (Self::Squashfs(folder), Some(stored)) => {
                folder.open_found(stored.clone()).map(Self::Squashfs)
            }
            _ => self.open_folder(name),
        }
    }

    /// Calls `visit` with each entry but `.` and `..`, in any order.
    pub fn for_each_name(&self, mut visit: impl FnMut(LowerName<'_>)) -> Result<(), Errno> {
        match self {
            Self::Disk(folder) => folder.for_each_entry(|name, number, kind| {
                let name = OsStr::from_bytes(name.to_bytes());
                visit(LowerName { name, number, kind, location: None });
            }),
            Self::Squashfs(folder) => folder.for_each_stored(|entry| {
                visit(LowerName {
                    name: entry.name,
                    number: entry.number,
                    kind: FileType::from_raw_mode(entry.kind.mode_bits()),
                    location: Some(entry.reference),
                });
            }),
        }
    }

    /// Folder on disk; `None`: a folder of an image.
    pub fn on_disk(&self) -> Option<&DiskFolder> {
        match self {
            Self::Disk(folder) => Some(folder),
            Self::Squashfs(_) => None,
        }
    }

    /// Reads a small regular file: at most `limit` bytes (EFBIG), never a FIFO or a device (EINVAL).
    pub fn read_small(&self, name: &OsStr, limit: u64) -> std::io::Result<Vec<u8>> {
        let folder = match self {
            Self::Disk(folder) => return inroot::read(folder, Path::new(name), limit),
            Self::Squashfs(folder) => folder,
        };
        let stat = folder.stat(name)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > limit {
            return Err(Errno::FBIG.into());
        }
        let mut content = vec![0; usize::try_from(size).map_err(|_| Errno::FBIG)?];
        let count = folder.open_file(name)?.read_at(&mut content, 0)?;
        content.truncate(count);
        Ok(content)
    }
}

impl From<OwnedFd> for LowerFile {
    fn from(fd: OwnedFd) -> Self {
        Self::Disk(Arc::new(fd))
    }
}

impl From<StoredFile> for FoundFile {
    fn from(stored: StoredFile) -> Self {
        Self { stat: stored.stat(), stored: Some(stored) }
    }
}

impl From<DiskFolder> for LowerFolder {
    fn from(folder: DiskFolder) -> Self {
        Self::Disk(folder)
    }
}

impl From<OwnedFd> for LowerFolder {
    fn from(fd: OwnedFd) -> Self {
        Self::Disk(fd.into())
    }
}

impl LayerFile for LowerFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        match self {
            Self::Disk(fd) => fd.read_at(buffer, offset),
            Self::Squashfs(file) => file.read_at(buffer, offset),
        }
    }
}

impl LayerFolder for LowerFolder {
    type File = LowerFile;

    fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        match self {
            Self::Disk(folder) => folder.stat(name),
            Self::Squashfs(folder) => folder.stat(name),
        }
    }

    fn open_folder(&self, name: &OsStr) -> Result<Self, Errno> {
        match self {
            Self::Disk(folder) => folder.open_folder(name).map(Self::Disk),
            Self::Squashfs(folder) => folder.open_folder(name).map(Self::Squashfs),
        }
    }

    fn open_file(&self, name: &OsStr) -> Result<LowerFile, Errno> {
        match self {
            Self::Disk(folder) => folder.open_file(name).map(LowerFile::from),
            Self::Squashfs(folder) => folder.open_file(name).map(LowerFile::Squashfs),
        }
    }

    fn read_link(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Disk(folder) => folder.read_link(name),
            Self::Squashfs(folder) => folder.read_link(name),
        }
    }

    fn for_each_entry(&self, visit: impl FnMut(&CStr, u64, FileType)) -> Result<(), Errno> {
        match self {
            Self::Disk(folder) => folder.for_each_entry(visit),
            Self::Squashfs(folder) => folder.for_each_entry(visit),
        }
    }

    fn xattr(&self, name: &OsStr, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Disk(folder) => folder.xattr(name, attribute),
            Self::Squashfs(folder) => folder.xattr(name, attribute),
        }
    }

    fn xattr_names(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Disk(folder) => folder.xattr_names(name),
            Self::Squashfs(folder) => folder.xattr_names(name),
        }
    }

    fn own_stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::Disk(folder) => folder.own_stat(),
            Self::Squashfs(folder) => folder.own_stat(),
        }
    }

    fn own_xattr(&self, attribute: &[u8]) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Disk(folder) => folder.own_xattr(attribute),
            Self::Squashfs(folder) => folder.own_xattr(attribute),
        }
    }

    fn own_xattr_names(&self) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Disk(folder) => folder.own_xattr_names(),
            Self::Squashfs(folder) => folder.own_xattr_names(),
        }
    }
}
