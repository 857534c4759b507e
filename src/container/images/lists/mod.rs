//! `usnea manifest`: manifest lists. A list is made in the store, entry by entry, and pushed as a whole. No container
//! can be made from a list.

mod entries;
mod push;

use serde_json::Value;

use self::entries::{EntryOrigin, listings};
use crate::container::Usnea;
use crate::container::stores::{Stores, given_name, meanings};
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint;
use crate::image::list::{EntryChange, ListFormat, ListedManifest, ManifestList};
use crate::image::manifest::Platform;
use crate::image::reference::TypedReference;
use crate::image::registries_conf::{Registries, RegistryOptions};

pub use self::push::{PushList, push_list};

/// Images to add to a list.
#[derive(Clone, Debug)]
pub struct ImagesToList {
    /// Images of the store, or of registries.
    pub images: Vec<String>,
    /// True if all images of a registry's list are added, not only that of one platform.
    pub all: bool,
    /// Platform to choose from a registry's list; `None`: this machine's.
    pub platform: Option<Platform>,
    /// Settings of registries from the command line.
    pub asked: RegistryOptions,
}

/// Rule of [`create_list`] for an existing list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// An existing list is an error.
    Refuse,
    /// Images are added to the existing list.
    Amend,
}

/// Makes a list. Returns its ID.
pub fn create_list(
    usnea: &Usnea,
    name: &str,
    images: &ImagesToList,
    annotations: &[(String, String)],
    existing: Existing,
) -> Result<String> {
    let stores = usnea.images()?;
    let name = given_name(&name.parse::<TypedReference>()?)?;
    let is_there = |lists: &[ManifestList]| lists.iter().any(|list| list.name == name);
    let taken = || {
        let error = format!("there is a manifest list {name} already");
        Err(Error::conflict(error).hint(hint::AMEND_LIST))
    };
    // Checked before any registry is asked for images.
    if existing == Existing::Refuse && is_there(&stores.own().lists()?) {
        return taken();
    }
    let new = listings(stores, images)?;
    stores.own().change_lists(|lists| {
        if existing == Existing::Refuse && is_there(lists) {
            return taken();
        }
        if !is_there(lists) {
            let (annotations, entries) = Default::default();
            let id = new_id(&name.to_string());
            lists.push(ManifestList { id, name: name.clone(), annotations, entries });
        }
        let list = lists.iter_mut().find(|list| list.name == name);
        let list = list.ok_or_else(|| Error::not_found("no such list"))?;
        list.annotations.extend(annotations.iter().cloned());
        new.into_iter().for_each(|listing| list.add(listing));
        Ok(list.id.clone())
    })
}

fn new_id(name: &str) -> String {
    let now = jiff::Timestamp::now().as_nanosecond();
    Digest::of(format!("{name} {now} {}", std::process::id()).as_bytes()).hex().to_owned()
}

/// Adds images to a list, each entry changed by `change`. Returns the list's ID.
pub fn add_to_list(
    usnea: &Usnea,
    list: &str,
    images: &ImagesToList,
    change: &EntryChange,
) -> Result<String> {
    let stores = usnea.images()?;
    find(stores, list)?;
    let mut new = listings(stores, images)?;
    new.iter_mut().for_each(|listing| change.apply(&mut listing.entry));
    change_list(stores, list, |list| {
        new.into_iter().for_each(|listing| list.add(listing));
        Ok(())
    })
}

/// Target of an annotation.
#[derive(Clone, Debug)]
pub enum Annotated {
    /// List itself.
    List,
    /// Entry with this digest, or of this image.
    Entry(String),
}

/// Changes an entry of a list, or the list's own annotations. Returns the list's ID.
pub fn annotate_list(
    usnea: &Usnea,
    list: &str,
    what: &Annotated,
    change: &EntryChange,
) -> Result<String> {
    let stores = usnea.images()?;
    let digest = match what {
        Annotated::List => None,
        Annotated::Entry(text) => Some(digest_in(stores, &find(stores, list)?, text)?),
    };
    change_list(stores, list, |list| {
        let Some(digest) = digest else {
            list.annotations.extend(change.annotations.iter().cloned());
            return Ok(());
        };
        let listing = list.entries.iter_mut().find(|listing| listing.entry.digest == digest);
        let listing = listing.ok_or_else(|| not_in(&list.name.to_string(), &digest.to_string()))?;
        change.apply(&mut listing.entry);
        Ok(())
    })
}

