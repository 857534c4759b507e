//! `usnea generate`: files for other programs.

mod create_command;
mod systemd;
mod unit;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
use crate::error::Result;

/// Generate units of systemd for containers and pods
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: GenerateCommand,
}

#[derive(Subcommand)]
enum GenerateCommand {
    /// Generate units of systemd for a container, or for a pod and its containers.
    Systemd(Late<systemd::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        GenerateCommand::Systemd(Late(arguments)) => systemd::run(arguments, usnea),
    }
}
