//! Name of a file that holds an image: path, start of the image, and identity of the file.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};

use super::format::MAGIC;
use crate::error::{Context, Error, Result};
use crate::fail;

/// File that holds a squashfs image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Start of the image in the file, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Identity of the file at an earlier time; `None`: any file is accepted.
    #[serde(default)]
    pub identity: Option<FileIdentity>,
    /// Open file that [`ImageFile::open`] duplicates.
    #[serde(skip)]
    pub held: HeldFile,
}

/// Open file with a known identity, or none. Opening a file again costs three requests to the metadata server of a
/// parallel file system. All values are equal: two names of one file are the same, open or not.
#[derive(Clone, Debug, Default)]
pub struct HeldFile(Option<Arc<OpenImage>>);

impl HeldFile {
    /// Keeps a duplicate of an open file. Errors: dup(2).
    pub fn of(open: &OpenImage) -> std::io::Result<Self> {
        open.try_clone().map(|open| Self(Some(Arc::new(open))))
    }
}

impl PartialEq for HeldFile {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for HeldFile {}

/// Identity of a file: changes when the file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Number of the device. The number of an NFS or btrfs mount is another one after a reboot.
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// Size, in bytes.
    pub size: u64,
    /// Time of the last write: seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of that time.
    pub nanoseconds: u32,
}

/// Open regular file. From [`ImageFile::open`]: a squashfs superblock is at its offset.
#[derive(Debug)]
pub struct OpenImage {
    /// Descriptor, for reading.
    pub file: OwnedFd,
    /// Identity of the open file.
    pub identity: FileIdentity,
}

impl OpenImage {
    /// Opens a regular file, whatever its content. Errors: the path leads to another kind of file.
    pub fn of_path(path: &Path) -> Result<Self> {
        open(path)
    }

    /// True if a squashfs image begins at byte `offset`.
    pub fn has_image_at(&self, offset: u64) -> bool {
        has_magic(&self.file, offset)
    }

    fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, identity: self.identity })
    }
}

impl ImageFile {
    /// Image that begins at byte `offset` of the file at `path`.
    pub fn new(path: impl Into<PathBuf>, offset: u64) -> Self {
        Self { path: path.into(), offset, identity: None, held: HeldFile::default() }
    }

    /// Opens the file. Errors: the path leads to no regular file; no image begins at the offset; another file than the
    /// recorded one.
    pub fn open(&self) -> Result<OpenImage> {
        let shown = self.path.display();
        let open = match &self.held.0 {
            Some(held) => held.try_clone().context(|| format!("cannot open {shown}"))?,
            None => open(&self.path)?,
        };
        if self.identity.is_some_and(|recorded| !recorded.is_of_same_file(&open.identity)) {
            let error = format!("{shown} is not the recorded file: it was replaced or written");
            return Err(Error::new(error).hint("make the container again, for the new file"));
        }
        if !has_magic(&open.file, self.offset) {
            fail!(Invalid: "{shown} holds no squashfs image at byte {}", self.offset);
        }
        Ok(open)
    }

    /// True if the regular file at `path` begins with a squashfs image.
    pub fn is_at(path: &Path) -> bool {
        open(path).is_ok_and(|open| has_magic(&open.file, 0))
    }
}

impl FileIdentity {
    /// Identity of an open file. Errors: fstat(2).
    pub fn of(file: impl AsFd) -> rustix::io::Result<Self> {
        rustix::fs::fstat(file).map(|stat| Self::of_stat(&stat))
    }

    fn of_stat(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }

    /// True if both are of the same file with the same content, also after a reboot: the device is not compared.
    fn is_of_same_file(&self, other: &Self) -> bool {
        Self { device: 0, ..*self } == Self { device: 0, ..*other }
    }
}

/// Option value of a mount: `DEVICE:INODE:SIZE:SECONDS.NANOSECONDS`.
impl fmt::Display for FileIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode, size, seconds, nanoseconds } = self;
        write!(formatter, "{device}:{inode}:{size}:{seconds}.{nanoseconds}")
    }
}

impl FromStr for FileIdentity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(':');
            let (device, inode, size) = (parts.next()?, parts.next()?, parts.next()?);
            let (seconds, nanoseconds) = parts.next()?.split_once('.')?;
            Some(Self {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
                size: size.parse().ok()?,
                seconds: seconds.parse().ok()?,
                nanoseconds: nanoseconds.parse().ok()?,
            })
            .filter(|_| parts.next().is_none())
        };
        parse().ok_or_else(|| Error::invalid(format!("'{text}' is no identity of a file")))
    }
}

fn open(path: &Path) -> Result<OpenImage> {
    // A FIFO must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let cannot_open = || format!("cannot open {}", path.display());
    let file = rustix::fs::open(path, flags, Mode::empty()).context(cannot_open)?;
    let stat = rustix::fs::fstat(&file).context(cannot_open)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        fail!(Invalid: "{} is no regular file", path.display());
    }
    Ok(OpenImage { file, identity: FileIdentity::of_stat(&stat) })
}

fn has_magic(file: &OwnedFd, offset: u64) -> bool {
    let mut magic = [0; 4];
    let Ok(file) = file.try_clone().map(File::from) else { return false };
    file.read_exact_at(&mut magic, offset).is_ok() && u32::from_le_bytes(magic) == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_with_the_magic_at_its_offset_is_an_image_and_no_other_file_is() {
        let (folder, path) = image(b"....hsqs....");
        assert!(ImageFile::new(&path, 4).open().is_ok());
        for offset in [0, 3, 9, 1 << 40, u64::MAX] {
            let error = ImageFile::new(&path, offset).open().unwrap_err().to_string();
            assert!(error.contains("holds no squashfs image at byte"), "{error}");
        }
        let error = ImageFile::new(folder.path(), 0).open().unwrap_err().to_string();
        assert!(error.contains("is no regular file"), "{error}");
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        assert!(ImageFile::new(&fifo, 0).open().is_err());
        assert!(!ImageFile::is_at(&path));
        std::fs::write(&path, "hsqs").unwrap();
        assert!(ImageFile::is_at(&path));
    }

    #[test]
    fn a_replaced_file_is_not_the_recorded_one_and_a_new_device_number_changes_nothing() {
        let (folder, path) = image(b"hsqs");
        let identity = ImageFile::new(&path, 0).open().unwrap().identity;
        let recorded =
            |identity| ImageFile { identity: Some(identity), ..ImageFile::new(&path, 0) };
        assert_eq!(recorded(identity).open().unwrap().identity, identity);
        assert!(recorded(FileIdentity { device: 4711, ..identity }).open().is_ok());
        std::fs::write(folder.path().join("new"), "hsqs").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let error = recorded(identity).open().unwrap_err().to_string();
        assert!(error.contains("is not the recorded file"), "{error}");
    }

    #[test]
    fn an_identity_survives_its_text() {
        let identity = FileIdentity {
            device: u64::MAX,
            inode: 2,
            size: 3,
            seconds: -4,
            nanoseconds: 999_999_999,
        };
        assert_eq!(identity.to_string().parse::<FileIdentity>().unwrap(), identity);
        for wrong in ["", "1:2:3:4", "1:2:3:4.5:6", "1:2:-3:4.5", "a:2:3:4.5"] {
            assert!(wrong.parse::<FileIdentity>().is_err(), "{wrong}");
        }
    }
}
