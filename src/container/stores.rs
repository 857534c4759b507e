//! Image stores: the user's own, and read-only ones.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::image::owners::Owners;
use crate::image::reference::{LOCALHOST, Reference, TypedReference};
use crate::image::registries_conf::Registries;
use crate::image::store::{ImageList, ImageRecord, Store};
use crate::userns::Base;

/// All image stores; the user's own is the first.
#[derive(Clone, Debug)]
pub struct Stores {
    own: Store,
    others: Vec<Store>,
    /// Stores that a warning has named.
    left_out: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Stores {
    /// Opens the user's own store, or makes it, and opens the stores of the settings for reading.
    pub fn open(root: &Path, settings: &Settings) -> Result<Self> {
        let own = Store::open(root)?;
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root));
        Ok(Self { own, others: others.collect(), left_out: Arc::default() })
    }

    /// Opens all stores for reading only. Does not make the user's own store.
    pub fn look(root: &Path, settings: &Settings) -> Self {
        let others = settings.image_stores.iter().map(|root| Store::open_read_only(root)).collect();
        Self { own: Store::open_read_only(root), others, left_out: Arc::default() }
    }

    /// The user's own store.
    pub fn own(&self) -> &Store {
        &self.own
    }

    /// All image stores; the user's own is the first.
    pub fn all(&self) -> impl Iterator<Item = &Store> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// Reads the images of all stores, the user's own first. Leaves out another store that cannot be read, with a warning:
    /// its owner must not stop the use of the others. Errors: the user's own store cannot be read.
    pub fn lists(&self) -> impl Iterator<Item = Result<(&Store, ImageList)>> {
        let others = self.others.iter().filter_map(|store| match store.images() {
            Ok(images) => Some(Ok((store, images))),
            Err(error) => {
                let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                if left_out.insert(store.root().to_owned()) {
                    log::warn!("{error}: this store of images is left out");
                }
                None
            }
        });
        let own = std::iter::once_with(|| self.own.images().map(|images| (&self.own, images)));
        own.chain(others)
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
        for list in self.lists() {
            let (store, images) = list?;
            if let Some(found) = images.with_id(text)? {
                return Ok(Some((store.clone(), found.clone())));
            }
        }
        Ok(None)
    }

    /// Finds the first image with one of these names. Returns its store, too. All names are searched in the user's own
    /// store before any in the others.
    fn named(&self, names: &[Reference]) -> Result<Option<(Store, ImageRecord, Reference)>> {
        for list in self.lists() {
            let (store, images) = list?;
            let found = names.iter().find_map(|name| Some((images.named(name)?, name)));
            if let Some((image, name)) = found {
                return Ok(Some((store.clone(), image.clone(), name.clone())));
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
