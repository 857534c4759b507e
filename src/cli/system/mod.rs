//! `usnea system ...`: one file a verb.

mod df;
mod prune;

use std::path::Path;

use clap::Subcommand;

use crate::error::Result;

/// Show and clear what usnea keeps
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what takes how much of the disk.
    Df(df::Arguments),
    /// Remove what nobody needs.
    Prune(prune::Arguments),
}

/// Carries it out.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    match arguments.command {
        Command::Df(df) => df::run(&df, root),
        Command::Prune(prune) => prune::run(&prune, root),
    }
}
