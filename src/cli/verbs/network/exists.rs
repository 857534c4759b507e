//! `usnea network exists`: tells by the exit status.

use crate::container::Usnea;
use crate::container::networks;
use crate::error::{ErrorKind, Result};

/// Check whether a network exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Network name, or prefix of its ID.
    #[arg(value_name = "NETWORK")]
    name: String,
}

/// Returns 0 if the network exists, else 1.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    match networks::find(usnea.store()?, &arguments.name) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
