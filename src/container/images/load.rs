//! `usnea load`: adds all images of an archive, of an OCI layout's folder, of a squashfs or of a SIF file, to
//! the store.
//!
//! A name in a docker-archive is completed as docker does (`debian` becomes `docker.io/library/debian`). A name in an
//! OCI layout is kept if it contains a registry. Any other name, such as the bare tag that many tools write, becomes
//! `localhost/NAME`, as with podman. It need not mean an image of docker's registry.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archive_names::{Naming, names};
use super::pull::warn_of_platform;
use crate::config::{LayerLimits, Settings};
use crate::container::Usnea;
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::Reference;
use crate::image::archive::plain::{self, ArchiveSource};
use crate::image::archive::{ArchivedImage, ImageArchive};
use crate::image::compose::{ComposedImage, NewLayerForm};
use crate::image::manifest::Platform;
use crate::image::owners::Owners;
use crate::image::policy::{ImageOrigin, SignaturePolicy};
use crate::image::pull::{ImagePull, TransferProgress};
use crate::image::sif::{self, SifImage, SifUse};
use crate::image::source::ImageSource;
use crate::image::squashfs::{self, LayersInFile};
use crate::image::store::{ImageRecord, Store};
use crate::userns::{self};

/// Archive or layout to load.
#[derive(Debug)]
pub struct Load {
    /// Archive, or folder of an OCI layout.
    pub input: LoadInput,
    /// Platform of the image to take from an index; `None`: this machine's.
    pub platform: Option<Platform>,
}

/// Source of images to load.
#[derive(Debug)]
pub enum LoadInput {
    /// Archive, or folder of an OCI layout.
    Path(PathBuf),
    /// Archive of the caller, such as standard input.
    Stream(File),
}

/// Loaded image.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LoadedImage {
    /// Names that the image has now.
    pub names: Vec<Reference>,
    /// ID of the image.
    pub id: Digest,
    /// Names of the image whose short form means another image.
    #[serde(default)]
    pub hidden: Vec<Reference>,
}

/// Loads all images. Images loaded before a failure stay.
pub fn load(
    usnea: &Usnea,
    load: &Load,
    progress: &dyn TransferProgress,
) -> Result<Vec<LoadedImage>> {
    let stores = usnea.images()?;
    let (base, settings, policy) = (usnea.base()?, Settings::load()?, SignaturePolicy::load()?);
    let store = stores.own();
    let owners = stores::owners(base, store);
    let loaded: Vec<LoadedImage> = userns::in_base(base, || {
        let place = match &load.input {
            LoadInput::Path(path) => path.clone(),
            // The content of a stream is buffered in tmp/: the path that a signature policy can name.
            LoadInput::Stream(_) => store.tmp(),
        };
        let accept_sif =
            |file: &File, sif: &SifImage| sif.approve(&policy, file, &place, SifUse::Root);
        let OpenedInput { images, naming, transport } =
            open(&load.input, &store.tmp(), &accept_sif)?;
        let (mut all, mut artifact) = (Vec::new(), None);
        let work = LoadWork { store, load, owners, settings, policy: &policy, progress };
        for (texts, source) in images {
            let names = names(&texts, naming);
            let which = texts.first().map(String::as_str);
            let origin = transport.map(|name| ImageOrigin::local(name, &place, which));
            let image = match work.load_one(&*source, origin.transpose()?.as_ref(), &names) {
                Err(error) if error.kind() == ErrorKind::Artifact => {
                    log::warn!("{error}: left out");
                    artifact = Some(error);
                    continue;
                }
                image => image?,
            };
            let hidden = stores.hidden(&names)?;
            all.push(LoadedImage { names, id: image.config, hidden });
        }
        // An archive without any image: the artifact in it is the reason why none was loaded.
        match artifact {
            Some(error) if all.is_empty() => Err(error),
            _ => Ok(all),
        }
    })?;
    for one in &loaded {
        stores.take_names(store, &one.names);
        super::log_image_event(stores, &one.id, "load", one.names.first().map(ToString::to_string));
    }
    Ok(loaded)
}

/// Inputs of the work in the base namespace.
struct LoadWork<'a> {
    store: &'a Store,
    load: &'a Load,
    owners: Owners,
    settings: Settings,
    policy: &'a SignaturePolicy,
    progress: &'a dyn TransferProgress,
}

