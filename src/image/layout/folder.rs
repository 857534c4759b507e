//! The files of a layout's folder, accessed by descriptor. Only regular files are read. A write goes through no
//! symbolic link, and the file gets its name only when it is whole.
//!
//! Reading follows links, wherever they lead: Bazel writes layouts whose blobs are links. A file read by digest must
//! have that digest, and the folder was named by the user.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::LayoutFiles;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::file_range::FileRange;
use crate::sys::inroot::{self, Symlinks};

/// An open folder.
pub struct LayoutFolder {
    fd: OwnedFd,
    path: PathBuf,
}

impl LayoutFolder {
    /// Opens the folder. Errors: it does not exist.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty());
        Ok(Self { fd: fd.context(|| "cannot open it")?, path: path.to_owned() })
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the subfolder `name`; creates it if missing.
    pub fn subfolder(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(files::cannot_write_output(errno.into(), &path)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = inroot::open(&self.fd, Path::new(name), flags, Symlinks::Refuse);
        Ok(Self { fd: fd.context(|| format!("cannot open {}", path.display()))?, path })
    }

    /// Writes `content` to `name`, replacing any existing file, atomically.
    pub fn put(&self, name: &str, content: &mut dyn Read) -> Result<()> {
        let born = files::random_name(".usnea-");
        let mut write = || -> io::Result<()> {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o666);
            let mut file = File::from(rustix::fs::openat(&self.fd, &*born, flags, mode)?);
            io::copy(content, &mut file)?;
            file.sync_all()?;
            rustix::fs::renameat(&self.fd, &*born, &self.fd, name)?;
            Ok(rustix::fs::fsync(&self.fd)?)
        };
        write().map_err(|error| {
            let _ = rustix::fs::unlinkat(&self.fd, &*born, AtFlags::empty());
            files::cannot_write_output(error, &self.path.join(name))
        })
    }
}

impl LayoutFolder {
    /// Opens the regular file at `path`, through no symbolic link: a file that may be written. `None`: no such file.
    pub fn open_own(&self, path: &str) -> Result<Option<FileRange>> {
        let open = |flags| inroot::open(&self.fd, Path::new(path), flags, Symlinks::Refuse);
        range(open(OFlags::PATH))
    }
}

impl LayoutFiles for LayoutFolder {
    fn open(&self, path: &str) -> Result<Option<FileRange>> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        range(rustix::fs::openat(&self.fd, path, flags, Mode::empty()).map_err(io::Error::from))
    }
}

/// Opens a file that was found with O_PATH: opening a device or a pipe would have side effects.
fn range(found: io::Result<OwnedFd>) -> Result<Option<FileRange>> {
    let found = match found {
        Ok(found) => File::from(found),
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(None),
                Some(libc::ELOOP) => Err(Error::new("there is a symbolic link on the way")),
                _ => Err(error.into()),
            };
        }
    };
    if !found.metadata()?.is_file() {
        return Err(Error::new("not a regular file"));
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()));
    Ok(Some(FileRange::whole(file.context(|| "cannot open it")?)?))
}
