//! Argument IMAGE of a container, and the root that is made from it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::file_image::{self, FileImage};
use super::find_or_pull::{self, ContainerLife, PullSettings};
use super::image_root::{ImageLock, ImageRoot};
use super::usnea::Usnea;
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::layer::squashfs::OpenImage;
use crate::rootfs::host;

/// Source of a container's root: IMAGE, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// `host:PROGRAM[,PROGRAM...]`: the host's own programs.
    Host(Vec<String>),
    /// `dir:PATH`: a root directory.
    Directory(PathBuf),
    /// `sqsh:FILE` and `sif:FILE`: a single-file image.
    File(PathBuf),
    /// Path that begins with `/` or `./`: a root directory, or a single-file image.
    Path(PathBuf),
    /// Anything else: the name or ID of an image, or a transport and path to load one from.
    Image(String),
}

impl FromStr for RootSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(programs) = text.strip_prefix("host:") {
            return Ok(Self::Host(programs.split(',').map(str::to_owned).collect()));
        }
        if let Some(path) = text.strip_prefix("dir:") {
            return Ok(Self::Directory(path.into()));
        }
        if let Some(path) = file_image::after_prefix(text) {
            return Ok(Self::File(path.into()));
        }
        if file_image::is_path(text) {
            return Ok(Self::Path(text.into()));
        }
        text.parse::<crate::image::transport::ImageLocation>().hint(|| {
            "an image is NAME[:TAG], oci:DIR and the like; host:PROGRAM,... is programs of this machine; dir:PATH is a root directory, sqsh:FILE and sif:FILE a single-file image, /PATH or ./PATH either"
        })?;
        Ok(Self::Image(text.to_owned()))
    }
}

impl RootSource {
    /// Returns the root; makes or pulls it if necessary.
    pub fn root(
        &self,
        usnea: &Usnea,
        pull: &PullSettings<'_>,
        life: ContainerLife,
    ) -> Result<ImageRoot> {
        match self {
            Self::Host(programs) => {
                let root = host::assemble(usnea.store()?, programs)?;
                Ok(ImageRoot::of(root.path.clone().into(), ImageLock::Host(root)))
            }
            Self::Directory(path) => of_directory(path),
            Self::File(path) => FileImage::open(path)?.root(),
            Self::Path(path) => of_path(path),
            Self::Image(text) => find_or_pull::root(usnea, text, pull, life),
        }
    }

    /// Returns the root that exists or would be made, without making it. Errors: an image that is not in a store.
    pub fn would_be_root(&self, usnea: &Usnea) -> Result<ImageRoot> {
        match self {
            Self::Host(programs) => Ok(ImageRoot::of(
                host::describe(usnea.store()?, programs)?.path.into(),
                ImageLock::Nothing,
            )),
            Self::Directory(path) => of_directory(path),
            Self::File(path) => FileImage::open(path)?.root(),
            Self::Path(path) => of_path(path),
            Self::Image(text) => find_or_pull::would_be_root(usnea, text),
        }
    }
}

/// Returns the root at a path: a single-file image, or a root directory.
fn of_path(path: &Path) -> Result<ImageRoot> {
    let phrase = || format!("image {}", path.display());
    // The file is opened once: each access to a path costs requests to the server of a parallel file system.
    let opened = match OpenImage::of_path(path) {
        Err(_) if path.is_dir() => return of_directory(path),
        answer => answer.context(phrase)?,
    };
    match FileImage::of(path, opened)? {
        Some(image) => image.root(),
        None => Err(Error::invalid("neither a root directory nor a squashfs or SIF image")
            .hint(hint::LOAD_ARCHIVE))
        .context(phrase),
    }
}

fn of_directory(path: &Path) -> Result<ImageRoot> {
    Ok(ImageRoot::of(directory(path)?.into(), ImageLock::Nothing))
}

fn directory(path: &Path) -> Result<PathBuf> {
    let phrase = || format!("image {}", path.display());
    let absolute = path.canonicalize().context(phrase)?;
    if !absolute.is_dir() {
        return Err(std::io::Error::from_raw_os_error(libc::ENOTDIR)).context(phrase);
    }
    // The mount and the lookup of users need permissions on the directory. Checked here, since the overlay would only
    // return EACCES.
    rustix::fs::access(&absolute, rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK)
        .context(phrase)?;
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_distinguished() {
        assert_eq!(
            "host:a,/b/c".parse::<RootSource>().unwrap(),
            RootSource::Host(vec!["a".into(), "/b/c".into()])
        );
        for text in ["/x", "./x", "../x", "."] {
            assert_eq!(text.parse::<RootSource>().unwrap(), RootSource::Path(text.into()));
        }
        for text in ["sqsh:x", "sif:x"] {
            assert_eq!(text.parse::<RootSource>().unwrap(), RootSource::File("x".into()));
        }
        assert_eq!("dir:x".parse::<RootSource>().unwrap(), RootSource::Directory("x".into()));
        for text in ["debian:12", "oci:/x:1", "docker://q.io/x", "0123456789ab"] {
            assert_eq!(text.parse::<RootSource>().unwrap(), RootSource::Image(text.into()));
        }
        assert!("A B".parse::<RootSource>().is_err());
    }
}
