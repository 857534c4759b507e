//! `usnea network`: a file for each verb.

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

pub use inspect::{document, document_of_named};
pub use prune::prune_filter;

/// Manage networks
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Subcommand)]
enum NetworkCommand {
    /// Create a network.
    Create(Late<create::Arguments>),
    /// Check whether a network exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Show detailed information on networks.
    Inspect(Late<inspect::Arguments>),
    /// List networks.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Remove all unused networks.
    Prune(Late<prune::Arguments>),
    /// Remove networks.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        NetworkCommand::Create(Late(create)) => create::run(create, usnea),
        NetworkCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        NetworkCommand::Inspect(Late(inspect)) => inspect::run(&inspect, usnea),
        NetworkCommand::Ls(Late(list)) => list::run(list, usnea),
        NetworkCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
        NetworkCommand::Rm(Late(remove)) => remove::run(&remove, usnea),
    }
}
