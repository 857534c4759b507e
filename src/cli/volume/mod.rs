//! `usnea volume`: one file a verb.

mod create;
mod inspect;
mod list;
mod remove;

use std::path::Path;

use clap::Subcommand;

use crate::config;
use crate::container::volumes;
use crate::error::Result;

/// Manage volumes
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a volume.
    Create(create::Arguments),
    /// Exit with 0 when the volume is there, with 1 when it is not.
    Exists(ExistsArguments),
    /// Show all that is known of volumes.
    Inspect(inspect::Arguments),
    /// List volumes.
    #[command(visible_alias = "list")]
    Ls(list::Arguments),
    /// Remove volumes that no container mounts.
    Prune(remove::PruneArguments),
    /// Remove volumes.
    #[command(visible_alias = "remove")]
    Rm(remove::Arguments),
}

/// Exit with 0 when the volume is there, with 1 when it is not
#[derive(clap::Args)]
pub struct ExistsArguments {
    /// Its name.
    #[arg(value_name = "VOLUME")]
    name: String,
}

/// Carries it out.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    let store = config::store_path(root)?;
    match arguments.command {
        Command::Create(create) => create::run(&create, &store),
        Command::Exists(exists) => Ok(match volumes::named(&store, &exists.name) {
            Ok(_) => 0,
            Err(_) => 1,
        }),
        Command::Inspect(inspect) => inspect::run(&inspect, &store),
        Command::Ls(list) => list::run(list, &store),
        Command::Prune(prune) => remove::prune(&prune, &store),
        Command::Rm(remove) => remove::run(&remove, &store),
    }
}
