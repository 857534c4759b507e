//! `usnea volume`: a file for each verb.

mod archive;
mod create;
mod inspect;
mod list;
mod remove;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
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
    /// Create a volume.
    Create(Late<create::Arguments>),
    /// Export the files of a volume as a tar archive.
    Export(Late<archive::ExportArguments>),
    /// Check whether a volume exists: exit with 0 if so, else with 1.
    Exists(Late<ExistsArguments>),
    /// Import a tar archive into a volume.
    Import(Late<archive::ImportArguments>),
    /// Show detailed information on volumes.
    Inspect(Late<inspect::Arguments>),
    /// List volumes.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Remove all unused volumes.
    Prune(Late<remove::PruneArguments>),
    /// Remove volumes.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Check whether a volume exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct ExistsArguments {
    /// Volume name.
    #[arg(value_name = "VOLUME")]
    name: String,
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    match arguments.command {
        Command::Create(Late(create)) => create::run(&create, usnea),
        Command::Exists(Late(exists)) => Ok(match volumes::named(&store, &exists.name) {
            Ok(_) => 0,
            Err(_) => 1,
        }),
        Command::Export(Late(export)) => archive::export(&export, usnea),
        Command::Import(Late(import)) => archive::import(&import, usnea),
        Command::Inspect(Late(inspect)) => inspect::run(&inspect, &store),
        Command::Ls(Late(list)) => list::run(list, &store),
        Command::Prune(Late(prune)) => remove::prune(&prune, usnea),
        Command::Rm(Late(remove)) => remove::run(&remove, usnea),
    }
}
