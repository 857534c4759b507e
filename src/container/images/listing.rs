//! `usnea images`: the images of all stores, from images.json alone; milliseconds for a thousand images.

use super::filter::{Filter, Filters, Place, made};
use crate::container::Usnea;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::Reference;
use crate::image::store::{ImageList, ImageRecord};

/// Row of the list: an image under one of its names.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Image of the row.
    pub image: ImageRecord,
    /// Name of the row, if any: with a tag, or with the digest by which the source repository knows the image.
    pub name: Option<Reference>,
    /// Digest by which the repository of the name knows the image.
    pub digest: Option<Digest>,
    /// True if the image is in a store of others.
    pub read_only: bool,
    /// True if the short form of the name means another image, which was named here.
    pub is_hidden: bool,
}

/// Order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The newest first.
    #[default]
    Created,
    /// By ID.
    Id,
    /// By repository, then tag.
    Repository,
    /// The largest first.
    Size,
    /// By tag, then repository.
    Tag,
}

/// Lists the images that pass all filters, a row for each name. An image in several stores counts for the first.
pub fn list(usnea: &Usnea, filters: &[Filter], sort: Sort) -> Result<Vec<Listed>> {
    let stores = usnea.images()?;
    let filters = Filters::new(filters, stores)?;
    let mut seen = std::collections::HashSet::new();
    let mut rows = Vec::new();
    for (at, store) in stores.all().enumerate() {
        let images = store.images()?;
        let place = if at == 0 { Place::Own } else { Place::ReadOnly };
        for image in images.all() {
            if !filters.pass(store, image, place)? || is_shown_by_another(&images, image) {
                continue;
            }
            for row in rows_of(image, at > 0) {
                let is_named = row.name.as_ref().is_none_or(|name| filters.names(name));
                let key = (row.image.config.clone(), row.name.clone());
                if is_named && seen.insert(key) {
                    rows.push(row);
                }
            }
        }
    }
    let given: Vec<Reference> = rows.iter().filter_map(|row| row.name.clone()).collect();
    let hidden = stores.hidden(&given)?;
    for row in &mut rows {
        row.is_hidden = row.name.as_ref().is_some_and(|name| hidden.contains(name));
    }
    order(&mut rows, sort);
    Ok(rows)
}

/// True for a record without a name whose image has a name in another record: the same image, packed otherwise.
fn is_shown_by_another(images: &ImageList, image: &ImageRecord) -> bool {
    image.names.is_empty() && images.of_config(&image.config).any(|one| !one.names.is_empty())
}

fn rows_of(image: &ImageRecord, read_only: bool) -> Vec<Listed> {
    let digest_in = |name: &Reference| {
        let there = image.digests.iter().find(|digest| digest.name() == name.name());
        there.and_then(|digest| digest.digest.clone())
    };
    let row = |name: Option<Reference>| Listed {
        digest: name.as_ref().and_then(digest_in),
        name,
        image: image.clone(),
        read_only,
        is_hidden: false,
    };
    if !image.names.is_empty() {
        return image.names.iter().map(|name| row(Some(name.clone()))).collect();
    }
    // The image was pulled by digest, or its tag went to another image: docker names the repository then.
    let mut repositories: Vec<Reference> = Vec::new();
    for digest in &image.digests {
        if !repositories.iter().any(|known| known.name() == digest.name()) {
            repositories.push(digest.clone());
        }
    }
    match repositories.is_empty() {
        true => vec![row(None)],
        false => repositories.into_iter().map(|name| row(Some(name))).collect(),
    }
}

fn order(rows: &mut [Listed], sort: Sort) {
    let repository = |row: &Listed| row.name.as_ref().map(Reference::name);
    let tag = |row: &Listed| row.name.as_ref().and_then(|name| name.tag.clone());
    // Names first, so that equal keys of the next sort have an order too.
    rows.sort_by_cached_key(|row| (repository(row), tag(row)));
    match sort {
        Sort::Created => rows.sort_by_key(|row| std::cmp::Reverse(made(&row.image))),
        Sort::Id => rows.sort_by(|a, b| a.image.config.hex().cmp(b.image.config.hex())),
        Sort::Repository => {}
        Sort::Size => rows.sort_by_cached_key(|row| std::cmp::Reverse(row.image.size())),
        Sort::Tag => rows.sort_by_cached_key(tag),
    }
}
