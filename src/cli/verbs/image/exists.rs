//! `usnea image exists`: tells by the exit status.

use crate::container::Usnea;
use crate::container::images;
use crate::error::Result;

/// Check whether an image exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Returns 0 if the image exists, else 1.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let is_there = images::exists(usnea, &arguments.image)?;
    Ok(if is_there { 0 } else { 1 })
}
