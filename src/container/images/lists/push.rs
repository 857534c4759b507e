//! `usnea manifest push`: the images of a list, each under its digest, then the list under its name.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::super::NoProgress;
use super::super::push::{local, place_of_name, registry};
use super::entries::checked;
use super::{find, format_of};
use crate::config::Settings;
use crate::container::Usnea;
use crate::container::stores::Stores;
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::hint;
use crate::image::file_range::FileRange;
use crate::image::list::{IndexEntry, ListFormat, ListedManifest, ManifestList};
use crate::image::manifest::{Descriptor, Manifest, ManifestDocument};
use crate::image::push::{ImagePush, LayerForm, ManifestFormat, PushedManifest};
use crate::image::pushed_image::PushedImage;
use crate::image::reference::{DOCKER_HUB, Reference};
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::{Registry, RegistryAccess};
use crate::image::source::{ImageSource, ImageTarget};
use crate::image::transport::ImageLocation;

/// List to push, and its destination.
#[derive(Clone, Debug)]
pub struct PushList {
    /// Name or ID of the list.
    pub list: String,
    /// Destination of the list; `None`: the registry of its own name.
    pub destination: Option<ImageLocation>,
    /// Stream that an archive called `-` is written to.
    pub output: Option<Arc<File>>,
    /// Settings of registries from the command line.
    pub asked: RegistryOptions,
    /// True if the list's images are sent too; else the registry must have them.
    pub all: bool,
    /// Format of the list; `None`: the format that can hold all its entries unchanged.
    pub format: Option<ListFormat>,
}

/// Pushes a list. Returns the destination, and the pushed content.
pub fn push_list(usnea: &Usnea, push: &PushList) -> Result<(ImageLocation, PushedManifest)> {
    let stores = usnea.images()?;
    let registries = Registries::load()?;
    let mut list = find(stores, &push.list)?;
    let place = match &push.destination {
        Some(place) => place.clone(),
        None => place_of_name(&list.name, "usnea manifest push LIST REGISTRY/NAME[:TAG]")?,
    };
    let folder = stores.own().work_folder()?;
    let tmp = folder.path();
    let target: Box<dyn ImageTarget> = match &place {
        ImageLocation::Registry(typed) => {
            let reference = typed.in_registry(DOCKER_HUB);
            Box::new(registry(&reference, &registries, &push.asked)?)
        }
        ImageLocation::DockerArchive { .. } => {
            let error = format!("{place}: a docker-archive holds no manifest list");
            return Err(Error::invalid(error).hint("push it to oci-archive:FILE"));
        }
        place => local(place, push.output.as_deref(), tmp)?,
    };
    let sender = Sender {
        stores,
        push,
        registries: &registries,
        target: &*target,
        is_remote: matches!(place, ImageLocation::Registry(_)),
        tmp,
    };
    sender
        .send(&mut list)
        .context(|| format!("cannot push {} to {place}", list.name))
        .and_then(|pushed| target.finish().map(|()| (place.clone(), pushed)))
}

struct Sender<'a> {
    stores: &'a Stores,
    push: &'a PushList,
    registries: &'a Registries,
    target: &'a dyn ImageTarget,
    is_remote: bool,
    tmp: &'a Path,
}

