//! IMAGE of a container, and the root that it becomes.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::stored;
use crate::error::{Context, Error, Result};
use crate::image::store::HeldBlob;
use crate::layer::whiteout::Whiteouts;
use crate::rootfs::host::{self, HostRoot};
use crate::spec::ImageDefaults;
use crate::userns::Base;

/// IMAGE, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// `host:PROGRAM[,PROGRAM...]`: the host's own programs.
    Host(Vec<String>),
    /// `dir:PATH`, or a path that begins with `/` or `./`: a root directory.
    Directory(PathBuf),
    /// Anything else: the name or ID of an image, or a place to pull one from.
    Stored(String),
}

/// Root directories that exist as long as this value lives.
#[derive(Debug)]
pub struct Root {
    /// Folders of the layers, the topmost first: at least one.
    pub folders: Vec<PathBuf>,
    /// True if the folders belong to a store that serves several users: their owners are in records alone
    /// ([`Owners::Shared`]).
    ///
    /// [`Owners::Shared`]: crate::image::owners::Owners::Shared
    pub is_shared: bool,
    /// True if the folders are in a store of another user.
    pub is_foreign: bool,
    /// Meaning of names that begin with `.wh.` in the folders.
    pub whiteouts: Whiteouts,
    /// Defaults of the image's config: command, environment, user and the like.
    pub defaults: ImageDefaults,
    /// Image of a store that the folders belong to; `None`: a directory, or programs of the host.
    pub stored: Option<StoredImage>,
    pub(super) held: Held,
}

/// Image of a store, as a container records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Path of the manifest's blob.
    pub manifest: PathBuf,
    /// ID of the image.
    pub id: String,
    /// Labels of the image.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Health check of the image's config.
    pub health: Option<crate::monitor::record::Healthcheck>,
}

/// Lock that keeps a root from being removed.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    Host(HostRoot),
    Stored(HeldBlob),
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
        text.parse::<crate::image::transport::Place>().hint(|| {
            "an image is NAME[:TAG], oci:DIR and the like; host:PROGRAM,... is programs of this machine; dir:PATH, /PATH or ./PATH is a root directory"
        })?;
        Ok(Self::Stored(text.to_owned()))
    }
}

impl Image {
    /// Returns the root, made or pulled if need be.
    pub fn root(&self, base: &Base, store: &Path, wanted: &stored::PullSettings) -> Result<Root> {
        match self {
            Self::Host(programs) => {
                let root = host::assemble(store, programs)?;
                Ok(Root::of(root.path.clone(), Held::Host(root)))
            }
            Self::Directory(path) => Ok(Root::of(directory(path)?, Held::Nothing)),
            Self::Stored(text) => stored::root(base, store, text, wanted),
        }
    }

    /// Returns the root that exists or would be made; makes nothing. Errors: an image that is not in a store.
    pub fn would_be_root(&self, base: &Base, store: &Path) -> Result<Root> {
        match self {
            Self::Host(programs) => {
                Ok(Root::of(host::describe(store, programs)?.path, Held::Nothing))
            }
            Self::Directory(path) => Ok(Root::of(directory(path)?, Held::Nothing)),
            Self::Stored(text) => stored::would_be_root(base, store, text),
        }
    }
}

impl Root {
    fn of(folder: PathBuf, held: Held) -> Self {
        let (folders, defaults) = (vec![folder], ImageDefaults::default());
        Self {
            folders,
            is_shared: false,
            is_foreign: false,
            whiteouts: Whiteouts::Overlay,
            defaults,
            stored: None,
            held,
        }
    }

    /// Returns the descriptor that holds the root, for a process that outlives this value.
    pub fn hold(&self) -> Result<Option<OwnedFd>> {
        let file = match &self.held {
            Held::Nothing => return Ok(None),
            Held::Host(root) => root.lock(),
            Held::Stored(blob) => &blob.file,
        };
        Ok(Some(file.try_clone().context(|| "cannot hold the image")?.into()))
    }
}

fn directory(path: &Path) -> Result<PathBuf> {
    let said = || format!("image {}", path.display());
    let absolute = path.canonicalize().context(said)?;
    if !absolute.is_dir() {
        return Err(std::io::Error::from_raw_os_error(libc::ENOTDIR)).context(said);
    }
    // The mount and the lookup of users need x on the directory: checked here, before the overlay's bare EACCES.
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
        for text in ["debian:12", "oci:/x:1", "docker://q.io/x", "0123456789ab"] {
            assert_eq!(text.parse::<Image>().unwrap(), Image::Stored(text.into()));
        }
        assert!("A B".parse::<Image>().is_err());
    }
}
