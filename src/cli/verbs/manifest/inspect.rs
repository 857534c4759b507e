//! `usnea manifest inspect`: the document of a list.

use crate::cli::flags::registry::RegistryFlags;
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::inspect_list;
use crate::error::{Error, Result};

/// Show a manifest list of the store, or a manifest of a registry
///
/// A list of the store takes precedence.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the list, or [docker://][REGISTRY/]NAME[:TAG][@DIGEST].
    #[arg(value_name = "LIST")]
    list: String,

    #[command(flatten)]
    registry: RegistryFlags,
}

/// Prints the document.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let document = inspect_list(usnea, &arguments.list, &arguments.registry.options()?)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&document).map_err(Error::new)?))
}
