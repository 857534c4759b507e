//! `usnea manifest exists`: tells by the exit status.

use crate::container::{Usnea, images};
use crate::error::Result;

/// Check whether a manifest list exists: exit with 0 if so, else with 1
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
