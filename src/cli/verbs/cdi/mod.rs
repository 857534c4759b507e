//! `usnea cdi`: a file for each verb.

mod check;
mod generate;
mod hook;
mod list;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::error::Result;

/// Show devices of the Container Device Interface
///
/// Files of the Container Device Interface (CDI) describe devices of vendors: their device files, libraries, variables
/// and hooks. They are read from /etc/cdi, /var/run/cdi and $XDG_CONFIG_HOME/cdi (~/.config/cdi), files *.json and
/// *.yaml; a later directory goes before an earlier one. --device and --gpus of run and create take the devices' names.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: CdiCommand,
}

#[derive(Subcommand)]
enum CdiCommand {
    /// Check the files: exit with 1 if one of them, or a device, cannot be used.
    Check(Late<check::Arguments>),
    /// Print a specification of this machine's graphics processors.
    Generate(Late<generate::Arguments>),
    /// Change files of a container that is being created.
    Hook(Late<hook::Arguments>),
    /// List devices.
    #[command(visible_alias = "ls")]
    List(Late<list::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        CdiCommand::Check(Late(check)) => check::run(&check),
        CdiCommand::Generate(Late(generate)) => generate::run(&generate),
        CdiCommand::Hook(Late(hook)) => hook::run(hook),
        CdiCommand::List(Late(list)) => list::run(list),
    }
}
