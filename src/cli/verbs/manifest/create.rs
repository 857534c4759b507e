//! `usnea manifest create`: makes a list.

use super::{parse_annotation, print_id};
use crate::cli::flags::registry::RegistryFlags;
use crate::container::Usnea;
use crate::container::images::{Existing, ImagesToList, create_list};
use crate::error::Result;

/// Create a manifest list
///
/// Prints its ID. 'usnea manifest push' sends it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the list: [REGISTRY/]NAME[:TAG]. Without a registry, localhost/NAME, which is pushed with a DESTINATION.
    #[arg(value_name = "LIST")]
    list: String,

    /// Images to add: of the store, or [docker://][REGISTRY/]NAME[:TAG][@DIGEST].
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// Add the images to an existing list.
    #[arg(short, long)]
    amend: bool,

    /// Add all images of a registry's list, not only the one for this machine.
    #[arg(long)]
    all: bool,

    /// Annotation of the list. May be given more than once.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = parse_annotation)]
    annotations: Vec<(String, String)>,

    #[command(flatten)]
    registry: RegistryFlags,
}

/// Makes a list, and prints its ID.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let images = ImagesToList {
        images: arguments.images,
        all: arguments.all,
        platform: None,
        asked: arguments.registry.options()?,
    };
    let existing = if arguments.amend { Existing::Amend } else { Existing::Refuse };
    print_id(&create_list(usnea, &arguments.list, &images, &arguments.annotations, existing)?)
}
