//! The stores of images: our own, and those of others that are only read.

use std::path::Path;

use crate::config::{self, Settings};
use crate::error::Result;
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

    /// The image that was typed: a name as registries.conf completes it, a name that was given here (`localhost/NAME`),
    /// or the beginning of an ID. Errors: an ID that is not one image's, a store that cannot be read.
    pub fn find(&self, text: &str, registries: &Registries) -> Result<Option<(Store, Image)>> {
        let names = match text.parse::<Typed>() {
            Ok(typed) => names_of(&typed, registries)?,
            Err(_) => Vec::new(),
        };
        for store in self.all() {
            let images = store.images()?;
            if let Some(found) = names.iter().find_map(|name| images.named(name)) {
                return Ok(Some((store.clone(), found.clone())));
            }
        }
        for store in self.all() {
            if let Some(found) = store.images()?.with_id(text)? {
                return Ok(Some((store.clone(), found.clone())));
            }
        }
        Ok(None)
    }
}

fn names_of(typed: &Typed, registries: &Registries) -> Result<Vec<Reference>> {
    let mut names = registries.candidates(typed)?;
    if typed.registry.is_none() {
        names.push(typed.in_registry(LOCALHOST));
    }
    Ok(names)
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
