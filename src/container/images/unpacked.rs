//! Layers of an image as folders, for verbs that read the files of an image.

use crate::error::{Error, Result};
use crate::fail;
use crate::files::NewFolder;
use crate::image::diff::LayerSource;
use crate::image::owners::Owners;
use crate::image::pull::{unpack_layer, unpack_missing};
use crate::image::store::{HeldBlob, HeldLayer, ImageRecord, LayerClaim, LayerTrust, Store};

/// Visible layers of an image, locked against removal.
pub(super) struct UnpackedImage {
    /// Layers, the topmost first.
    layers: Vec<HeldLayer>,
    _manifest: HeldBlob,
    /// Folder with the layers that a store lacks and has no room for: it is only readable.
    _beside: Option<NewFolder>,
}

impl UnpackedImage {
    /// Opens the layers of a recorded image; unpacks the missing ones. A store that is only readable may lack layers in
    /// the form of this user: these are unpacked in `$TMPDIR`. Runs in the base user namespace.
    pub(super) fn of(store: &Store, image: &ImageRecord, owners: &Owners) -> Result<Self> {
        let Some(manifest) = store.blob(&image.manifest)? else {
            return Err(Error::not_found("it was removed meanwhile"));
        };
        let lacks = || image.layers.iter().any(|layer| !store.has_layer(&layer.diff_id, owners));
        if store.is_writable() || !lacks() {
            unpack_missing(store, image, owners, &|| ())?;
            let layers = hold(store, None, image, owners)?;
            return Ok(Self { layers, _manifest: manifest, _beside: None });
        }
        let beside = NewFolder::folder(&std::env::temp_dir(), "usnea-")?;
        let second = Store::open(&beside.path.join("store"))?;
        for layer in image.layers.iter().filter(|layer| !store.has_layer(&layer.diff_id, owners)) {
            unpack_layer(store, layer, owners, &second, &|| ())?;
        }
        let layers = hold(store, Some(&second), image, owners)?;
        Ok(Self { layers, _manifest: manifest, _beside: Some(beside) })
    }

    /// Returns the folders of the layers, the topmost first.
    pub(super) fn folders(&self) -> Vec<LayerSource> {
        let folder = |layer: &HeldLayer| LayerSource {
            whiteouts: layer.facts.whiteouts,
            ..LayerSource::from(layer.fs.clone())
        };
        self.layers.iter().map(folder).collect()
    }
}

/// Locks the visible layers in `store`, or in `second` for those that `store` lacks; the topmost is the first.
fn hold(
    store: &Store,
    second: Option<&Store>,
    image: &ImageRecord,
    owners: &Owners,
) -> Result<Vec<HeldLayer>> {
    let mut layers = Vec::new();
    for layer in image.layers.iter().rev() {
        let place = match second {
            Some(second) if !store.has_layer(&layer.diff_id, owners) => second,
            _ => store,
        };
        let LayerClaim::Present(held) =
            place.claim_layer(&layer.diff_id, owners, LayerTrust::Recorded, &|| ())?
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
