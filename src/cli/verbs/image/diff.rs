//! `usnea image diff`: changes of an image.

use crate::cli::output::format::Format;
use crate::cli::verbs::container::diff::print_changes;
use crate::container::Usnea;
use crate::container::images;
use crate::error::Result;

/// Show changes to the files between an image and its parent or another image
///
/// Prints one line for each path: A for added, C for changed, D for deleted. The parent consists of all layers but the
/// topmost. Files of two images are compared by owner, mode, time and size, not by content.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Name or ID of the image to compare with. Default: the parent.
    #[arg(value_name = "IMAGE")]
    parent: Option<String>,

    /// json (the paths that were added, changed and deleted), or a Go template for each line. Fields: .Kind .Path
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// Prints the changes.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _stores = usnea.images()?;
    let changes = images::diff(usnea, &arguments.image, arguments.parent.as_deref())?;
    print_changes(&changes, arguments.format.as_ref())
}