impl Sender<'_> {
    fn send(&self, list: &mut ManifestList) -> Result<PushedManifest> {
        let format = format_of(list, self.push.format);
        if self.push.all {
            for listing in &mut list.entries {
                let digest = listing.entry.digest.clone();
                self.send_image(listing, format).context(|| digest.to_string())?;
            }
        }
        let document = list.document(format_of(list, self.push.format))?;
        let bytes = serde_json::to_vec(&document).map_err(Error::new)?;
        let media_type = document["mediaType"].as_str().unwrap_or_default().to_owned();
        self.target.put_manifest(None, &media_type, &bytes)?;
        Ok(PushedManifest { digest: Digest::of(&bytes), media_type, size: bytes.len() as u64 })
    }

    /// Sends an image; updates the entry to the sent manifest.
    fn send_image(&self, listing: &mut ListedManifest, format: ListFormat) -> Result<()> {
        let entry = &mut listing.entry;
        for list in self.stores.lists() {
            let (store, images) = list?;
            let Some(image) = images.of_manifest(&entry.digest) else { continue };
            let form = if self.is_remote { LayerForm::Packed } else { LayerForm::AsStored };
            let parcel = ImagePush {
                image: PushedImage::Stored { store, image },
                form,
                format: match (self.push.format, self.is_remote) {
                    (_, false) => ManifestFormat::Oci,
                    (None, true) => ManifestFormat::AsStored,
                    (Some(_), true) if format == ListFormat::Docker => ManifestFormat::Docker,
                    (Some(_), true) => ManifestFormat::Oci,
                },
                tmp: self.tmp,
                parallel: Settings::load()?.parallel_downloads.unwrap_or(1),
                progress: &NoProgress,
            };
            let pushed = parcel.run(&ByDigest(self.target))?;
            entry.digest = pushed.digest;
            entry.media_type = pushed.media_type;
            entry.size = pushed.size;
            return Ok(());
        }
        let Some(origin) = &listing.origin else {
            return Err(Error::new("the image is not here any more")
                .at_endpoint(ErrorKind::NotFound)
                .hint(hint::LIST_ALONE));
        };
        self.copy(origin, entry)
    }

    /// Copies an image from the registry that has it.
    fn copy(&self, origin: &Reference, entry: &IndexEntry) -> Result<()> {
        let mut failure = Error::new("registries.conf leaves no place to pull from");
        for endpoint in self.registries.pull_endpoints(origin, &self.push.asked)? {
            let source = Registry::new(endpoint, origin.which(), RegistryAccess::Pull)?;
            match self.copy_from(&source, entry) {
                Err(error) if error.is_endpoint_specific() => failure = error,
                answer => return answer,
            }
        }
        Err(failure)
    }

    fn copy_from(&self, source: &Registry, entry: &IndexEntry) -> Result<()> {
        let bytes = source.manifest(Some(&entry.digest))?.bytes;
        checked(&bytes, Some(&entry.digest)).context(|| ImageSource::describe(source))?;
        let ManifestDocument::Manifest(Manifest { config, layers, .. }) =
            ManifestDocument::parse(&bytes, None)?
        else {
            fail!("{} is an index in an index", entry.digest);
        };
        for blob in layers.iter().chain([&config]) {
            if !self.target.has_blob(blob)? {
                let file = self.fetched(source, blob)?;
                let open = || Ok(file.file()?);
                self.target.put_blob(blob, &open, &|_| ())?;
            }
        }
        self.target.put_manifest(Some(&entry.digest), &entry.media_type, &bytes)
    }

    /// Downloads a blob of a registry to an unnamed temporary file, and verifies its digest.
    fn fetched(&self, source: &Registry, blob: &Descriptor) -> Result<FileRange> {
        let mut file = tempfile::tempfile_in(self.tmp)
            .map_err(|error| crate::files::cannot_write(error, self.tmp))?;
        let mut hasher = Hasher::new(blob.digest.algorithm());
        let mut room = vec![0; 256 << 10];
        let mut reader = source.blob(blob, 0)?.take(blob.size.saturating_add(1));
        loop {
            let length = reader.read(&mut room).context(|| format!("blob {}", blob.digest))?;
            let Some(bytes) = room.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            file.write_all(bytes).map_err(|error| crate::files::cannot_write(error, self.tmp))?;
        }
        if hasher.finish() != blob.digest {
            fail!(
                "{}: blob {} is not what its digest says",
                ImageSource::describe(source),
                blob.digest
            );
        }
        Ok(FileRange::whole(file)?)
    }
}

/// Target that stores each manifest under its digest alone, since a tag is only for the index.
struct ByDigest<'a>(&'a dyn ImageTarget);

impl ImageTarget for ByDigest<'_> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        self.0.has_blob(descriptor)
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        self.0.put_blob(descriptor, open, progress)
    }

    fn put_manifest(&self, _: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()> {
        self.0.put_manifest(Some(&Digest::of(bytes)), media_type, bytes)
    }
}
