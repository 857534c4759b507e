//! The stores of images: our own, and those of others that are only read.

use std::collections::HashSet;
use std::path::Path;

use crate::config::{self, Settings};
use crate::error::{Error, Result};
use crate::image::owners::Owners;
use crate::image::reference::{LOCALHOST, Reference, Typed};
use crate::image::registries::Registries;
use crate::image::store::{Image, Store};
use crate::userns::Base;

/// All stores, our own first.
#[derive(Clone, Debug)]
pub struct Stores {
    own: Store,
    others: Vec<Store>,
}

impl Stores {
    /// Opens our own (`--root`, USNEA_ROOT, or in the home) and looks into those of the settings.
    pub fn open(root: Option<&Path>) -> Result<Self> {
        let own = Store::open(&config::store_path(root)?)?;
        let others = Settings::load()?.image_stores;
        Ok(Self { own, others: others.iter().map(|root| Store::look(root)).collect() })
    }

    /// The same where our own is only looked into: nothing is made.
    pub fn look(root: &Path) -> Result<Self> {
        let others = Settings::load()?.image_stores;
        let others = others.iter().map(|root| Store::look(root)).collect();
        Ok(Self { own: Store::look(root), others })
    }

    /// Ours.
    pub fn own(&self) -> &Store {
        &self.own
    }

    /// All, ours first.
    pub fn all(&self) -> impl Iterator<Item = &Store> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// The image that was typed: by its name ([`meanings`]), else by the beginning of an ID. Errors: an ID that is not one
    /// image's, a store that cannot be read, a short name that registries.conf forbids.
    pub fn find(&self, text: &str, registries: &Registries) -> Result<Option<(Store, Image)>> {
        let typed = text.parse::<Typed>().ok();
        if let Some(typed) = &typed
            && let Some((store, image, _)) = self.named(&meanings(typed, registries))?
        {
            return Ok(Some((store, image)));
        }
        // Said only now: a name that was given here is never ambiguous.
        typed.map_or(Ok(Vec::new()), |typed| registries.candidates(&typed))?;
        for store in self.all() {
            if let Some(found) = store.images()?.with_id(text)? {
                return Ok(Some((store.clone(), found.clone())));
            }
        }
        Ok(None)
    }

    /// The first image that has one of these names, its store, and the name. Our own store comes before all names of others.
    fn named(&self, names: &[Reference]) -> Result<Option<(Store, Image, Reference)>> {
        for store in self.all() {
            let images = store.images()?;
            let found = names.iter().find_map(|name| Some((images.named(name)?, name)));
            if let Some((image, name)) = found {
                return Ok(Some((store.clone(), image.clone(), name.clone())));
            }
        }
        Ok(None)
    }

    /// The name `localhost/NAME` of an image that is here, where that is what the short name means: no registry has it.
    /// A digest means the same everywhere.
    pub fn given_here(&self, typed: &Typed) -> Result<Option<Reference>> {
        if typed.registry.is_some() || typed.digest.is_some() {
            return Ok(None);
        }
        let found = self.named(&[typed.in_registry(LOCALHOST)])?;
        Ok(found.map(|(_, _, name)| name))
    }

    /// The names among `names` whose short form means another image: one that was given that name here.
    pub fn hidden(&self, names: &[Reference]) -> Result<Vec<Reference>> {
        let mut given = HashSet::new();
        for store in self.all() {
            let images = store.images()?;
            let names = images.all().iter().flat_map(|image| &image.names);
            given.extend(names.filter(|name| name.registry == LOCALHOST).cloned());
        }
        let is_hidden = |name: &&Reference| {
            let short = name.familiar().parse::<Typed>();
            short.is_ok_and(|short| {
                short.registry.is_none() && given.contains(&short.in_registry(LOCALHOST))
            })
        };
        Ok(names.iter().filter(is_hidden).cloned().collect())
    }
}

// The one rule for short names, podman's: whatever gives an image a name here (tag, commit, import, the name of an OCI
// layout) completes it with localhost, and whatever looks for an image tries localhost before the registries. So a name
// means what it was last given to, until that name is removed.

/// The complete references that a typed name may mean, in the order in which they are tried: the name that it was given
/// here, then what registries.conf makes of it.
pub fn meanings(typed: &Typed, registries: &Registries) -> Vec<Reference> {
    let given = typed.registry.is_none().then(|| typed.in_registry(LOCALHOST));
    given.into_iter().chain(registries.candidates(typed).unwrap_or_default()).collect()
}

/// The name that an image made or tagged here gets. Errors: a digest, which nobody gives.
pub fn given_name(typed: &Typed) -> Result<Reference> {
    if let Some(digest) = &typed.digest {
        let error = format!("'{}@{digest}': a new name has no digest", typed.repository);
        return Err(Error::new(error).hint("NAME[:TAG]"));
    }
    Ok(typed.in_registry(LOCALHOST))
}

/// How the owners of layers' files are kept in this store.
pub fn owners(base: &Base, store: &Store) -> Owners {
    if store.is_shared() { Owners::Shared } else { owners_of_containers(base) }
}

/// How the owners of what containers write are kept: really, where the user has other IDs.
pub fn owners_of_containers(base: &Base) -> Owners {
    let is_one =
        |map: &[crate::ids::IdMap]| map.iter().map(|line| u64::from(line.count)).sum::<u64>() <= 1;
    match is_one(&base.maps.uids) || is_one(&base.maps.gids) {
        true => Owners::Recorded,
        false => Owners::Mapped(base.maps.clone()),
    }
}
