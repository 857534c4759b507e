//! `usnea volume exists`: tells by the exit status.

use crate::container::Usnea;
use crate::container::volumes;
use crate::error::Result;

/// Check whether a volume exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct Arguments {
    /// Volume name.
    #[arg(value_name = "VOLUME")]
    name: String,
}

/// Returns 0 if the volume exists, else 1.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    Ok(if volumes::named(usnea.store()?, &arguments.name).is_ok() { 0 } else { 1 })
}
