//! `usnea image diff`: changes of an image relative to its lower layers, or to another image.

use super::export::{folder, hold};
use crate::container::Usnea;
use crate::container::changes_in_base;
use crate::container::stores::{self};
use crate::error::{Context, Error, Result};
use crate::image::diff::{self, Change, LayerSource, UpperForm};
use crate::image::owners::Owners;
use crate::image::pull::unpack_missing;
use crate::image::store::{HeldBlob, HeldLayer, ImageRecord, Store};

/// Returns the changes of the image that `text` names, relative to the image `parent`; `None`: the changes of its
/// topmost layer.
pub fn diff(usnea: &Usnea, text: &str, parent: Option<&str>) -> Result<Vec<Change>> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let (store, image) = super::known(stores, text)?;
    let parent = parent.map(|parent| super::known(stores, parent)).transpose()?;
    let owners = stores::owners(base, &store);
    changes_in_base(base, || {
        let (_held, layers) = unpacked(&store, &image, &owners)?;
        let folders: Vec<LayerSource> = layers.iter().map(folder).collect();
        let Some((of, parent)) = &parent else {
            let [upper, lowers @ ..] = &folders[..] else { return Ok(Vec::new()) };
            return diff::changes(upper, UpperForm::Changes, lowers, &owners);
        };
        let theirs = stores::owners(base, of);
        let (_parent, below) = unpacked(of, parent, &theirs)?;
        let owned = |layer| LayerSource { owners: Some(theirs.clone()), ..folder(layer) };
        let below: Vec<LayerSource> = below.iter().map(owned).collect();
        diff::changes_of_tree(&folders, &below, &owners)
    })
    .context(|| format!("cannot compare {}", text.escape_debug()))
}

fn unpacked(
    store: &Store,
    image: &ImageRecord,
    owners: &Owners,
) -> Result<(HeldBlob, Vec<HeldLayer>)> {
    let Some(held) = store.blob(&image.manifest)? else {
        return Err(Error::not_found("it was removed meanwhile"));
    };
    unpack_missing(store, image, owners, &|| ())?;
    Ok((held, hold(store, image, owners)?))
}
