//! `usnea push`: copies an image of the store, or of a single file, to a registry, a layout or an archive.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::sent_file::SentFile;
use crate::config::Settings;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores::Stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::archive::output::ArchiveSink;
use crate::image::archive::{DockerArchiveTarget, OciArchiveTarget};
use crate::image::compose::NewLayerForm;
use crate::image::layout::LayoutTarget;
use crate::image::pull::TransferProgress;
use crate::image::push::{self, LayerForm, ManifestFormat, PushedManifest};
use crate::image::pushed_image::PushedImage;
use crate::image::reference::{DOCKER_HUB, LOCALHOST, Reference, TypedReference};
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::{Registry, RegistryAccess};
use crate::image::source::ImageTarget;
use crate::image::store::{ImageRecord, Store};
use crate::image::transport::{ArchiveSelector, ImageLocation};

/// Number of layers pushed at once, unless the settings set `parallel_downloads`.
const PARALLEL: usize = 3;

/// Image to push, and its destination.
#[derive(Clone, Debug)]
pub struct Push {
    /// Name or ID of the image, or the path of a single-file image.
    pub source: String,
    /// Destination of the image; `None`: the registry of its own name.
    pub destination: Option<ImageLocation>,
    /// Stream that an archive called `-` is written to.
    pub output: Option<Arc<File>>,
    /// Settings of registries from the command line.
    pub asked: RegistryOptions,
    /// Format of the manifest at the destination.
    pub format: ManifestFormat,
    /// True if all layers are compressed with gzip.
    pub gzip: bool,
}

/// Pushes the image. Returns the destination, and the pushed content. Starts threads.
pub fn push(
    usnea: &Usnea,
    push: &Push,
    progress: &dyn TransferProgress,
) -> Result<(ImageLocation, PushedManifest)> {
    let stores = usnea.images()?;
    let registries = Registries::load()?;
    let folder = stores.own().work_folder()?;
    let work = PushWork { push, registries: &registries, tmp: folder.path(), progress };
    let done = match FileImage::path_in(&push.source) {
        Some(path) => work.push_file(path)?,
        None => work.push_stored(stores)?,
    };
    super::log_image_event(stores, &done.id, "push", Some(done.place.to_string()));
    Ok((done.place, done.manifest))
}

/// Push with all that is read before.
struct PushWork<'a> {
    push: &'a Push,
    registries: &'a Registries,
    tmp: &'a Path,
    progress: &'a dyn TransferProgress,
}

/// Image that was pushed.
struct DonePush {
    place: ImageLocation,
    manifest: PushedManifest,
    /// ID of the image.
    id: Digest,
}

impl PushWork<'_> {
    fn push_stored(&self, stores: &Stores) -> Result<DonePush> {
        let (store, image) = super::known(stores, &self.push.source)?;
        let place = match &self.push.destination {
            Some(place) => place.clone(),
            None => own_place(&self.push.source, &image, self.registries)?,
        };
        let pushed = self.send(&place, PushedImage::Stored { store: &store, image: &image })?;
        if let ImageLocation::Registry(typed) = &place {
            let reference = typed.in_registry(DOCKER_HUB);
            record(stores, &store, &image, &reference, &pushed.digest)?;
        }
        Ok(DonePush { place, manifest: pushed, id: image.config })
    }

    /// Pushes the image of a single file, whose layer is a temporary file meanwhile.
    fn push_file(&self, path: &Path) -> Result<DonePush> {
        let file = SentFile::open(path, None)?;
        let place = match &self.push.destination {
            Some(place) => place.clone(),
            None => {
                let name = file.names.iter().find(|name| name.registry != LOCALHOST);
                place_of_own_name(name.or(file.names.first()), &self.push.source)?
            }
        };
        let form = match &place {
            // Layers in the form of docker save.
            ImageLocation::DockerArchive { .. } => NewLayerForm::Plain,
            _ => NewLayerForm::Gzip,
        };
        let image = file.compose(self.tmp, form)?;
        let manifest = self.send(&place, PushedImage::Composed(&image))?;
        Ok(DonePush { place, manifest, id: image.id().clone() })
    }

    fn send(&self, place: &ImageLocation, image: PushedImage<'_>) -> Result<PushedManifest> {
        let push = self.push;
        let text = push.source.escape_debug();
        let work = |form, format, parallel| push::ImagePush {
            image,
            // Docker's format has no other compression.
            form: if push.gzip || format == ManifestFormat::Docker {
                LayerForm::Gzip
            } else {
                form
            },
            format,
            tmp: self.tmp,
            parallel,
            progress: self.progress,
        };
        let ImageLocation::Registry(typed) = place else {
            // A single layer at a time: several are not faster on one stream or one disk.
            let target = local(place, push.output.as_deref(), self.tmp)?;
            let format = local_format(place, push.format)?;
            let sent = work(LayerForm::AsStored, format, 1).run(&*target);
            return sent
                .and_then(|pushed| target.finish().map(|()| pushed))
                .context(|| format!("cannot push {text} to {place}"));
        };
        let reference = typed.in_registry(DOCKER_HUB);
        let registry = registry(&reference, self.registries, &push.asked)?;
        let parallel = Settings::load()?.parallel_downloads.unwrap_or(PARALLEL);
        work(LayerForm::Packed, push.format, parallel)
            .run(&registry)
            .context(|| format!("cannot push {text} to {reference}"))
    }
}

