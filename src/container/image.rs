//! What a container is made from: the transports of IMAGE.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Context, Error, Result};
use crate::rootfs::host::{self, HostRoot};

/// IMAGE, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// `host:PROGRAM[,PROGRAM...]`: the host's own programs.
    Host(Vec<String>),
    /// `dir:PATH`, or a path that begins with `/` or `./`: a root directory.
    Directory(PathBuf),
}

/// A root directory that stays as long as this value lives.
#[derive(Debug)]
pub struct Root {
    /// The folder.
    pub path: PathBuf,
    _held: Option<HostRoot>,
}

impl FromStr for Image {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(programs) = text.strip_prefix("host:") {
            return Ok(Self::Host(programs.split(',').map(str::to_owned).collect()));
        }
        if let Some(path) = text.strip_prefix("dir:") {
            return Ok(Self::Directory(path.into()));
        }
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "."
        {
            return Ok(Self::Directory(text.into()));
        }
        Err(Error::new(format!("image '{text}': not a kind of image that is known"))
            .hint("host:PROGRAM,... for programs of this machine; dir:PATH, /PATH or ./PATH for a root directory"))
    }
}

impl Image {
    /// The root directory, made if need be.
    pub fn root(&self, store: &Path) -> Result<Root> {
        match self {
            Self::Host(programs) => {
                let root = host::assemble(store, programs)?;
                Ok(Root { path: root.path.clone(), _held: Some(root) })
            }
            Self::Directory(path) => Ok(Root { path: directory(path)?, _held: None }),
        }
    }

    /// The root directory that there is or would be; makes nothing.
    pub fn would_be_root(&self, store: &Path) -> Result<PathBuf> {
        match self {
            Self::Host(programs) => Ok(host::describe(store, programs)?.path),
            Self::Directory(path) => directory(path),
        }
    }
}

fn directory(path: &Path) -> Result<PathBuf> {
    let said = || format!("image {}", path.display());
    let absolute = path.canonicalize().context(said)?;
    if !absolute.is_dir() {
        return Err(std::io::Error::from_raw_os_error(libc::ENOTDIR)).context(said);
    }
    // x on it, as the mount and the look-up of users need it: said here, not as the overlay's bare EACCES.
    rustix::fs::access(&absolute, rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK)
        .context(said)?;
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_told_apart() {
        assert_eq!(
            "host:a,/b/c".parse::<Image>().unwrap(),
            Image::Host(vec!["a".into(), "/b/c".into()])
        );
        for text in ["dir:/x", "/x"] {
            assert_eq!(text.parse::<Image>().unwrap(), Image::Directory("/x".into()));
        }
        assert_eq!("./x".parse::<Image>().unwrap(), Image::Directory("./x".into()));
        assert_eq!("dir:x".parse::<Image>().unwrap(), Image::Directory("x".into()));
        assert!("debian:12".parse::<Image>().is_err());
    }
}
