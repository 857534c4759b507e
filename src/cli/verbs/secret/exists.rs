//! `usnea secret exists`: tells by the exit status.

use std::path::Path;

use crate::container::secrets;
use crate::error::{ErrorKind, Result};

/// Check whether a secret exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Secret name or ID.
    #[arg(value_name = "SECRET")]
    name: String,
}

/// Returns 0 if the secret exists, else 1.
pub fn run(arguments: &Arguments, store: &Path) -> Result<u8> {
    match secrets::find(store, &arguments.name) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
