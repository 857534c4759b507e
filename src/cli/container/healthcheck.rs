//! `usnea healthcheck`.

use std::path::Path;

use clap::Subcommand;

use super::selection::{self, say};
use crate::container::kept;
use crate::error::Result;
use crate::monitor::health::Health;

/// Check the health of containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a container now.
    Run(RunArguments),
}

/// Check a container now
///
/// Does what the monitor does at its time, and notes it. The exit status is 0 unless the container is unhealthy: then it
/// is 1, and says so.
#[derive(clap::Args)]
struct RunArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Checks.
pub fn run(arguments: &Arguments, root: Option<&Path>) -> Result<u8> {
    let Command::Run(run) = &arguments.command;
    let kept = kept::find(&selection::store(root)?, &run.container)?;
    match kept::check_health(&kept)? {
        Health::Unhealthy => {
            say(Health::Unhealthy.word());
            Ok(1)
        }
        _ => Ok(0),
    }
}
