//! `usnea pull`: reads all settings and policies, then pulls in the base user namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive_names::{Naming, names};
use crate::config::{LayerLimits, Settings};
use crate::container::Usnea;
use crate::container::node_cache::NodeCache;
use crate::container::stores::{self, Stores};
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint;
use crate::image::Reference;
use crate::image::archive::plain::ArchiveSource;
use crate::image::archive::{open_docker, open_oci};
use crate::image::endpoint::RegistryEndpoint;
use crate::image::layout::OciLayout;
use crate::image::manifest::Platform;
use crate::image::owners::Owners;
use crate::image::policy::{ImageOrigin, SignaturePolicy};
use crate::image::pull::{self, TransferProgress};
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::{Registry, RegistryAccess};
use crate::image::source::ImageSource;
use crate::image::store::{ImageRecord, ImageRemoval, Store, StoreSource};
use crate::image::transport::ImageLocation;
use crate::userns::{self, Base};

/// Number of layers pulled at once, unless the settings set `parallel_downloads`.
pub(super) const PARALLEL: usize = 4;

/// Image to pull.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Source of the image.
    pub place: ImageLocation,
    /// Stream that an archive called `-` is read from.
    pub input: Option<Arc<File>>,
    /// Platform of the image to take from an index; `None`: this machine's.
    pub platform: Option<Platform>,
    /// Settings of registries from the command line.
    pub asked: RegistryOptions,
    /// File with the signature policy (`--signature-policy`); `None`: the default files.
    pub signature_policy: Option<PathBuf>,
}

/// Reference that a typed name may mean, and the registry endpoints to try for it.
pub(super) struct Candidate {
    reference: Reference,
    endpoints: Vec<RegistryEndpoint>,
}

/// Pull with all that is read before the base namespace is entered: candidates, settings, policy.
pub(super) struct PreparedPull<'a> {
    pull: &'a Pull,
    action: &'static str,
    candidates: Vec<Candidate>,
    platform: Platform,
    settings: Settings,
    policy: SignaturePolicy,
}

/// Inputs of the work in the base namespace.
struct Work<'a> {
    prepared: &'a PreparedPull<'a>,
    store: &'a Store,
    owners: &'a Owners,
    progress: &'a dyn TransferProgress,
}

/// Pulls the image into the node cache or the user's own store. Errors name the registries and files that were tried.
pub fn pull(usnea: &Usnea, pull: &Pull, progress: &dyn TransferProgress) -> Result<ImageRecord> {
    pull_into_store(usnea, pull, progress).map(|(_, image)| image)
}

/// Pulls the image. Returns its store, too: the node cache for an image of a registry, if there is a cache and the
/// user's own store has no image of that name; else the user's own store.
pub fn pull_into_store(
    usnea: &Usnea,
    pull: &Pull,
    progress: &dyn TransferProgress,
) -> Result<(Store, ImageRecord)> {
    let (stores, base) = (usnea.images()?, usnea.base()?);
    let prepared = PreparedPull::new(pull, Some(stores), "pull")?;
    let cached = match cache_for(stores, &pull.place)? {
        Some(cache) => pull_into_cache(stores, base, &prepared, cache, progress)?,
        None => None,
    };
    let (store, pulled) = match cached {
        Some(pulled) => pulled,
        None => {
            let (store, owners) = (stores.own(), stores::owners(base, stores.own()));
            let pulled = userns::in_base(base, || {
                store.sweep();
                prepared.run(store, &owners, progress)
            })?;
            (store.clone(), pulled)
        }
    };
    stores.take_names(&store, &pulled.names);
    warn_of_platform(&pulled, pull.platform.as_ref());
    super::log_image_event(stores, &pulled.config, "pull", Some(pull.place.to_string()));
    Ok((store, pulled))
}

/// Returns the node cache if an image from `place` is pulled into it. Only a registry has the image again later.
pub(super) fn cache_for<'a>(
    stores: &'a Stores,
    place: &ImageLocation,
) -> Result<Option<&'a NodeCache>> {
    match place {
        ImageLocation::Registry(typed) => {
            stores.cache_for(&stores::meanings(typed, &Registries::load()?))
        }
        _ => Ok(None),
    }
}

