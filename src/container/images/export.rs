//! `usnea export` of an image: its layers merged, as one tar archive.

use super::single_file;
use super::unpacked::UnpackedImage;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores::{self};
use crate::error::{Context, Result};
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::merged_tar;
use crate::userns::{self};

/// Writes the files of the image that `text` names to `output` as a tar archive.
pub fn export(usnea: &Usnea, text: &str, output: &ArchiveSink) -> Result<()> {
    if let Some(path) = FileImage::path_in(text) {
        return single_file::export(usnea, path, output);
    }
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let (store, image) = super::known(stores, text)?;
    let owners = stores::owners(base, &store);
    userns::in_base(base, || {
        let unpacked = UnpackedImage::of(&store, &image, &owners)?;
        merged_tar(&unpacked.folders(), &owners, ArchiveOutput::create(output)?)?.put()
    })
    .context(|| format!("cannot export {}", text.escape_debug()))
}
