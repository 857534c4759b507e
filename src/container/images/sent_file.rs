//! Image of a single file as the source of a push or of an archive: its files become the layer of a new image, those of an
//! OCI-SIF several.

use std::path::Path;

use super::archive_names::{Naming, names};
use crate::container::file_image::FileImage;
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::image::Reference;
use crate::image::compose::{ComposedImage, NewLayerForm};
use crate::image::manifest::Platform;
use crate::image::policy::SignaturePolicy;

/// Image of a file that is sent elsewhere.
pub(super) struct SentFile {
    /// Open file.
    pub(super) file: FileImage,
    /// Names of the image, as a load of the file would give them.
    pub(super) names: Vec<Reference>,
}

impl SentFile {
    /// Opens the image in the file at `path`. Errors: no image; one without a configuration, or for another platform; the
    /// signature policy rejects the file.
    pub(super) fn open(path: &Path, platform: Option<&Platform>) -> Result<Self> {
        let file = FileImage::open(path)?;
        let phrase = || format!("image {}", path.display());
        let config = file.config()?.ok_or_else(|| no_configuration().within(phrase()))?;
        if let Some(platform) = platform.filter(|wanted| !config.platform().serves(wanted)) {
            let error = format!("it is for {}, not for {platform}", config.platform());
            return Err(Error::not_found(error)).context(phrase);
        }
        file.approve_sending(&SignaturePolicy::load()?).context(phrase)?;
        let texts = file.trailer.as_ref().map(|trailer| &trailer.names[..]).unwrap_or_default();
        let names = names(texts, Naming::Oci);
        Ok(Self { file, names })
    }

    /// Writes the image's layers to `tmp`. Errors: a damaged file; names that no layer can have.
    pub(super) fn compose(&self, tmp: &Path, form: NewLayerForm) -> Result<ComposedImage> {
        self.file.compose(tmp, form)
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Error for a file that other programs wrote, or for a part that was cut off.
pub(super) fn no_configuration() -> Error {
    Error::not_found("the file has no image configuration").hint(hint::SAVE_SQUASHFS)
}
