//! Image in a single file, read in place: a squashfs, with or without an image configuration behind the file system, or
//! the squashfs in a SIF file, of which an OCI-SIF may have several.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::image_defaults::{ConfiguredDefaults, check_platform};
use super::image_root::{ImageLock, ImageRoot};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::compose::{ComposedImage, NewLayerForm};
use crate::image::in_place;
use crate::image::manifest::ImageConfig;
use crate::image::policy::SignaturePolicy;
use crate::image::sif::{self, SifImage, SifUse};
use crate::image::squashfs::{ImageTrailer, LayersInFile};
use crate::layer::LowerLayer;
use crate::layer::squashfs::{CacheLimits, HeldFile, ImageFile, OpenImage, SquashfsImage};

/// Prefixes of the names of single-file images. Either may name a file of the other format.
const PREFIXES: [&str; 2] = ["sqsh:", "sif:"];

/// Open image in a single file.
#[derive(Debug)]
pub(super) struct FileImage {
    /// Absolute path.
    pub(super) path: PathBuf,
    /// Size of the file in bytes.
    pub(super) size: u64,
    /// Squashfs file systems of the root in the file, the topmost first: one, but for an OCI-SIF with several layers.
    pub(super) layers: Vec<ImageFile>,
    /// Configuration, manifest and names; `None`: the file has none.
    pub(super) trailer: Option<ImageTrailer>,
    open: File,
    /// Facts about a SIF file.
    sif: Option<SifImage>,
}

impl FileImage {
    /// Returns the path of the file that `text` names: `sqsh:FILE`, `sif:FILE`, or a path of a single-file image. `None`:
    /// `text` names another image.
    pub(super) fn path_in(text: &str) -> Option<&Path> {
        if let Some(path) = after_prefix(text) {
            return Some(path);
        }
        let path = Some(Path::new(text)).filter(|_| is_path(text))?;
        is_at(path).then_some(path)
    }

