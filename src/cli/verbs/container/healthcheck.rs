//! `usnea healthcheck`: runs a container's health check.

use clap::Subcommand;

use crate::cli::output::print_line;
use crate::container::{self, CheckOutcome, Usnea};
use crate::error::Result;
use crate::monitor::health::Health;

/// Manage health checks of containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: HealthcheckCommand,
}

#[derive(Subcommand)]
enum HealthcheckCommand {
    /// Run the health check of a container.
    Run(CheckArguments),
}

/// Check a container now
///
/// Does what the monitor does at its time, and notes it. The exit status is 0 if the check passed; else "unhealthy" is
/// printed and it is 1, however many failures the container is allowed.
#[derive(clap::Args)]
struct CheckArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Runs the check; returns 1 if it fails.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let HealthcheckCommand::Run(run) = &arguments.command;
    let container = container::find(usnea, &run.container)?;
    match container::check_health(&container)? {
        CheckOutcome::Failed => {
            print_line(Health::Unhealthy.word());
            Ok(1)
        }
        CheckOutcome::Passed => Ok(0),
    }
}
