//! `usnea manifest exists`: tells by the exit status.

use crate::container::{Usnea, images};
use crate::error::Result;

/// Exit with 0 when the manifest list is here, with 1 when it is not
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the list.
    #[arg(value_name = "LIST")]
    list: String,
}

/// Returns 0 if the list exists, else 1.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    Ok(if images::has_list(usnea, &arguments.list)? { 0 } else { 1 })
}
