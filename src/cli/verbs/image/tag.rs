//! `usnea tag`, `usnea image tag`: adds names to an image.

use crate::container::Usnea;
use crate::container::images;
use crate::error::Result;

/// Add names to an image
///
/// If another image has the name, it is moved to this image. A name without a registry is stored as localhost/NAME,
/// which is looked up before the names of registries.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "SOURCE")]
    source: String,

    /// New names: NAME[:TAG].
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
}

/// Adds the names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    images::tag(usnea, &arguments.source, &arguments.targets)?;
    Ok(0)
}
