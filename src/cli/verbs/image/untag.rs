//! `usnea untag`, `usnea image untag`: removes names of an image.

use crate::container::Usnea;
use crate::container::images;
use crate::error::Result;

/// Remove names from an image
///
/// The image is kept, even without any name. 'usnea image prune' removes images without a name.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Names to remove. Default: all names of the image.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Removes the names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    images::untag(usnea, &arguments.image, &arguments.names)?;
    Ok(0)
}