/// Returns the manifest's format for a layout or an archive; a layout needs OCI's. Errors: docker's format for a
/// layout.
fn local_format(place: &ImageLocation, asked: ManifestFormat) -> Result<ManifestFormat> {
    match (place, asked) {
        (ImageLocation::DockerArchive { .. }, _) => Ok(ManifestFormat::AsStored),
        (_, ManifestFormat::Docker) => {
            fail!(Invalid: "{place}: an OCI layout holds no manifest of docker's format")
        }
        _ => Ok(ManifestFormat::Oci),
    }
}

/// Returns the names of all images in the repository `text`. Errors: a tag or digest in `text`, or no image.
pub fn names_of_repository(usnea: &Usnea, text: &str) -> Result<Vec<String>> {
    let stores = usnea.images()?;
    let typed: TypedReference = text.parse()?;
    if typed.tag.is_some() || typed.digest.is_some() {
        let error = format!("'{}' names one image, not all of a repository", text.escape_debug());
        return Err(Error::invalid(error).hint(hint::NO_TAG));
    }
    let mut meant = Registries::load()?.candidates(&typed)?;
    meant.push(typed.in_registry(LOCALHOST));
    let mut names: Vec<Reference> = Vec::new();
    for store in stores.changeable() {
        names.extend(store.images()?.all().iter().flat_map(|image| &image.names).cloned());
    }
    for one in meant {
        let is_its = |name: &&Reference| {
            (&name.registry, &name.repository) == (&one.registry, &one.repository)
        };
        let found: Vec<String> = names.iter().filter(is_its).map(ToString::to_string).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Error::not_found(format!("no image of the repository '{}'", text.escape_debug())))
}

fn own_place(text: &str, image: &ImageRecord, registries: &Registries) -> Result<ImageLocation> {
    place_of_own_name(super::name_typed(text, image, registries).as_ref(), text)
}

/// Returns the destination in the registry of an image's own name. Errors: no name, or none of a registry.
fn place_of_own_name(name: Option<&Reference>, text: &str) -> Result<ImageLocation> {
    let example = "usnea push IMAGE REGISTRY/NAME[:TAG]";
    let Some(name) = name else {
        let error = format!("{}: the image has no name in a registry", text.escape_debug());
        return Err(Error::invalid(error).hint(format!("name the destination: {example}")));
    };
    place_of_name(name, example)
}

/// Returns the destination in the registry of a name. Errors: a name under `localhost`; the hint shows `example`.
pub(super) fn place_of_name(name: &Reference, example: &str) -> Result<ImageLocation> {
    if name.registry == LOCALHOST {
        let error = format!("{name} is a name of this machine alone");
        return Err(Error::invalid(error).hint(format!("name the destination: {example}")));
    }
    Ok(ImageLocation::Registry(name.to_string().parse()?))
}

pub(super) fn registry(
    reference: &Reference,
    registries: &Registries,
    asked: &RegistryOptions,
) -> Result<Registry> {
    if let Some(digest) = &reference.digest {
        let error = format!("{reference}: nothing is pushed to a digest, only to a tag");
        return Err(Error::invalid(error).hint(format!("leave out @{digest}")));
    }
    let endpoint = registries.push_endpoint(reference, asked)?;
    Registry::new(endpoint, reference.which(), RegistryAccess::Push)
}

pub(super) fn local(
    place: &ImageLocation,
    output: Option<&File>,
    tmp: &Path,
) -> Result<Box<dyn ImageTarget>> {
    Ok(match place {
        ImageLocation::Registry(_) => fail!(Invalid: "{place}: a registry"),
        ImageLocation::Oci { dir, reference } => {
            Box::new(LayoutTarget::open(dir, reference.clone())?)
        }
        ImageLocation::OciArchive { file, reference } => Box::new(OciArchiveTarget::create(
            &ArchiveSink::named(file, output)?,
            reference.clone(),
        )?),
        ImageLocation::DockerArchive { file, image } => {
            let names = match image {
                None => Vec::new(),
                Some(ArchiveSelector::Named(typed)) => vec![typed.in_registry(DOCKER_HUB)],
                Some(ArchiveSelector::At(_)) => {
                    return Err(Error::invalid(format!(
                        "{place}: an archive is written as a whole"
                    ))
                    .hint("@N says which image is read; leave it out"));
                }
            };
            Box::new(DockerArchiveTarget::create(&ArchiveSink::named(file, output)?, tmp, names)?)
        }
    })
}

/// Records the digest of the image in the registry. Does nothing for an image in a read-only store.
fn record(
    stores: &Stores,
    store: &Store,
    image: &ImageRecord,
    reference: &Reference,
    digest: &Digest,
) -> Result<()> {
    if !stores.is_changeable(store) {
        return Ok(());
    }
    let there = Reference { tag: None, digest: Some(digest.clone()), ..reference.clone() };
    store.change_images(|images| {
        // Another command may have removed the image as soon as it was pushed.
        if images.of_manifest(&image.manifest).is_some() {
            images.add(ImageRecord { names: Vec::new(), digests: vec![there], ..image.clone() });
        }
        Ok(())
    })
}
