//! Image in a single file, read in place: a squashfs, with or without an image configuration behind the file system.

use std::fs::File;
use std::path::Path;

use super::image_defaults::{ConfiguredDefaults, check_platform};
use super::image_root::{ImageLock, ImageRoot};
use crate::error::{Context, Result};
use crate::image::manifest::ImageConfig;
use crate::image::squashfs::ImageTrailer;
use crate::layer::LowerLayer;
use crate::layer::squashfs::{CacheLimits, ImageFile, SquashfsImage};

/// Prefix of the name of a single-file image.
pub(super) const PREFIX: &str = "sqsh:";

/// Open image in a single file.
#[derive(Debug)]
pub(super) struct FileImage {
    /// Path, offset and identity of the file.
    pub(super) file: ImageFile,
    /// Configuration, manifest and names; `None`: the file has none.
    pub(super) trailer: Option<ImageTrailer>,
    open: File,
}

impl FileImage {
    /// Returns the path of the file that `text` names: `sqsh:FILE`, or a path of a file that begins with a squashfs.
    /// `None`: `text` names another image.
    pub(super) fn path_in(text: &str) -> Option<&Path> {
        if let Some(path) = text.strip_prefix(PREFIX) {
            return Some(Path::new(path));
        }
        let path = Some(Path::new(text)).filter(|_| is_path(text))?;
        ImageFile::is_at(path).then_some(path)
    }

    /// Opens the image in the file at `path`. Errors: not a regular file, no squashfs, a damaged or truncated one.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let phrase = || format!("image {}", path.display());
        let path = std::path::absolute(path).context(phrase)?;
        let file = ImageFile::new(path, 0);
        let opened = file.open()?;
        let open = File::from(opened.file);
        let limits = CacheLimits { data_bytes: 0, metadata_bytes: 0, workers: 0 };
        let clone = open.try_clone().context(phrase)?;
        let squashfs = SquashfsImage::open(clone.into(), file.offset, limits).context(phrase)?;
        let trailer = ImageTrailer::read(&open, squashfs.end()).context(phrase)?;
        let file = ImageFile { identity: Some(opened.identity), ..file };
        Ok(Self { file, trailer, open })
    }

    /// Returns the configuration; `None`: the file has none. Errors: a malformed one.
    pub(super) fn config(&self) -> Result<Option<ImageConfig>> {
        let trailer = self.trailer.as_ref();
        let config = trailer.map(|trailer| ImageConfig::parse(trailer.configuration.as_bytes()));
        config.transpose().context(|| format!("image {}", self.file.path.display()))
    }

    /// Returns the image as the root of a container. Errors: an image for another system.
    pub(super) fn root(self) -> Result<ImageRoot> {
        let settings = match self.config()? {
            Some(config) => {
                check_platform(&config.platform())?;
                ConfiguredDefaults::of(config.config)
            }
            None => ConfiguredDefaults::default(),
        };
        let ConfiguredDefaults { defaults, labels, health } = settings;
        let root = ImageRoot::of(LowerLayer::Image(self.file), ImageLock::File(self.open));
        Ok(ImageRoot { defaults, labels, health, ..root })
    }
}

/// True if an image's name is a path, not a name in a store.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "."
}
