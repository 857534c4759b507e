//! `usnea export` of an image: its layers merged, as one tar archive.

use crate::container::Usnea;
use crate::container::stores::{self};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::{LayerSource, merged_tar};
use crate::image::owners::Owners;
use crate::image::pull::unpack_missing;
use crate::image::store::{HeldLayer, ImageRecord, LayerClaim, LayerTrust, Store};
use crate::userns::{self};

/// Writes the files of the image that `text` names to `output` as a tar archive.
pub fn export(usnea: &Usnea, text: &str, output: &ArchiveSink) -> Result<()> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let (store, image) = super::known(stores, text)?;
    let owners = stores::owners(base, &store);
    userns::in_base(base, || {
        let Some(_held) = store.blob(&image.manifest)? else {
            return Err(Error::not_found("it was removed meanwhile"));
        };
        unpack_missing(&store, &image, &owners, &|| ())?;
        let layers = hold(&store, &image, &owners)?;
        let folders: Vec<LayerSource> = layers.iter().map(folder).collect();
        merged_tar(&folders, &owners, ArchiveOutput::create(output)?)?.put()
    })
    .context(|| format!("cannot export {}", text.escape_debug()))
}

/// Returns the folder of a layer as the source of a tar archive.
pub(super) fn folder(layer: &HeldLayer) -> LayerSource {
    LayerSource { whiteouts: layer.facts.whiteouts, ..LayerSource::from(layer.fs.clone()) }
}

/// Locks the visible layers against removal; the topmost is the first.
pub(super) fn hold(store: &Store, image: &ImageRecord, owners: &Owners) -> Result<Vec<HeldLayer>> {
    let mut layers = Vec::new();
    for layer in image.layers.iter().rev() {
        let LayerClaim::Present(held) =
            store.claim_layer(&layer.diff_id, owners, LayerTrust::Recorded, &|| ())?
        else {
            fail!(NotFound: "layer {} was removed meanwhile", layer.diff_id);
        };
        let hides_the_rest = held.facts.opaque_root;
        layers.push(held);
        if hides_the_rest {
            break;
        }
    }
    Ok(layers)
}
