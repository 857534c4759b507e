//! `usnea system reset`: removes all of the store.

use crate::cli::output::prompt::confirm;
use crate::container;
use crate::container::Usnea;
use crate::error::Result;

/// Remove all containers, images, networks and volumes
///
/// Removes all containers, including running ones, all images, volumes and networks, and the directories of the store.
/// Keeps settings, logins and image stores of other users.
#[derive(clap::Args)]
pub struct Arguments {
    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,
}

/// Removes all of the store, after a question at the terminal.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let objects = format!(
        "all containers, images, volumes and networks, and all else that usnea keeps in {}",
        store.display()
    );
    if !arguments.force && !confirm(&objects)? {
        return Ok(0);
    }
    for path in container::reset(usnea)? {
        log::warn!("{} is not usnea's and stays", path.display());
    }
    Ok(0)
}
