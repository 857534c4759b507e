//! `usnea volume`: a file for each verb.

mod archive;
mod create;
mod exists;
mod inspect;
mod list;
mod prune;
mod remove;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
use crate::error::Result;

/// Manage volumes
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: VolumeCommand,
}

#[derive(Subcommand)]
enum VolumeCommand {
    /// Create a volume.
    Create(Late<create::Arguments>),
    /// Export the files of a volume as a tar archive.
    Export(Late<archive::ExportArguments>),
    /// Check whether a volume exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Import a tar archive into a volume.
    Import(Late<archive::ImportArguments>),
    /// Show detailed information on volumes.
    Inspect(Late<inspect::Arguments>),
    /// List volumes.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Remove all unused volumes.
    Prune(Late<prune::Arguments>),
    /// Remove volumes.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    match arguments.command {
        VolumeCommand::Create(Late(create)) => create::run(&create, usnea),
        VolumeCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        VolumeCommand::Export(Late(export)) => archive::export(&export, usnea),
        VolumeCommand::Import(Late(import)) => archive::import(&import, usnea),
        VolumeCommand::Inspect(Late(inspect)) => inspect::run(&inspect, store),
        VolumeCommand::Ls(Late(list)) => list::run(list, usnea),
        VolumeCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
        VolumeCommand::Rm(Late(remove)) => remove::run(&remove, usnea),
    }
}
