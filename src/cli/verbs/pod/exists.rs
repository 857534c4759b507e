//! `usnea pod exists`: tells by the exit status.

use crate::container::{Usnea, pods};
use crate::error::{ErrorKind, Result};

/// Check whether a pod exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Pod name, or prefix of its ID.
    #[arg(value_name = "POD")]
    name: String,
}

/// Returns 0 if the pod exists, else 1.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    match pods::find_id(usnea, &arguments.name) {
        Ok(_) => Ok(0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}
