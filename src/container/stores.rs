//! Image stores: the node cache, the user's own, and read-only ones.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::node_cache::NodeCache;
use crate::config::Settings;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::image::owners::Owners;
use crate::image::reference::{LOCALHOST, Reference, TypedReference};
use crate::image::registries_conf::Registries;
use crate::image::store::{ImageList, ImageRecord, Store};
use crate::userns::Base;

/// All image stores: the node cache, the user's own, and those that are only read.
#[derive(Clone, Debug)]
pub struct Stores {
    cache: Option<NodeCache>,
    own: Store,
    others: Vec<Store>,
    /// Stores that a warning has named.
    left_out: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Stores {
    /// Opens the user's own store and the node cache, or makes them, and opens the stores of the settings for reading.
    /// Errors: another user controls the node cache.
    pub fn open(root: &Path, settings: &Settings) -> Result<Self> {
        let own = Store::open(root)?;
        let cache = settings.node_cache.as_ref().filter(|cache| cache.folder != root);
        let cache = cache.map(|settings| NodeCache::open(settings, root)).transpose()?.flatten();
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root));
        Ok(Self { cache, own, others: others.collect(), left_out: Arc::default() })
    }

    /// Opens all stores for reading only. Makes neither the user's own store nor the node cache.
    pub fn look(root: &Path, settings: &Settings) -> Self {
        let cache = settings.node_cache.as_ref().filter(|cache| cache.folder != root);
        let cache = cache.and_then(NodeCache::look);
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root)).collect();
        Self { cache, own: Store::open_read_only(root), others, left_out: Arc::default() }
    }

    /// The user's own store.
    pub fn own(&self) -> &Store {
        &self.own
    }

    /// The node cache; `None`: the settings name none, or it cannot be used.
    pub fn cache(&self) -> Option<&NodeCache> {
        self.cache.as_ref()
    }

    /// Stores that are only read.
    pub fn others(&self) -> &[Store] {
        &self.others
    }

    /// Stores whose images this user changes: the node cache, and the user's own.
    pub fn changeable(&self) -> impl Iterator<Item = &Store> {
        self.cache.iter().map(|cache| &cache.store).chain([&self.own])
    }

    /// True if the user may change the images of this store.
    pub fn is_changeable(&self, store: &Store) -> bool {
        self.changeable().any(|one| one.root() == store.root())
    }

    /// True if the store is the node cache.
    pub fn is_cache(&self, store: &Store) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.store.root() == store.root())
    }

    /// All image stores, in the order of search.
    pub fn all(&self) -> impl Iterator<Item = &Store> {
        self.changeable().chain(&self.others)
    }

    /// The node cache, if an image that a registry may have under one of these names is pulled into it; `None`: into the
    /// user's own store, which has an image of that name. So no name is in both.
    pub fn cache_for(&self, names: &[Reference]) -> Result<Option<&NodeCache>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let own = self.own.images()?;
        Ok(Some(cache).filter(|_| names.iter().all(|name| own.named(name).is_none())))
    }

    /// Takes these names from images of the other store that this user changes, after an image in `store` got them: a
    /// name belongs to the image that got it last. A failure is only a warning, since the image is there.
    pub fn take_names(&self, store: &Store, names: &[Reference]) {
        for other in self.changeable().filter(|other| other.root() != store.root()) {
            let has_none = |images: ImageList| names.iter().all(|name| !images.has_name(name));
            if other.images().is_ok_and(has_none) {
                continue;
            }
            let untag = |images: &mut ImageList| {
                for name in names {
                    images.untag(name);
                }
                Ok(())
            };
            if let Err(error) = other.change_images(untag) {
                log::warn!("{error}: an image in {} has the name too", other.root().display());
            }
        }
    }

    /// Reads the images of all stores, in the order of search. Leaves out a store other than the user's own that cannot
    /// be read, with a warning: its owner must not stop the use of the others. Errors: the user's own store cannot be
    /// read.
    pub fn lists(&self) -> impl Iterator<Item = Result<(&Store, ImageList)>> {
        self.all().filter_map(|store| match store.images() {
            Ok(images) => Some(Ok((store, images))),
            Err(error) if store.root() == self.own.root() => Some(Err(error)),
            Err(error) => {
                let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                if left_out.insert(store.root().to_owned()) {
                    log::warn!("{error}: this store of images is left out");
                }
                None
            }
        })
    }

    /// Finds the image that `text` names: by its name ([`meanings`]), else by a prefix of its ID. Errors: an ambiguous
    /// ID; a store that cannot be read; a short name that registries.conf forbids.
    pub fn find(
        &self,
        text: &str,
        registries: &Registries,
    ) -> Result<Option<(Store, ImageRecord)>> {
        let typed = text.parse::<TypedReference>().ok();
        if let Some(typed) = &typed
            && let Some((store, image, _)) = self.named(&meanings(typed, registries))?
        {
            return Ok(Some((store, image)));
        }
        // Checked only now: a name under `localhost` is never ambiguous.
        typed.map_or(Ok(Vec::new()), |typed| registries.candidates(&typed))?;
        self.first(|images| images.with_id(text))
    }

    /// Finds the image with this manifest.
    pub fn of_manifest(&self, manifest: &Digest) -> Result<Option<(Store, ImageRecord)>> {
        self.first(|images| Ok(images.of_manifest(manifest)))
    }

    /// Returns the first image that `choose` finds in a list: one with a name, if any. A copy in the node cache has
    /// none.
    fn first(
        &self,
        choose: impl Fn(&ImageList) -> Result<Option<&ImageRecord>>,
    ) -> Result<Option<(Store, ImageRecord)>> {
        let mut nameless = None;
        for list in self.lists() {
            let (store, images) = list?;
            let Some(found) = choose(&images)? else { continue };
            let answer = (store.clone(), found.clone());
            if !answer.1.names.is_empty() {
                return Ok(Some(answer));
            }
            nameless = nameless.or(Some(answer));
        }
        Ok(nameless)
    }

    /// Finds the first image with one of these names. Returns its store, too. All names are searched in the stores that
    /// this user changes before any in the others.
    fn named(&self, names: &[Reference]) -> Result<Option<(Store, ImageRecord, Reference)>> {
        let found = |store: &Store, images: &ImageList, name: &Reference| {
            Some((store.clone(), images.named(name)?.clone(), name.clone()))
        };
        let mut changeable = Vec::new();
        for list in self.lists() {
            let (store, images) = list?;
            if self.is_changeable(store) {
                changeable.push((store, images));
                // The user's own store is the last of them.
                if store.root() != self.own.root() {
                    continue;
                }
                let in_any =
                    |name| changeable.iter().find_map(|(store, images)| found(store, images, name));
                if let Some(image) = names.iter().find_map(in_any) {
                    return Ok(Some(image));
                }
            } else if let Some(image) = names.iter().find_map(|name| found(store, &images, name)) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Returns the name `localhost/NAME` if an image has that name: then the short name means that image, which no
    /// registry has. `None` for a digest, which means the same image everywhere.
    pub fn given_here(&self, typed: &TypedReference) -> Result<Option<Reference>> {
        if typed.registry.is_some() || typed.digest.is_some() {
            return Ok(None);
        }
        let found = self.named(&[typed.in_registry(LOCALHOST)])?;
        Ok(found.map(|(_, _, name)| name))
    }

    /// Returns those of `names` whose short form means another image, one named `localhost/NAME`.
    pub fn hidden(&self, names: &[Reference]) -> Result<Vec<Reference>> {
        let mut given = HashSet::new();
        for list in self.lists() {
            let (_, images) = list?;
            let names = images.all().iter().flat_map(|image| &image.names);
            given.extend(names.filter(|name| name.registry == LOCALHOST).cloned());
        }
        let is_hidden = |name: &&Reference| {
            let short = name.familiar().parse::<TypedReference>();
            short.is_ok_and(|short| {
                short.registry.is_none() && given.contains(&short.in_registry(LOCALHOST))
            })
        };
        Ok(names.iter().filter(is_hidden).cloned().collect())
    }
}

// Short names follow podman's rule. Every verb that names an image (tag, commit, import, load of an OCI layout)
// completes a short name with localhost. Every lookup tries localhost before the registries. So a short name means the
// image that was named last, until that name is removed.

/// Returns the full references that a typed name may mean, in search order: the name under `localhost`, then the
/// candidates of registries.conf.
pub fn meanings(typed: &TypedReference, registries: &Registries) -> Vec<Reference> {
    let given = typed.registry.is_none().then(|| typed.in_registry(LOCALHOST));
    given.into_iter().chain(registries.candidates(typed).unwrap_or_default()).collect()
}

/// Returns the full name for an image that is made or tagged by the user. Errors: a digest, which cannot be assigned.
pub fn given_name(typed: &TypedReference) -> Result<Reference> {
    if let Some(digest) = &typed.digest {
        let error = format!("'{}@{digest}': a new name has no digest", typed.repository);
        return Err(Error::invalid(error).hint("NAME[:TAG]"));
    }
    Ok(typed.in_registry(LOCALHOST))
}

/// Returns the form in which this store records the owners of files in layers.
pub fn owners(base: &Base, store: &Store) -> Owners {
    if store.is_shared() { Owners::Shared } else { owners_of_containers(base) }
}

/// Returns the form in which owners of files are recorded that containers write. They are real owners if the user has
/// several IDs.
pub fn owners_of_containers(base: &Base) -> Owners {
    let is_one = |map: &[IdMap]| map.iter().map(|line| u64::from(line.count)).sum::<u64>() <= 1;
    match is_one(&base.maps.uids) || is_one(&base.maps.gids) {
        true => Owners::Recorded,
        false => Owners::Mapped(base.maps.clone()),
    }
}
