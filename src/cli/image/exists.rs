//! `usnea image exists`: tells by the exit status.

use std::path::Path;

use crate::container::images;
use crate::container::stores::Stores;
use crate::error::Result;

/// Exit with 0 when the image is here, with 1 when it is not
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Returns 0 if the image exists, else 1.
pub fn run(arguments: &Arguments, root: Option<&Path>) -> Result<u8> {
    let is_there = images::exists(&Stores::open(root)?, &arguments.image)?;
    Ok(if is_there { 0 } else { 1 })
}
