//! `usnea image diff`: changes of an image relative to its lower layers, or to another image.

use super::unpacked::UnpackedImage;
use crate::container::Usnea;
use crate::container::changes_in_base;
use crate::container::stores::{self};
use crate::error::{Context, Result};
use crate::image::diff::{self, Change, LayerSource, UpperForm};

/// Returns the changes of the image that `text` names, relative to the image `parent`; `None`: the changes of its
/// topmost layer.
pub fn diff(usnea: &Usnea, text: &str, parent: Option<&str>) -> Result<Vec<Change>> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let (store, image) = super::known(stores, text)?;
    let parent = parent.map(|parent| super::known(stores, parent)).transpose()?;
    let owners = stores::owners(base, &store);
    changes_in_base(base, || {
        let image = UnpackedImage::of(&store, &image, &owners)?;
        let folders = image.folders();
        let Some((of, parent)) = &parent else {
            let [upper, lowers @ ..] = &folders[..] else { return Ok(Vec::new()) };
            return diff::changes(upper, UpperForm::Changes, lowers, &owners);
        };
        let theirs = stores::owners(base, of);
        let parent = UnpackedImage::of(of, parent, &theirs)?;
        let owned = |layer| LayerSource { owners: Some(theirs.clone()), ..layer };
        let below: Vec<LayerSource> = parent.folders().into_iter().map(owned).collect();
        diff::changes_of_tree(&folders, &below, &owners)
    })
    .context(|| format!("cannot compare {}", text.escape_debug()))
}
