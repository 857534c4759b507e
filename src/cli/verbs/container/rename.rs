//! `usnea rename`: renames a container.

use crate::container::{self, Usnea};
use crate::error::Result;
use crate::spec::ContainerName;

/// Rename a container
#[derive(clap::Args)]
pub struct Arguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// New name.
    #[arg(value_name = "NAME")]
    name: ContainerName,
}

/// Renames a container.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = container::find(usnea, &arguments.container)?;
    container::rename(&container, &arguments.name)?;
    Ok(0)
}
