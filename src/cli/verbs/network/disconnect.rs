//! `usnea network disconnect`: a network less for a container.

use crate::container::{Usnea, find, networks};
use crate::error::{ErrorKind, Result};

/// Disconnect a container from a network
#[derive(clap::Args)]
pub struct Arguments {
    /// Succeed for a container that does not exist.
    #[arg(short, long)]
    force: bool,

    /// Network name, or prefix of its ID.
    #[arg(value_name = "NETWORK")]
    network: String,

    /// Container name, or prefix of its ID.
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Disconnects the container.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = match find(usnea, &arguments.container) {
        Err(error) if arguments.force && error.kind() == ErrorKind::NotFound => return Ok(0),
        found => found.map_err(|error| error.exit_status(1))?,
    };
    let done = networks::disconnect(&container, &arguments.network);
    done.map_err(|error| error.exit_status(1))?;
    Ok(0)
}
