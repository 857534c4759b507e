//! `usnea import`: makes an image of one layer from the tarball of a root directory.

use super::NoProgress;
use crate::config::LayerLimits;
use crate::container::Usnea;
use crate::container::stores::{self};
use crate::error::{Context, Result};
use crate::image::Reference;
use crate::image::archive::plain::ArchiveSource;
use crate::image::compose::{self, ImageDetails};
use crate::image::instruction::ConfigChange;
use crate::image::manifest::Platform;
use crate::image::pull::ImagePull;
use crate::image::store::ImageRecord;
use crate::userns::{self};

/// Tarball to import, and the properties of the new image.
#[derive(Debug)]
pub struct Import {
    /// Tarball, plain or compressed: a file, a URL or a stream.
    pub input: ArchiveSource,
    /// Name of the new image.
    pub name: Option<Reference>,
    /// Platform of the new image.
    pub platform: Platform,
    /// Comment in the image's history.
    pub message: Option<String>,
    /// Changes of the image's config.
    pub changes: Vec<ConfigChange>,
}

/// Imports the tarball as an image of the user's own store.
pub fn import(usnea: &Usnea, import: &Import) -> Result<ImageRecord> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let store = stores.own();
    let owners = stores::owners(base, store);
    let shown = &import.input;
    let details = ImageDetails {
        platform: import.platform.clone(),
        created: jiff::Timestamp::now(),
        author: None,
        message: Some(import.message.clone().unwrap_or_else(|| format!("Imported from {shown}"))),
        created_by: None,
        changes: import.changes.clone(),
    };
    let names: Vec<Reference> = import.name.iter().cloned().collect();
    let imported = userns::in_base(base, || {
        let source = compose::rootfs_image(&import.input, &store.tmp(), &details)
            .context(|| "cannot import")?;
        let pull = ImagePull {
            action: "import",
            store,
            platform: &import.platform,
            names: &names,
            owners: &owners,
            limits: &LayerLimits::NONE,
            parallel: 1,
            progress: &NoProgress,
            approve: &|_| Ok(()),
        };
        pull.run(&source)
    })?;
    stores.take_names(store, &names);
    super::log_image_event(
        stores,
        &imported.config,
        "import",
        names.first().map(ToString::to_string),
    );
    Ok(imported)
}
