//! `usnea secret`: a file for each verb.

mod create;
mod exists;
mod inspect;
mod list;
mod remove;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
use crate::error::Result;

/// Manage secrets
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Subcommand)]
enum SecretCommand {
    /// Create a secret.
    Create(Late<create::Arguments>),
    /// Check whether a secret exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Show detailed information on secrets.
    Inspect(Late<inspect::Arguments>),
    /// List secrets.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Remove secrets.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    match arguments.command {
        SecretCommand::Create(Late(create)) => create::run(&create, usnea),
        SecretCommand::Exists(Late(exists)) => exists::run(&exists, store),
        SecretCommand::Inspect(Late(inspect)) => inspect::run(&inspect, store),
        SecretCommand::Ls(Late(list)) => list::run(list, store),
        SecretCommand::Rm(Late(remove)) => remove::run(&remove, store),
    }
}
