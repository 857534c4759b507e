//! Verbs of images: those that show images, and those that transfer images. None of them needs a container.
//!
//! ```text
//!  images.json alone --listing (filter, pattern)--> images
//!  + the config ------inspect, history------------> image inspect, image history
//!  + shared layers   -sharing---------------------> image tree
//!
//!  store --push--> registry, layout, archive       store --save--> archive of several images
//!                                                  store --save, squashfs--> file that is mounted in place
//!  store --remove, tag, prune, check--> store
//!  images --lists--> registry, layout: one name for several platforms     search: repositories of registries
//!  archive --load--> store      tarball --import--> store      store --export--> tarball
//!  registry, layout, archive --pull_file--> file that is mounted in place
//!  such a file --sent_file--> push, save: an image of one layer
//! ```

mod archive_names;
mod config_document;
mod diff;
mod export;
mod filter;
mod history;
mod import;
mod inspect;
mod listing;
mod lists;
mod load;
mod pattern;
mod pull;
mod pull_file;
mod push;
mod remove;
mod save;
mod search;
mod secure_copy;
mod sent_file;
mod sharing;
mod single_file;
mod spread;
mod spread_file;
mod spread_job;
mod squashfs;
mod unpacked;

use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores::{Stores, meanings};
use crate::error::{Error, Result};
use crate::hint;
use crate::image::pull::{TransferOutcome, TransferProgress};
use crate::image::reference::{Reference, TypedReference};
use crate::image::registries_conf::Registries;
use crate::image::store::{ImageRecord, Store};
use crate::monitor::events;

pub use crate::image::list::{EntryChange, ListFormat};
pub use crate::image::registry_client::FoundRepository;
pub use crate::image::store::{CheckDepth, Repair};
pub use diff::diff;
pub use export::export;
pub use filter::ImageFilter;
pub use history::{HistoryStep, ImageHistory, SizeForm, history};
pub use import::{Import, import};
pub use inspect::inspect;
pub use listing::{ImageOrder, ListImages, ListedImage, list};
pub use lists::{
    Annotated, Existing, ImagesToList, PushList, add_to_list, annotate_list, create_list, has_list,
    inspect_list, push_list, remove_from_list, remove_list,
};
pub use load::{Load, LoadInput, LoadedImage, load};
pub use pull::{
    Pull, all_tags, cached, default_platform, prepare, pull, pull_into_store, registry_digest,
};
pub use pull_file::{FileProgress, pull_to};
pub use push::{Push, names_of_repository, push};
pub use remove::{Missing, check, ids, prune, remove, tag, untag, usage};
pub use save::{ArchiveForm, save};
pub use search::{RepositoryTags, Search, SearchFilter, SearchResult, search, tags};
pub use secure_copy::{RemoteHost, SecureCopy};
pub use sharing::{ImageShares, ShareTotals, SharedLayer, Sharing, label, sharing};
pub(super) use single_file::save_file;
pub use spread::{Spread, SpreadRank, spread};
pub use spread_file::{FileSpread, SpreadSource, spread_file_to};
pub use spread_job::{JobFlags, SpreadJob};
pub(super) use squashfs::{MergedFiles, save_squashfs};

/// Returns the image that `text` names, and its store. Errors: no such image, with the searched stores.
pub(in crate::container) fn known(stores: &Stores, text: &str) -> Result<(Store, ImageRecord)> {
    let registries = Registries::load()?;
    if let Some(found) = stores.find(text, &registries)? {
        return Ok(found);
    }
    let places: Vec<String> =
        stores.all().map(|store| store.root().display().to_string()).collect();
    let error = format!("no image '{}' in {}", text.escape_debug(), places.join(", "));
    Err(Error::not_found(error).hint(hint::LIST_IMAGES))
}

/// True if `text` names an image.
pub fn exists(usnea: &Usnea, text: &str) -> Result<bool> {
    if let Some(path) = FileImage::path_in(text) {
        return Ok(FileImage::open(path).is_ok());
    }
    let stores = usnea.images()?;
    Ok(stores.find(text, &Registries::load()?)?.is_some())
}

/// Returns the image's name that `text` means; `None`: `text` is an ID, or has a digest, beside which a tag is ignored.
fn name_typed(text: &str, image: &ImageRecord, registries: &Registries) -> Option<Reference> {
    let typed = text.parse::<TypedReference>().ok().filter(|typed| typed.digest.is_none())?;
    meanings(&typed, registries).into_iter().find(|name| image.names.contains(name))
}

/// Records an event of the image with this ID for `usnea events`. Only the user's own store ever changes.
fn log_image_event(
    stores: &Stores,
    id: &impl std::fmt::Display,
    action: &str,
    name: Option<String>,
) {
    let more: Vec<_> = name.into_iter().map(|name| ("name", name)).collect();
    events::of_other(stores.own().root(), "image", &id.to_string(), action, &more);
}

/// Progress listener that discards all reports.
pub(super) struct NoProgress;

impl TransferProgress for NoProgress {
    fn layers(&self, _: &[(String, u64)]) {}
    fn waiting(&self, _: Option<usize>) {}
    fn transferred(&self, _: usize, _: u64) {}
    fn done(&self, _: usize, _: TransferOutcome) {}
}