    /// Opens the image in the file at `path`. Errors: not a regular file, no squashfs, a damaged or truncated one.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = OpenImage::of_path(&std::path::absolute(path).context(|| named(path))?)?;
        match Self::of(path, opened)? {
            Some(image) => Ok(image),
            // The error for a file that holds no image.
            None => Err(ImageFile::new(path, 0).open().err().unwrap_or_else(|| {
                Error::conflict("the file was replaced meanwhile").within(named(path))
            })),
        }
    }

    /// Reads the image in the open file at `path`. `None`: the file is neither squashfs nor SIF. Errors: a damaged or
    /// truncated image.
    pub(super) fn of(path: &Path, opened: OpenImage) -> Result<Option<Self>> {
        let phrase = || named(path);
        let path = std::path::absolute(path).context(phrase)?;
        let identity = Some(opened.identity);
        let held = HeldFile::of(&opened).context(phrase)?;
        let file = ImageFile { identity, held, ..ImageFile::new(path, 0) };
        let has_squashfs = opened.has_image_at(0);
        let open = File::from(opened.file);
        match has_squashfs {
            true => Self::in_squashfs(file, open).context(phrase).map(Some),
            false if sif::is_sif(&open) => Self::in_sif(file, open).context(phrase).map(Some),
            false => Ok(None),
        }
    }

    /// Opens the root of a squashfs file.
    fn in_squashfs(file: ImageFile, open: File) -> Result<Self> {
        let limits = CacheLimits { data_bytes: 0, metadata_bytes: 0, workers: 0 };
        let squashfs = SquashfsImage::open(open.try_clone()?.into(), file.offset, limits)?;
        let trailer = ImageTrailer::read(&open, squashfs.end())?;
        let (path, size) = (file.path.clone(), open.metadata()?.len());
        Ok(Self { path, size, layers: vec![file], trailer, open, sif: None })
    }

    /// Opens the layers of a SIF file.
    fn in_sif(file: ImageFile, open: File) -> Result<Self> {
        let sif = SifImage::open(&open)?;
        let layer = |offset| ImageFile { offset, ..file.clone() };
        let layers = sif.offsets().into_iter().map(layer).collect();
        let (path, size) = (file.path.clone(), open.metadata()?.len());
        let configuration = sif.configuration.clone();
        let trailer = Some(ImageTrailer { configuration, ..Default::default() });
        Ok(Self { path, size, layers, trailer, open, sif: Some(sif) })
    }

    /// Returns the configuration; `None`: the file has none. Errors: a malformed one.
    pub(super) fn config(&self) -> Result<Option<ImageConfig>> {
        let trailer = self.trailer.as_ref();
        let config = trailer.map(|trailer| ImageConfig::parse(trailer.configuration.as_bytes()));
        config.transpose().context(|| format!("image {}", self.path.display()))
    }

    /// Returns the image with its layers as those of a new image; they are written to `tmp`. Errors: no
    /// configuration; a damaged file; names that no layer can have.
    pub(super) fn compose(&self, tmp: &Path, form: NewLayerForm) -> Result<ComposedImage> {
        let name = self.path.display().to_string();
        let trailer = self.trailer.as_ref();
        let configuration = trailer.map(|trailer| &*trailer.configuration).unwrap_or_default();
        let offsets: Vec<u64> = self.layers.iter().map(|layer| layer.offset).collect();
        let file = &self.open;
        let layers = LayersInFile { file, offsets: &offsets, configuration, name: &name };
        layers.compose(tmp, form).context(|| format!("image {name}"))
    }

    /// Applies a signature policy to an image that is passed on, as `load` does. Errors: the policy rejects the file, or
    /// requires a signature.
    pub(super) fn approve_sending(&self, policy: &SignaturePolicy) -> Result<()> {
        let path = &self.path;
        if let Some(sif) = &self.sif {
            return sif.approve(policy, &self.open, path, SifUse::Root);
        }
        in_place::approve_squashfs(policy, path)
    }

    /// Returns the image as the root of a container. Errors: an image for another system; the signature policy rejects
    /// the file, or requires a signature that it lacks.
    pub(super) fn root(self) -> Result<ImageRoot> {
        let policy = SignaturePolicy::load()?;
        match &self.sif {
            Some(sif) => {
                sif.approve(&policy, &self.open, &self.path, SifUse::RootAndOverlays)?;
            }
            None => in_place::approve_squashfs(&policy, &self.path)?,
        }
        let settings = match self.config()? {
            Some(config) => {
                check_platform(&config.platform())?;
                ConfiguredDefaults::of(config.config)
            }
            None => ConfiguredDefaults::default(),
        };
        let ConfiguredDefaults { defaults, labels, health } = settings;
        let parts = self.sif.iter().flat_map(|sif| &sif.overlays);
        let overlays = parts.zip(self.layers.iter().cycle());
        let overlays =
            overlays.map(|(part, file)| ImageFile { offset: part.offset, ..file.clone() });
        let files: Vec<ImageFile> = overlays.chain(self.layers.iter().cloned()).collect();
        let mut layers = files.into_iter().map(LowerLayer::Image);
        let Some(top) = layers.next() else { fail!("image {}: no layers", self.path.display()) };
        let mut root = ImageRoot::of(top, ImageLock::File(self.open));
        root.layers.extend(layers);
        Ok(ImageRoot { defaults, labels, health, ..root })
    }
}

/// Phrase of errors about the image at `path`.
fn named(path: &Path) -> String {
    format!("image {}", path.display())
}

/// Returns the path in a name with a prefix of single-file images.
pub(super) fn after_prefix(text: &str) -> Option<&Path> {
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).map(Path::new)
}

/// True if the regular file at `path` is a single-file image.
pub(super) fn is_at(path: &Path) -> bool {
    ImageFile::is_at(path) || sif::open_at(path).is_some()
}

/// True if an image's name is a path, not a name in a store.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "."
}
