//! `usnea slurm`: a file for each verb.

mod bundle;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::error::Result;

/// Prepare containers for the workload manager Slurm
///
/// srun --container=BUNDLE starts a bundle of an OCI runtime, srun usnea run an image without any settings of the
/// cluster.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: SlurmCommand,
}

#[derive(Subcommand)]
enum SlurmCommand {
    /// Write a bundle that names an image, for srun --container.
    Bundle(Late<bundle::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        SlurmCommand::Bundle(Late(bundle)) => bundle::run(&bundle),
    }
}
