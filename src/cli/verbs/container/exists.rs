//! `usnea container exists`: tells by the exit status.

use crate::container::{self, Usnea};
use crate::error::Result;

/// Check whether a container exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Accepted for compatibility with podman: containers of other programs are never considered.
    #[arg(long)]
    external: bool,
}

/// Returns 0 if the container exists, else 1. Errors: the text is the beginning of several IDs.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    usnea.store()?;
    Ok(if container::find_id(usnea, &arguments.container).is_ok() { 0 } else { 1 })
}
