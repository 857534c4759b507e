//! `usnea network`: a file for each verb.

mod connect;
mod create;
mod disconnect;
mod exists;
mod inspect;
mod list;
mod prune;
mod reload;
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
    /// Connect a container to a network.
    Connect(Late<connect::Arguments>),
    /// Create a network.
    Create(Late<create::Arguments>),
    /// Disconnect a container from a network.
    Disconnect(Late<disconnect::Arguments>),
    /// Check whether a network exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Show detailed information on networks.
    Inspect(Late<inspect::Arguments>),
    /// List networks.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Remove all unused networks.
    Prune(Late<prune::Arguments>),
    /// Reconnect the networks of running containers.
    Reload(Late<reload::Arguments>),
    /// Remove networks.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        NetworkCommand::Connect(Late(connect)) => connect::run(connect, usnea),
        NetworkCommand::Create(Late(create)) => create::run(create, usnea),
        NetworkCommand::Disconnect(Late(disconnect)) => disconnect::run(&disconnect, usnea),
        NetworkCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        NetworkCommand::Inspect(Late(inspect)) => inspect::run(&inspect, usnea),
        NetworkCommand::Ls(Late(list)) => list::run(list, usnea),
        NetworkCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
        NetworkCommand::Reload(Late(reload)) => reload::run(&reload, usnea),
        NetworkCommand::Rm(Late(remove)) => remove::run(&remove, usnea),
    }
}
