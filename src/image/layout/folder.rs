//! The files of a layout's folder, by descriptor: no symbolic link of it is followed, nothing but regular files is
//! read, and what is written has its name only when it is whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Files;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::section::Section;
use crate::sys::inroot::{self, Symlinks};

/// An open folder.
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens it. Errors: there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty());
        Ok(Self { fd: fd.context(|| "cannot open it")?, path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder `name` in it, made where it is missing.
    pub fn subfolder(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(files::cannot_write(errno.into(), &path)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = inroot::open(&self.fd, Path::new(name), flags, Symlinks::Refuse);
        Ok(Self { fd: fd.context(|| format!("cannot open {}", path.display()))?, path })
    }

    /// Puts `content` there as `name`, in the place of what had that name: all of it or nothing.
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
            files::cannot_write(error, &self.path.join(name))
        })
    }
}

impl Files for Folder {
    fn open(&self, path: &str) -> Result<Option<Section>> {
        // A FIFO would make the opening wait: NONBLOCK, and then it is none of ours.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match inroot::open(&self.fd, Path::new(path), flags, Symlinks::Refuse) {
            Ok(fd) => File::from(fd),
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT) => Ok(None),
                    Some(libc::ELOOP) => {
                        Err(Error::new("there is a symbolic link on the way: not followed"))
                    }
                    Some(libc::ENXIO) => Err(Error::new("not a regular file")),
                    _ => Err(error.into()),
                };
            }
        };
        if !file.metadata()?.is_file() {
            return Err(Error::new("not a regular file"));
        }
        Ok(Some(Section::whole(file)?))
    }
}
