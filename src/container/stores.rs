//! Stores of images: our own, and those of others, which are only read.

use std::collections::HashSet;
use std::path::Path;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::image::owners::Owners;
use crate::image::reference::{LOCALHOST, Reference, TypedReference};
use crate::image::registries_conf::Registries;
use crate::image::store::{ImageRecord, Store};
use crate::userns::Base;

/// All stores, our own first.
#[derive(Clone, Debug)]
pub struct Stores {
    own: Store,
    others: Vec<Store>,
}

impl Stores {
    /// Opens our own store, made if missing, and the stores of the settings for reading.
    pub fn open(root: &Path, settings: &Settings) -> Result<Self> {
        let own = Store::open(root)?;
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root));
        Ok(Self { own, others: others.collect() })
    }

    /// Opens all stores for reading alone: makes nothing, not even our own store.
    pub fn look(root: &Path, settings: &Settings) -> Self {
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root)).collect();
        Self { own: Store::open_read_only(root), others }
    }

    /// Our own store.
    pub fn own(&self) -> &Store {
        &self.own
    }

    /// All stores, our own first.
    pub fn all(&self) -> impl Iterator<Item = &Store> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// Finds the image that was typed: by its name ([`meanings`]), else by the beginning of an ID. Errors: an ambiguous
    /// ID, a store that cannot be read, a short name that registries.conf forbids.
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
        for store in self.all() {
            if let Some(found) = store.images()?.with_id(text)? {
                return Ok(Some((store.clone(), found.clone())));
            }
        }
        Ok(None)
    }

    /// Finds the first image with one of these names: its store, and the name. Our own store comes before all names of
    /// others.
    fn named(&self, names: &[Reference]) -> Result<Option<(Store, ImageRecord, Reference)>> {
        for store in self.all() {
            let images = store.images()?;
            let found = names.iter().find_map(|name| Some((images.named(name)?, name)));
            if let Some((image, name)) = found {
                return Ok(Some((store.clone(), image.clone(), name.clone())));
            }
        }
        Ok(None)
    }

    /// Returns the name `localhost/NAME` of an image here, where the short name means that image: no registry has it.
    /// `None` for a digest, which means the same everywhere.
    pub fn given_here(&self, typed: &TypedReference) -> Result<Option<Reference>> {
        if typed.registry.is_some() || typed.digest.is_some() {
            return Ok(None);
        }
        let found = self.named(&[typed.in_registry(LOCALHOST)])?;
        Ok(found.map(|(_, _, name)| name))
    }

    /// Returns those of `names` whose short form means another image: an image named `localhost/NAME` here.
    pub fn hidden(&self, names: &[Reference]) -> Result<Vec<Reference>> {
        let mut given = HashSet::new();
        for store in self.all() {
            let images = store.images()?;
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

// Short names follow podman's rule. Every way to name an image here (tag, commit, import, the name of an OCI layout)
// completes the name with localhost. Whatever finds an image tries localhost before the registries. So a name means the
// image that got it last, until that name is removed.

/// Returns the complete references that a typed name may mean, in the order of the search: the name under `localhost`,
/// then the candidates of registries.conf.
pub fn meanings(typed: &TypedReference, registries: &Registries) -> Vec<Reference> {
    let given = typed.registry.is_none().then(|| typed.in_registry(LOCALHOST));
    given.into_iter().chain(registries.candidates(typed).unwrap_or_default()).collect()
}

/// Returns the name for an image that is made or tagged here. Errors: a digest, which cannot be assigned.
pub fn given_name(typed: &TypedReference) -> Result<Reference> {
    if let Some(digest) = &typed.digest {
        let error = format!("'{}@{digest}': a new name has no digest", typed.repository);
        return Err(Error::invalid(error).hint("NAME[:TAG]"));
    }
    Ok(typed.in_registry(LOCALHOST))
}

/// Returns how this store records the owners of layers' files.
pub fn owners(base: &Base, store: &Store) -> Owners {
    if store.is_shared() { Owners::Shared } else { owners_of_containers(base) }
}

/// Returns how the owners of files that containers write are recorded: as real owners, where the user has several IDs.
pub fn owners_of_containers(base: &Base) -> Owners {
    let is_one = |map: &[IdMap]| map.iter().map(|line| u64::from(line.count)).sum::<u64>() <= 1;
    match is_one(&base.maps.uids) || is_one(&base.maps.gids) {
        true => Owners::Recorded,
        false => Owners::Mapped(base.maps.clone()),
    }
}