/// Pulls the image into the cache. `None`: there is no room on its disk, even without all images that are not in use.
fn pull_into_cache(
    stores: &Stores,
    base: &Base,
    prepared: &PreparedPull<'_>,
    cache: &NodeCache,
    progress: &dyn TransferProgress,
) -> Result<Option<(Store, ImageRecord)>> {
    let owners = stores::owners(base, &cache.store);
    let filled = fill(base, cache, || prepared.run(&cache.store, &owners, progress));
    match filled {
        Ok((image, evicted)) => {
            log_evictions(stores, &evicted);
            Ok(Some((cache.store.clone(), image)))
        }
        Err(error) if error.kind() == ErrorKind::Full => {
            let own = stores.own().root().display();
            log::warn!("{error}: the image is pulled into {own}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Does `pull`, which brings an image into the cache, and makes room for it: afterwards if the cache is larger than its
/// limit, before a second try if the disk is full. Returns the image, and those that were removed.
fn fill(
    base: &Base,
    cache: &NodeCache,
    pull: impl Fn() -> Result<ImageRecord>,
) -> Result<(ImageRecord, Vec<ImageRemoval>)> {
    userns::in_base(base, || {
        cache.store.sweep();
        let (image, mut evicted) = match pull() {
            Err(error) if error.kind() == ErrorKind::Full => {
                let evicted = cache.store.evict(0, None)?;
                (pull()?, evicted)
            }
            pulled => (pulled?, Vec::new()),
        };
        evicted.extend(cache.trim(&image.manifest));
        Ok((image, evicted))
    })
}

/// Returns the copy of an image in the node cache; copies it first if it is not there. Returns the image itself without a
/// cache, if it is on the same disk, and if it cannot be copied, with a warning.
pub fn cached(
    usnea: &Usnea,
    found: (Store, ImageRecord),
    progress: &dyn TransferProgress,
) -> Result<(Store, ImageRecord)> {
    let (stores, base) = (usnea.images()?, usnea.base()?);
    let Some(cache) = stores.cache().filter(|cache| !cache.is_beside(&found.0)) else {
        return Ok(found);
    };
    let owners = stores::owners(base, &cache.store);
    let is_whole = |image: &&ImageRecord| cache.store.is_whole(image, &owners);
    let images = cache.store.images().unwrap_or_default();
    if let Some(copy) = images.of_config(&found.1.config).find(is_whole) {
        return Ok((cache.store.clone(), copy.clone()));
    }
    let copy = pull::ImagePull {
        action: "copy",
        store: &cache.store,
        platform: &found.1.platform,
        names: &[],
        owners: &owners,
        limits: &LayerLimits::NONE,
        parallel: usnea.settings()?.parallel_downloads.unwrap_or(PARALLEL),
        progress,
        approve: &|_| Ok(()),
    };
    let source = StoreSource { store: &found.0, image: &found.1 };
    match fill(base, cache, || copy.run(&source)) {
        Ok((image, evicted)) => {
            log_evictions(stores, &evicted);
            Ok((cache.store.clone(), image))
        }
        Err(error) => {
            log::warn!("{error}: the image is used from {}", found.0.root().display());
            Ok(found)
        }
    }
}

/// Records the removals from the node cache for `usnea events`.
pub(super) fn log_evictions(stores: &Stores, evicted: &[ImageRemoval]) {
    for removal in evicted {
        log::info!("removed from the node cache: {:?}", removal.untagged);
        if let Some(id) = &removal.deleted {
            super::log_image_event(stores, id, "delete", None);
        }
    }
}

impl<'a> PreparedPull<'a> {
    /// Prepares a pull. `stores`: those whose names a short name may mean. `action`: verb for error messages. Errors: an
    /// image that no registry has, unreadable settings, a refusal of the policy.
    pub(super) fn new(
        pull: &'a Pull,
        stores: Option<&Stores>,
        action: &'static str,
    ) -> Result<Self> {
        let policy = pull
            .signature_policy
            .as_deref()
            .map_or_else(SignaturePolicy::load, SignaturePolicy::load_from)?;
        Ok(Self {
            pull,
            action,
            candidates: candidates(stores, pull, &policy)?,
            platform: pull.platform.clone().unwrap_or_else(Platform::host),
            settings: Settings::load()?,
            policy,
        })
    }

    /// Pulls the image into `store`, with its layers' owners in this form. Runs in the base namespace.
    pub(super) fn run(
        &self,
        store: &Store,
        owners: &Owners,
        progress: &dyn TransferProgress,
    ) -> Result<ImageRecord> {
        let work = Work { prepared: self, store, owners, progress };
        match &self.pull.place {
            ImageLocation::Registry(_) => {
                first_of(&self.candidates, |from, name| work.remote(from, name))
            }
            place => work.local(place),
        }
    }
}

/// Returns the default platform of images, from docker's variable `DOCKER_DEFAULT_PLATFORM`. `None`: this machine's.
/// Errors: an invalid value.
pub fn default_platform() -> Result<Option<Platform>> {
    const VARIABLE: &str = "DOCKER_DEFAULT_PLATFORM";
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let platform = text.to_string_lossy().parse().map_err(|error: String| Error::invalid(error));
    platform.map(Some).context(|| VARIABLE)
}

/// Warns where the only available image is not for the platform `asked`.
pub(super) fn warn_of_platform(image: &ImageRecord, asked: Option<&Platform>) {
    if let Some(asked) = asked.filter(|asked| image.platform.rank(asked).is_none()) {
        log::warn!("the image is for {}, not for {asked}: there is no other", image.platform);
    }
}

/// Returns the images that the name of `pull` may mean. Errors: none; the policy rejects one.
pub(super) fn candidates(
    stores: Option<&Stores>,
    pull: &Pull,
    policy: &SignaturePolicy,
) -> Result<Vec<Candidate>> {
    let ImageLocation::Registry(typed) = &pull.place else { return Ok(Vec::new()) };
    let registries = Registries::load()?;
    let given_here = stores.map(|stores| stores.given_here(typed)).transpose()?.flatten();
    // Pulling would not help: afterwards the short name would still mean the image `localhost/NAME`.
    if let Some(name) = given_here {
        let elsewhere: Vec<String> =
            registries.candidates(typed)?.iter().map(Reference::to_string).collect();
        let error = format!("{name} is an image that was named here, and no registry has it");
        return Err(Error::new(error)
            .at_endpoint(ErrorKind::NotFound)
            .hint(format!("to pull an image of a registry type {}", elsewhere.join(" or "))));
    }
    let one = |reference: Reference| {
        policy.check_before(&ImageOrigin::registry(&reference))?;
        let endpoints = registries.pull_endpoints(&reference, &pull.asked)?;
        Ok(Candidate { reference, endpoints })
    };
    let all = registries.candidates(typed)?;
    if all.is_empty() {
        let name = typed.repository.escape_debug();
        let error = format!("'{name}' names no registry, and registries.conf has none to look in");
        return Err(Error::new(error).at_endpoint(ErrorKind::NotFound).hint(
            "type the whole name, such as docker.io/library/NAME, or fill unqualified-search-registries",
        ));
    }
    all.into_iter().map(one).collect()
}

/// Returns the images of all tags of the repository in `pull`. Errors: a name with a tag or a digest, or not of a
/// registry; see [`first_of`].
pub fn all_tags(usnea: &Usnea, pull: &Pull) -> Result<Vec<ImageLocation>> {
    let stores = usnea.images()?;
    let typed = match &pull.place {
        ImageLocation::Registry(typed) if typed.tag.is_none() && typed.digest.is_none() => typed,
        place => {
            let error = format!("{place} is not a repository of a registry, whose tags are pulled");
            return Err(Error::invalid(error).hint(hint::NO_TAG));
        }
    };
    let policy = pull
        .signature_policy
        .as_deref()
        .map_or_else(SignaturePolicy::load, SignaturePolicy::load_from)?;
    let asked = Pull { place: ImageLocation::Registry(typed.clone()), ..pull.clone() };
    let candidates = candidates(Some(stores), &asked, &policy)?;
    let names: Vec<String> = userns::in_base(usnea.base()?, || {
        first_of(&candidates, |registry, reference| {
            let named = |tag| Reference { tag: Some(tag), ..reference.clone() }.to_string();
            Ok(registry.tags()?.into_iter().map(named).collect())
        })
    })?;
    names.iter().map(|name| name.parse::<ImageLocation>()).collect()
}

/// Returns the current digest of the name at its registry. Errors: no such image; see [`first_of`].
pub fn registry_digest(usnea: &Usnea, pull: &Pull) -> Result<Digest> {
    let stores = usnea.images()?;
    let policy = pull
        .signature_policy
        .as_deref()
        .map_or_else(SignaturePolicy::load, SignaturePolicy::load_from)?;
    let candidates = candidates(Some(stores), pull, &policy)?;
    userns::in_base(usnea.base()?, || {
        first_of(&candidates, |registry, reference| {
            let absent = || {
                Error::new(format!("{reference} does not exist")).at_endpoint(ErrorKind::NotFound)
            };
            registry.head_manifest()?.ok_or_else(absent)
        })
    })
}

/// Calls `work` for the registries that may have the image of `pull`, until one has it. Errors: see [`first_of`].
pub(super) fn of_registries<T>(
    stores: &Stores,
    pull: &Pull,
    work: impl Fn(&Registry, &Reference) -> Result<T>,
) -> Result<T> {
    first_of(&candidates(Some(stores), pull, &SignaturePolicy::load()?)?, work)
}

/// Calls `work` for each endpoint until one has the image, and returns its result. Errors: no endpoint has it; names
/// each with its reason. An error that does not depend on the endpoint is returned at once.
pub(super) fn first_of<T>(
    candidates: &[Candidate],
    work: impl Fn(&Registry, &Reference) -> Result<T>,
) -> Result<T> {
    let mut failures = Vec::new();
    for Candidate { reference, endpoints } in candidates {
        for endpoint in endpoints {
            let registry =
                Registry::new(endpoint.clone(), reference.which(), RegistryAccess::Pull)?;
            match work(&registry, reference) {
                Err(error) if error.is_endpoint_specific() => {
                    log::info!("{error}");
                    failures.push(error);
                }
                answer => return answer,
            }
        }
    }
    Err(all_of(failures))
}

fn all_of(mut failures: Vec<Error>) -> Error {
    match failures.len() {
        0 => return Error::new("registries.conf leaves no place to pull from"),
        1 => return failures.remove(0),
        _ => {}
    }
    let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
    // An unreachable endpoint may have the image: then it is unknown whether the image exists.
    let unreachable = failures.iter().any(|error| error.kind() == ErrorKind::Unreachable);
    let kind = if unreachable { ErrorKind::Unreachable } else { ErrorKind::NotFound };
    let error = Error::new(all.join("; ")).at_endpoint(kind);
    match failures.iter().find_map(Error::hint_text) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl Work<'_> {
    fn remote(&self, registry: &Registry, reference: &Reference) -> Result<ImageRecord> {
        let origin = ImageOrigin::registry(reference);
        let policy = &self.prepared.policy;
        let approve =
            |digest: &Digest| policy.verify(&origin, digest, &|tag| registry.sibling(tag));
        self.from(registry, std::slice::from_ref(reference), &approve)
    }

    fn archive(&self, file: &Path) -> Result<ArchiveSource> {
        ArchiveSource::named(file, self.prepared.pull.input.as_deref())
    }

    /// Returns the path that a signature policy can name: the content of a stream is buffered in the store's tmp/.
    fn named_path(&self, file: &Path) -> PathBuf {
        if file == Path::new("-") { self.store.tmp() } else { file.to_owned() }
    }

    fn local(&self, place: &ImageLocation) -> Result<ImageRecord> {
        let tmp = self.store.tmp();
        let (source, texts, naming, origin): (Box<dyn ImageSource>, _, _, _) = match place {
            ImageLocation::Registry(typed) => {
                return Err(Error::new(format!("{typed:?}: a registry")));
            }
            ImageLocation::Oci { dir, reference } => {
                let source = OciLayout::open(dir)?.image(reference.as_deref())?;
                let named = dir.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
                let text = match reference {
                    Some(name) if name.contains([':', '/']) => name.clone(),
                    Some(tag) => format!("{named}:{tag}"),
                    None => named,
                };
                let origin = ImageOrigin::local("oci", dir, reference.as_deref())?;
                (Box::new(source), vec![text], Naming::Oci, origin)
            }
            ImageLocation::OciArchive { file, reference } => {
                let source = open_oci(&self.archive(file)?, &tmp)?.image(reference.as_deref())?;
                let origin = ImageOrigin::local(
                    "oci-archive",
                    &self.named_path(file),
                    reference.as_deref(),
                )?;
                let texts = reference.iter().cloned().collect();
                (Box::new(source), texts, Naming::Oci, origin)
            }
            ImageLocation::DockerArchive { file, image } => {
                let archive = open_docker(&self.archive(file)?, &tmp)?;
                let number = archive.find(image.as_ref())?;
                let origin = ImageOrigin::local("docker-archive", &self.named_path(file), None)?;
                let source = archive.image(number)?;
                (Box::new(source), archive.names(number), Naming::Docker, origin)
            }
        };
        let policy = &self.prepared.policy;
        policy.check_before(&origin)?;
        let approve = |digest: &Digest| policy.verify(&origin, digest, &|_| Ok(None));
        self.from(&*source, &names(&texts, naming), &approve)
    }

    fn from(
        &self,
        source: &dyn ImageSource,
        names: &[Reference],
        approve: &(dyn Fn(&Digest) -> Result<()> + Sync),
    ) -> Result<ImageRecord> {
        let PreparedPull { action, platform, settings, .. } = self.prepared;
        let pull = pull::ImagePull {
            action,
            store: self.store,
            platform,
            names,
            owners: self.owners,
            limits: &settings.limits,
            parallel: settings.parallel_downloads.unwrap_or(PARALLEL),
            progress: self.progress,
            approve,
        };
        pull.run(source)
    }
}

/// Unpacks the missing layers of the image, with owners in the form that this user's store needs.
pub fn prepare(
    base: &Base,
    store: &Store,
    image: &ImageRecord,
    progress: &dyn TransferProgress,
) -> Result<()> {
    let owners = stores::owners(base, store);
    let on_wait = || progress.waiting(None);
    userns::in_base(base, || pull::unpack_missing(store, image, &owners, &on_wait))
        .context(|| format!("image {}", image.config.short()))
}
