//! `usnea pod rm`: removes pods with their containers.

use crate::cli::flags::pod::{MissingPods, PodSelection};
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::Usnea;
use crate::container::pods::{self, PodRemoval};
use crate::error::Result;

/// Remove pods with their containers
///
/// A pod with a running container is not removed without --force.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: PodSelection,

    /// Stop and remove running containers too, and ignore missing pods.
    #[arg(short, long)]
    force: bool,

    /// Ignore pods that do not exist.
    #[arg(short, long)]
    ignore: bool,

    /// Seconds to wait before running containers are killed. Default: 0.
    #[arg(short, long, value_name = "SECONDS", requires = "force", allow_negative_numbers = true)]
    time: Option<i64>,
}

/// Removes pods, and prints their IDs.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let missing = match arguments.force || arguments.ignore {
        true => MissingPods::Ignored,
        false => MissingPods::Fails,
    };
    let how = PodRemoval { force: arguments.force, time: arguments.time };
    let mut failures = Failures::default();
    for id in arguments.selection.find(usnea, missing, &mut failures)? {
        match pods::remove(usnea, &id, how) {
            Ok(()) => print_line(&id),
            Err(error) => failures.add(error),
        }
    }
    failures.end()
}
