//! `usnea save`: copies images to one archive or layout, with their blobs as stored, or one image's files to a squashfs
//! file.

use std::path::Path;

use super::NoProgress;
use super::squashfs::{self, NamedImage};
use crate::container::Usnea;
use crate::container::stores::Stores;
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::image::Reference;
use crate::image::archive::output::ArchiveSink;
use crate::image::archive::{DockerArchiveTarget, OciArchiveTarget};
use crate::image::layout::LayoutTarget;
use crate::image::manifest::Platform;
use crate::image::pull::TransferProgress;
use crate::image::push::{ImagePush, LayerForm, ManifestFormat};
use crate::image::registries_conf::Registries;
use crate::image::source::ImageTarget;
use crate::image::store::ImageRecord;

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// Archive that `docker load` reads.
    #[default]
    DockerArchive,
    /// Tar of an OCI layout.
    OciArchive,
    /// Folder of an OCI layout.
    OciDir,
    /// Squashfs file of the merged layers of one image.
    Squashfs,
}

/// Archive that is being written. Each image gets a target of its own in it.
enum Growing {
    Docker(DockerArchiveTarget),
    Oci(OciArchiveTarget),
    Layout(LayoutTarget),
}

/// Writes the images that `texts` name to `output`, under the names in `texts`. An image that is named by its ID has no
/// name in the archive. Progress is reported of a squashfs file alone. Errors: the output is a terminal; an unknown
/// image; several images for a squashfs file.
pub fn save(
    usnea: &Usnea,
    texts: &[String],
    format: SaveFormat,
    platform: Option<&Platform>,
    output: &ArchiveSink,
    progress: &dyn TransferProgress,
) -> Result<()> {
    let stores = usnea.images()?;
    if let (SaveFormat::OciDir, ArchiveSink::Stream(_)) = (format, output) {
        return Err(
            Error::invalid("oci-dir is a folder, not a stream").hint("name the folder with -o")
        );
    }
    if format == SaveFormat::Squashfs && texts.len() > 1 {
        return Err(Error::invalid("a squashfs file holds a single image")
            .hint("save each image to a file of its own"));
    }
    let images = find(stores, texts, platform)?;
    match (format, &images[..]) {
        (SaveFormat::Squashfs, [image]) => squashfs::save(usnea, image, output, progress)
            .context(|| cannot_save(&image.image, &image.name, output))?,
        _ => write_archive(stores, &images, format, output)?,
    }
    for NamedImage { image, name, .. } in &images {
        let name = name.as_ref().map(ToString::to_string);
        super::log_image_event(stores, &image.config, "save", name);
    }
    Ok(())
}

/// Finds all images: they must exist before the first is written.
fn find(stores: &Stores, texts: &[String], platform: Option<&Platform>) -> Result<Vec<NamedImage>> {
    let registries = Registries::load()?;
    let images = texts.iter().map(|text| {
        let (store, image) = super::known(stores, text)?;
        if let Some(platform) = platform.filter(|wanted| !image.platform.serves(wanted)) {
            let error = format!("image '{}' is for {}", text.escape_debug(), image.platform);
            return Err(Error::not_found(format!("{error}, not for {platform}"))
                .hint(hint::pull_platform(platform)));
        }
        let name = super::name_typed(text, &image, &registries);
        Ok(NamedImage { store, image, name })
    });
    images.collect()
}

fn write_archive(
    stores: &Stores,
    images: &[NamedImage],
    format: SaveFormat,
    output: &ArchiveSink,
) -> Result<()> {
    let work = stores.own().work_folder()?;
    let tmp = work.path();
    let mut growing: Option<Growing> = None;
    for NamedImage { store, image, name } in images {
        let next = match &growing {
            None => Growing::begin(format, output, tmp, name.clone())?,
            Some(growing) => growing.another(name.clone()),
        };
        let push = ImagePush {
            store,
            image,
            form: LayerForm::AsStored,
            format: match format {
                SaveFormat::DockerArchive => ManifestFormat::AsStored,
                _ => ManifestFormat::Oci,
            },
            tmp,
            parallel: 1,
            progress: &NoProgress,
        };
        push.run(next.target()).context(|| cannot_save(image, name, output))?;
        growing = Some(next);
    }
    growing.map_or(Ok(()), |growing| growing.target().finish())
}

fn cannot_save(image: &ImageRecord, name: &Option<Reference>, output: &ArchiveSink) -> String {
    format!("cannot save {} to {}", shown(image, name), output.path().display())
}

fn shown(image: &ImageRecord, name: &Option<Reference>) -> String {
    name.as_ref().map_or_else(|| image.config.short().to_owned(), Reference::familiar)
}

impl Growing {
    fn begin(
        format: SaveFormat,
        output: &ArchiveSink,
        tmp: &Path,
        name: Option<Reference>,
    ) -> Result<Self> {
        Ok(match format {
            SaveFormat::DockerArchive => {
                Self::Docker(DockerArchiveTarget::create(output, tmp, name.into_iter().collect())?)
            }
            SaveFormat::OciArchive => {
                Self::Oci(OciArchiveTarget::create(output, name.map(|name| name.to_string()))?)
            }
            SaveFormat::OciDir => {
                Self::Layout(LayoutTarget::open(output.path(), name.map(|name| name.to_string()))?)
            }
            SaveFormat::Squashfs => return Err(Error::new("a squashfs file is no archive")),
        })
    }

    fn another(&self, name: Option<Reference>) -> Self {
        match self {
            Self::Docker(target) => Self::Docker(target.another(name.into_iter().collect())),
            Self::Oci(target) => Self::Oci(target.another(name.map(|name| name.to_string()))),
            Self::Layout(target) => Self::Layout(target.another(name.map(|name| name.to_string()))),
        }
    }

    fn target(&self) -> &dyn ImageTarget {
        match self {
            Self::Docker(target) => target,
            Self::Oci(target) => target,
            Self::Layout(target) => target,
        }
    }
}
