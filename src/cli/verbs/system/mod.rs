//! `usnea system ...`: a file for each verb.

mod df;
pub mod info;
mod prune;
mod reset;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::cli::verbs::events;
use crate::container::Usnea;
use crate::error::Result;

/// Manage the store
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Subcommand)]
enum SystemCommand {
    /// Show disk usage.
    Df(Late<df::Arguments>),
    /// Show events of containers, images, networks and volumes.
    Events(Late<events::Arguments>),
    /// Show information about this machine and the store.
    Info(Late<info::Arguments>),
    /// Remove unused data.
    Prune(Late<prune::Arguments>),
    /// Remove all containers, images, networks and volumes.
    Reset(Late<reset::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        SystemCommand::Df(Late(df)) => df::run(&df, usnea),
        SystemCommand::Events(Late(events)) => events::run(&events, usnea),
        SystemCommand::Info(Late(info)) => info::run(&info, usnea),
        SystemCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
        SystemCommand::Reset(Late(reset)) => reset::run(&reset, usnea),
    }
}