/// Removes an entry from a list. Returns the list's ID.
pub fn remove_from_list(usnea: &Usnea, list: &str, entry: &str) -> Result<String> {
    let stores = usnea.images()?;
    let digest = digest_in(stores, &find(stores, list)?, entry)?;
    change_list(stores, list, |list| {
        list.entries.retain(|listing| listing.entry.digest != digest);
        Ok(())
    })
}

/// Removes a list.
pub fn remove_list(usnea: &Usnea, text: &str) -> Result<ManifestList> {
    let stores = usnea.images()?;
    let list = find(stores, text)?;
    stores.own().change_lists(|lists| {
        lists.retain(|one| one.id != list.id);
        Ok(())
    })?;
    Ok(list)
}

/// True if such a list exists.
pub fn has_list(usnea: &Usnea, text: &str) -> Result<bool> {
    let stores = usnea.images()?;
    Ok(found(stores, text)?.is_some())
}

/// Returns the list as a push would send it; without a list of that name, the registry's manifest or index.
pub fn inspect_list(usnea: &Usnea, text: &str, asked: &RegistryOptions) -> Result<Value> {
    let stores = usnea.images()?;
    if let Some(list) = found(stores, text)? {
        return list.document(list.format());
    }
    let bytes = EntryOrigin::of_registry(stores, text, asked)
        .and_then(|origin| origin.document())
        .context(|| format!("no manifest list '{}' here", text.escape_debug()))?;
    serde_json::from_slice(&bytes).map_err(Error::new)
}

fn change_list(
    stores: &Stores,
    text: &str,
    change: impl FnOnce(&mut ManifestList) -> Result<()>,
) -> Result<String> {
    let id = find(stores, text)?.id;
    stores.own().change_lists(|lists| {
        let list = lists.iter_mut().find(|list| list.id == id);
        change(list.ok_or_else(|| absent(text))?)?;
        Ok(id)
    })
}

/// Finds the list that `text` names: by its name, or by a prefix of its ID.
fn found(stores: &Stores, text: &str) -> Result<Option<ManifestList>> {
    let lists = stores.own().lists()?;
    if let Ok(typed) = text.parse::<TypedReference>() {
        for name in meanings(&typed, &Registries::load()?) {
            if let Some(list) = lists.iter().find(|list| list.name == name) {
                return Ok(Some(list.clone()));
            }
        }
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let mut fitting = lists.iter().filter(|list| !hex.is_empty() && list.id.starts_with(hex));
    let first = fitting.next();
    if fitting.next().is_some() {
        let error = format!("manifest list ID {text}: several lists begin so; give more digits");
        return Err(Error::conflict(error));
    }
    Ok(first.cloned())
}

fn find(stores: &Stores, text: &str) -> Result<ManifestList> {
    found(stores, text)?.ok_or_else(|| absent(text))
}

fn absent(text: &str) -> Error {
    let error = Error::new(format!("no manifest list '{}'", text.escape_debug()));
    error.at_endpoint(ErrorKind::NotFound).hint(hint::CREATE_LIST)
}

fn not_in(list: &str, entry: &str) -> Error {
    let error = format!("'{}' is not in the manifest list {list}", entry.escape_debug());
    Error::new(error).at_endpoint(ErrorKind::NotFound).hint(hint::INSPECT_LIST)
}

/// Returns the digest of an entry: as typed, or that of an image of the store.
fn digest_in(stores: &Stores, list: &ManifestList, text: &str) -> Result<Digest> {
    let has = |digest: &Digest| list.entries.iter().any(|one| one.entry.digest == *digest);
    if let Ok(digest) = text.parse::<Digest>() {
        return has(&digest).then_some(digest).ok_or_else(|| not_in(&list.name.to_string(), text));
    }
    if let Some((_, image)) = stores.find(text, &Registries::load()?)?
        && has(&image.manifest)
    {
        return Ok(image.manifest);
    }
    // docker's rule: an entry can be named by the name with which it was added.
    let origin_is = |listing: &&ListedManifest| {
        let typed = text.parse::<TypedReference>().ok();
        let names = typed.map(|typed| typed.in_registry(crate::image::reference::DOCKER_HUB));
        listing.origin.is_some() && listing.origin == names
    };
    let listing = list.entries.iter().find(origin_is);
    let listing = listing.ok_or_else(|| not_in(&list.name.to_string(), text))?;
    Ok(listing.entry.digest.clone())
}

/// Returns the requested format, else the one that can hold all entries unchanged.
fn format_of(list: &ManifestList, asked: Option<ListFormat>) -> ListFormat {
    asked.unwrap_or_else(|| list.format())
}
