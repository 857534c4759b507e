//! `usnea images`: lists the images of all stores. Reads only images.json, so a thousand images take milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::Timestamp;

use super::filter::{ImageFilter, ImageFilters, ImagePlace, made};
use super::inspect::labels;
use crate::amount::{self, ago};
use crate::container;
use crate::container::Usnea;
use crate::container::stores::Stores;
use crate::digest::Digest;
use crate::documents::image::ImageRow;
use crate::documents::text::{self, NameForm, Truncation};
use crate::error::Result;
use crate::image::Reference;
use crate::image::store::{ImageList, ImageRecord, Store};

/// Selection, order and content of a list of images.
#[derive(Clone, Debug, Default)]
pub struct ListImages {
    /// Filters that each image must pass.
    pub filters: Vec<ImageFilter>,
    /// Order of the list.
    pub order: ImageOrder,
    /// True if the containers of each image are counted. That reads the records of all containers.
    pub containers: bool,
    /// True if the labels of each image are read from its config.
    pub labels: bool,
}

/// Row of the list: an image under one of its names.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// Image of the row.
    pub image: ImageRecord,
    /// Name of the row, if any: with a tag, or with the digest of the image in its repository.
    pub name: Option<Reference>,
    /// Digest of the image in the repository of the name.
    pub digest: Option<Digest>,
    /// True if the image is in a read-only store.
    pub read_only: bool,
    /// Form of the name: full where the short name means another image, `localhost/NAME`.
    pub form: NameForm,
    /// Number of containers made from the image; 0 where they were not counted.
    pub containers: usize,
    /// Labels of the image; empty where they were not read.
    pub labels: BTreeMap<String, String>,
}

/// Order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageOrder {
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

/// Lists the images that match all filters, a row for each name. An image in several stores is listed once, for the
/// first of them.
pub fn list(usnea: &Usnea, request: &ListImages) -> Result<Vec<ListedImage>> {
    let stores = usnea.images()?;
    let filters = ImageFilters::new(&request.filters, stores)?;
    let mut seen = std::collections::HashSet::new();
    let mut rows = Vec::new();
    let lists = stores.lists().collect::<Result<Vec<_>>>()?;
    for (store, images) in &lists {
        let read_only = !stores.is_changeable(store);
        let place = if read_only { ImagePlace::ReadOnly } else { ImagePlace::Own };
        for image in images.all() {
            if !filters.pass(store, image, place)?
                || is_shown_by_another(&lists, stores, store, image)
            {
                continue;
            }
            for mut row in rows_of(image) {
                row.read_only = read_only;
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
        if row.name.as_ref().is_some_and(|name| hidden.contains(name)) {
            row.form = NameForm::Whole;
        }
    }
    order(&mut rows, request.order);
    if request.containers {
        let used = containers_by_image(stores.own().root())?;
        for row in &mut rows {
            row.containers = used.get(&row.image.config.to_string()).copied().unwrap_or(0);
        }
    }
    if request.labels {
        rows.iter_mut().for_each(|row| row.labels = labels(stores, &row.image));
    }
    Ok(rows)
}

/// Returns the number of containers made from each image, by its ID.
fn containers_by_image(store: &Path) -> Result<HashMap<String, usize>> {
    let mut used = HashMap::new();
    for id in
        container::all_in(store)?.into_iter().filter_map(|container| container.record.image_id)
    {
        *used.entry(id).or_default() += 1;
    }
    Ok(used)
}

impl ListedImage {
    /// Returns the row of a table, at the time `now`.
    pub fn row(&self, now: Timestamp, truncation: Truncation) -> ImageRow {
        let none = || "<none>".to_owned();
        let image = &self.image;
        let made = made(image);
        let (name, age, size) = (self.name.as_ref(), ago(made, now), amount::size(image.size()));
        ImageRow {
            repository: name.map_or_else(none, |name| self.form.repository(name)),
            tag: name.and_then(|name| name.tag.clone()).unwrap_or_else(none),
            id: truncation.digest(&image.config),
            whole_id: image.config.to_string(),
            digest: self.digest.as_ref().map_or_else(none, ToString::to_string),
            created: age.clone(),
            created_since: age,
            created_at: text::time(made),
            created_time: made.to_string(),
            size: size.clone(),
            virtual_size: size,
            shared_size: "N/A",
            unique_size: "N/A",
            read_only: self.read_only,
            dangling: image.names.is_empty(),
            names: image.names.iter().map(ToString::to_string).collect(),
            repo_tags: image.names.iter().map(Reference::familiar).collect(),
            repo_digests: image.digests.iter().map(Reference::familiar).collect(),
            containers: self.containers,
            labels: self.labels.clone(),
            label_map: self.labels.clone(),
            parent_id: "",
            manifest: false,
        }
    }
}

/// True for a record without a name if another record of the same image in its store has one: the image with differently
/// compressed layers. True for a copy in the node cache of an image of another store.
fn is_shown_by_another(
    lists: &[(&Store, ImageList)],
    stores: &Stores,
    store: &Store,
    image: &ImageRecord,
) -> bool {
    let is_copy = image.digests.is_empty() && stores.is_cache(store);
    let is_shown = |(other, images): &(&Store, ImageList)| {
        let is_elsewhere = other.root() != store.root();
        let mut same = images.of_config(&image.config);
        same.any(|one| if is_elsewhere { is_copy } else { !one.names.is_empty() })
    };
    image.names.is_empty() && lists.iter().any(is_shown)
}

fn rows_of(image: &ImageRecord) -> Vec<ListedImage> {
    let digest_in = |name: &Reference| {
        let there = image.digests.iter().find(|digest| digest.name() == name.name());
        there.and_then(|digest| digest.digest.clone())
    };
    let row = |name: Option<Reference>| ListedImage {
        digest: name.as_ref().and_then(digest_in),
        name,
        image: image.clone(),
        read_only: false,
        form: NameForm::Short,
        containers: 0,
        labels: BTreeMap::new(),
    };
    if !image.names.is_empty() {
        return image.names.iter().map(|name| row(Some(name.clone()))).collect();
    }
    // The image was pulled by digest, or its tag was moved to another image: docker then shows the repository.
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

fn order(rows: &mut [ListedImage], sort: ImageOrder) {
    let repository = |row: &ListedImage| row.name.as_ref().map(Reference::name);
    let tag = |row: &ListedImage| row.name.as_ref().and_then(|name| name.tag.clone());
    // Sorted by name first: the next sort is stable, so that equal keys stay ordered by name.
    rows.sort_by_cached_key(|row| (repository(row), tag(row)));
    match sort {
        ImageOrder::Created => rows.sort_by_key(|row| std::cmp::Reverse(made(&row.image))),
        ImageOrder::Id => rows.sort_by(|a, b| a.image.config.hex().cmp(b.image.config.hex())),
        ImageOrder::Repository => {}
        ImageOrder::Size => rows.sort_by_cached_key(|row| std::cmp::Reverse(row.image.size())),
        ImageOrder::Tag => rows.sort_by_cached_key(tag),
    }
}
