//! `usnea system ...`: one file a verb.

mod df;
pub mod info;
mod prune;
mod reset;

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
    /// Show what this machine is and what usnea keeps on it.
    Info(info::Arguments),
    /// Remove what nobody needs.
    Prune(prune::Arguments),
    /// Remove all that usnea keeps.
    Reset(reset::Arguments),
}

/// Carries it out.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    match arguments.command {
        Command::Df(df) => df::run(&df, root),
        Command::Info(info) => info::run(&info, root),
        Command::Prune(prune) => prune::run(&prune, root),
        Command::Reset(reset) => reset::run(&reset, root),
    }
}
