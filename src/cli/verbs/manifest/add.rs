//! `usnea manifest add` and `usnea manifest annotate`: changes of a list's entries.

use super::{EntryFlags, print_id};
use crate::cli::flags::registry::RegistryFlags;
use crate::container::Usnea;
use crate::container::images::{Annotated, ImagesToList, add_to_list, annotate_list};
use crate::error::Result;
use crate::image::manifest::Platform;

/// Add images to a manifest list
///
/// Prints the ID of the list. The platform of an entry is that of the image, unless given by options.
#[derive(clap::Args)]
pub struct AddArguments {
    /// Name or ID of the list.
    #[arg(value_name = "LIST")]
    list: String,

    /// Images: of the store, or [docker://][REGISTRY/]NAME[:TAG][@DIGEST].
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Add all images of a registry's list, not only the one for this machine (or for --arch, --os and --variant).
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    entry: EntryFlags,

    #[command(flatten)]
    registry: RegistryFlags,
}

/// Change the platform or the annotations of an entry
#[derive(clap::Args)]
pub struct AnnotateArguments {
    /// Name or ID of the list.
    #[arg(value_name = "LIST")]
    list: String,

    /// Digest of the entry, or the image as it was added.
    #[arg(value_name = "IMAGE", required_unless_present = "index")]
    image: Option<String>,

    /// Change the annotations of the list itself.
    #[arg(long, conflicts_with_all = ["image", "arch", "os", "variant", "os_version", "os_features", "features"])]
    index: bool,

    #[command(flatten)]
    entry: EntryFlags,
}

/// Adds images to a list.
pub fn add(arguments: AddArguments, usnea: &Usnea) -> Result<u8> {
    let change = arguments.entry.change();
    let is_chosen = change.architecture.is_some() || change.os.is_some();
    let parts = || {
        let (architecture, os) = (change.architecture.clone(), change.os.clone());
        Platform::of_parts(architecture, os, change.variant.clone())
    };
    let images = ImagesToList {
        images: arguments.images,
        all: arguments.all,
        platform: is_chosen.then(parts),
        asked: arguments.registry.options()?,
    };
    print_id(&add_to_list(usnea, &arguments.list, &images, &change)?)
}

/// Changes an entry, or the list's annotations.
pub fn annotate(arguments: AnnotateArguments, usnea: &Usnea) -> Result<u8> {
    let target = arguments.image.map_or(Annotated::List, Annotated::Entry);
    print_id(&annotate_list(usnea, &arguments.list, &target, &arguments.entry.change())?)
}
