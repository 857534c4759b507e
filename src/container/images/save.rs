//! `usnea save` to an archive or a layout: copies images with their blobs as stored, and the images of single files.

use std::path::Path;

use super::NoProgress;
use super::sent_file::SentFile;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores::Stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::image::Reference;
use crate::image::archive::output::ArchiveSink;
use crate::image::archive::{DockerArchiveTarget, OciArchiveTarget};
use crate::image::compose::NewLayerForm;
use crate::image::layout::LayoutTarget;
use crate::image::manifest::Platform;
use crate::image::push::{ImagePush, LayerForm, ManifestFormat};
use crate::image::pushed_image::PushedImage;
use crate::image::registries_conf::Registries;
use crate::image::source::ImageTarget;
use crate::image::store::{ImageRecord, Store};

/// Form of an archive of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveForm {
    /// Archive that `docker load` reads.
    Docker,
    /// Tar of an OCI layout.
    Oci,
    /// Folder of an OCI layout.
    OciFolder,
}

impl ArchiveForm {
    /// Format of the manifests in the archive.
    fn manifests(self) -> ManifestFormat {
        match self {
            Self::Docker => ManifestFormat::AsStored,
            Self::Oci | Self::OciFolder => ManifestFormat::Oci,
        }
    }

    /// Form of layers that are no blobs yet.
    fn new_layers(self) -> NewLayerForm {
        match self {
            Self::Docker => NewLayerForm::Plain,
            Self::Oci | Self::OciFolder => NewLayerForm::Gzip,
        }
    }
}

/// Archive that is being written. Each image gets a target of its own in it.
enum Growing {
    Docker(DockerArchiveTarget),
    Oci(OciArchiveTarget),
    Layout(LayoutTarget),
}

/// Source of an image in an archive.
enum SavedSource {
    Stored(NamedImage),
    File(SentFile),
}

/// Image to save.
pub(super) struct NamedImage {
    /// Store that has the image.
    pub(super) store: Store,
    /// Record of the image.
    pub(super) image: ImageRecord,
    /// Name in the archive.
    pub(super) name: Option<Reference>,
}

/// Writes the images that `texts` name to `output`, under the names in `texts`. An image that is named by its ID has no
/// name in the archive; the image of a single file has the first name in the file. Errors: the output is a terminal; an unknown image.
pub fn save(
    usnea: &Usnea,
    texts: &[String],
    form: ArchiveForm,
    platform: Option<&Platform>,
    output: &ArchiveSink,
) -> Result<()> {
    let stores = usnea.images()?;
    if let (ArchiveForm::OciFolder, ArchiveSink::Stream(_)) = (form, output) {
        return Err(
            Error::invalid("oci-dir is a folder, not a stream").hint("name the folder with -o")
        );
    }
    // All images must exist before the first is written.
    let images = texts.iter().map(|text| match FileImage::path_in(text) {
        Some(path) => SentFile::open(path, platform).map(SavedSource::File),
        None => find(stores, text, platform).map(SavedSource::Stored),
    });
    let images = images.collect::<Result<Vec<_>>>()?;
    let ids = write_archive(stores, &images, form, output)?;
    for (source, id) in images.iter().zip(&ids) {
        let name = source.name().map(ToString::to_string);
        super::log_image_event(stores, id, "save", name);
    }
    Ok(())
}

/// Finds the image that `text` names. Errors: no such image, or one for another platform.
pub(super) fn find(stores: &Stores, text: &str, platform: Option<&Platform>) -> Result<NamedImage> {
    let (store, image) = super::known(stores, text)?;
    if let Some(platform) = platform.filter(|wanted| !image.platform.serves(wanted)) {
        let error = format!("image '{}' is for {}", text.escape_debug(), image.platform);
        return Err(Error::not_found(format!("{error}, not for {platform}"))
            .hint(hint::pull_platform(platform)));
    }
    let name = super::name_typed(text, &image, &Registries::load()?);
    Ok(NamedImage { store, image, name })
}

impl SavedSource {
    /// Name in the archive.
    fn name(&self) -> Option<&Reference> {
        match self {
            Self::Stored(image) => image.name.as_ref(),
            Self::File(file) => file.names.first(),
        }
    }
}

/// Writes the archive. Returns the IDs of the images.
fn write_archive(
    stores: &Stores,
    images: &[SavedSource],
    form: ArchiveForm,
    output: &ArchiveSink,
) -> Result<Vec<Digest>> {
    let work = stores.own().work_folder()?;
    let tmp = work.path();
    let mut ids = Vec::new();
    let mut growing: Option<Growing> = None;
    for source in images {
        let name = source.name().cloned();
        let next = match &growing {
            None => Growing::begin(form, output, tmp, name)?,
            Some(growing) => growing.another(name),
        };
        let push = |image: PushedImage<'_>| {
            let push = ImagePush {
                image,
                form: LayerForm::AsStored,
                format: form.manifests(),
                tmp,
                parallel: 1,
                progress: &NoProgress,
            };
            push.run(next.target())
        };
        ids.push(match source {
            SavedSource::Stored(NamedImage { store, image, name }) => {
                push(PushedImage::Stored { store, image })
                    .context(|| cannot_save(image, name, output))?;
                image.config.clone()
            }
            SavedSource::File(file) => {
                let composed = file.compose(tmp, form.new_layers());
                let pushed = composed.and_then(|image| {
                    push(PushedImage::Composed(&image)).map(|_| image.id().clone())
                });
                let (file, output) = (file.path().display(), output.path().display());
                pushed.context(|| format!("cannot save {file} to {output}"))?
            }
        });
        growing = Some(next);
    }
    growing.map_or(Ok(()), |growing| growing.target().finish()).map(|()| ids)
}

/// Context of a failure to save an image.
pub(super) fn cannot_save(
    image: &ImageRecord,
    name: &Option<Reference>,
    output: &ArchiveSink,
) -> String {
    format!("cannot save {} to {}", shown(image, name), output.path().display())
}

fn shown(image: &ImageRecord, name: &Option<Reference>) -> String {
    name.as_ref().map_or_else(|| image.config.short().to_owned(), Reference::familiar)
}

impl Growing {
    fn begin(
        form: ArchiveForm,
        output: &ArchiveSink,
        tmp: &Path,
        name: Option<Reference>,
    ) -> Result<Self> {
        Ok(match form {
            ArchiveForm::Docker => {
                Self::Docker(DockerArchiveTarget::create(output, tmp, name.into_iter().collect())?)
            }
            ArchiveForm::Oci => {
                Self::Oci(OciArchiveTarget::create(output, name.map(|name| name.to_string()))?)
            }
            ArchiveForm::OciFolder => {
                Self::Layout(LayoutTarget::open(output.path(), name.map(|name| name.to_string()))?)
            }
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