impl LoadWork<'_> {
    /// Loads an image. `origin`: what the policy judges; `None`: it has accepted the image.
    fn load_one(
        &self,
        source: &dyn ImageSource,
        origin: Option<&ImageOrigin>,
        names: &[Reference],
    ) -> Result<ImageRecord> {
        origin.map_or(Ok(()), |origin| self.policy.check_before(origin))?;
        // Only registries and SIF files have signatures: a policy that requires one accepts no other image.
        let approve = |digest: &Digest| {
            origin.map_or(Ok(()), |origin| self.policy.verify(origin, digest, &|_| Ok(None)))
        };
        let pull = ImagePull {
            action: "load",
            store: self.store,
            platform: &self.load.platform.clone().unwrap_or_else(Platform::host),
            names,
            owners: &self.owners,
            limits: &LayerLimits::NONE,
            parallel: self.settings.parallel_downloads.unwrap_or(2),
            progress: self.progress,
            approve: &approve,
        };
        let image = pull.run(source)?;
        warn_of_platform(&image, self.load.platform.as_ref());
        Ok(image)
    }
}

/// Images of an input, and the rules for them.
struct OpenedInput {
    images: Vec<ArchivedImage>,
    naming: Naming,
    /// Transport that a signature policy can name. `None`: the policy has accepted the images.
    transport: Option<&'static str>,
}

/// Check of an open SIF file by the signature policy.
type SifAcceptance<'a> = dyn Fn(&File, &SifImage) -> Result<()> + 'a;

fn open(input: &LoadInput, tmp: &Path, accept_sif: &SifAcceptance<'_>) -> Result<OpenedInput> {
    let (file, name) = match input {
        LoadInput::Path(path) if path.is_dir() => {
            let archive = ImageArchive::open(path, tmp)?;
            let images = found(&archive, input)?;
            return Ok(OpenedInput { images, naming: Naming::Oci, transport: Some("oci") });
        }
        LoadInput::Path(path) => {
            let source = ArchiveSource::File(path.clone());
            (plain::open_plain(&source, tmp)?, path.display().to_string())
        }
        LoadInput::Stream(file) => {
            let name = "standard input";
            let file = file.try_clone().context(|| input.to_string())?;
            (plain::plain(file, tmp).context(|| name)?, name.to_owned())
        }
    };
    if squashfs::is_squashfs(&file) {
        let squashfs = squashfs::open(file, &name, tmp).context(|| name.clone())?;
        let images = vec![(squashfs.names, Box::new(squashfs.image) as _)];
        let transport = Some(squashfs::TRANSPORT);
        return Ok(OpenedInput { images, naming: Naming::Oci, transport });
    }
    if sif::is_sif(&file) {
        let image = open_sif(file, &name, tmp, accept_sif).context(|| name.clone())?;
        let images = vec![(Vec::new(), Box::new(image) as _)];
        return Ok(OpenedInput { images, naming: Naming::Oci, transport: None });
    }
    let archive = ImageArchive::open_file(file, &name, tmp)?;
    let images = found(&archive, input)?;
    let (naming, transport) = match archive {
        ImageArchive::Docker(_) => (Naming::Docker, "docker-archive"),
        ImageArchive::Oci(_) => (Naming::Oci, "oci-archive"),
    };
    Ok(OpenedInput { images, naming, transport: Some(transport) })
}

/// Opens the image of a SIF file, called `name` in messages. It has no name of its own.
fn open_sif(
    file: File,
    name: &str,
    tmp: &Path,
    accept: &SifAcceptance<'_>,
) -> Result<ComposedImage> {
    let sif = SifImage::open(&file)?;
    accept(&file, &sif)?;
    sif.warn_of_overlays();
    let (offsets, configuration) = (sif.offsets(), &*sif.configuration);
    let layers = LayersInFile { file: &file, offsets: &offsets, configuration, name };
    layers.compose(tmp, NewLayerForm::Plain)
}

impl fmt::Display for LoadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stream(_) => f.write_str("-"),
        }
    }
}

fn found(archive: &ImageArchive, input: &LoadInput) -> Result<Vec<ArchivedImage>> {
    let found = archive.images()?;
    match found.is_empty() {
        true => Err(Error::invalid(format!("{input}: it contains no image"))),
        false => Ok(found),
    }
}
