//! `usnea pod prune`: removes the pods that do not run.

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::prompt::confirm;
use crate::container::Usnea;
use crate::container::pods::{self, PodFilter};
use crate::error::Result;

/// Remove all pods without running containers
///
/// Their containers are removed too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter as in 'usnea pod ps'. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes the pods, after a question at the terminal, and prints their IDs.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let filters = arguments.filters.iter().map(|text| text.parse::<PodFilter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    if !arguments.force && !confirm("all pods without running containers")? {
        return Ok(0);
    }
    let pruned = pods::prune(usnea, &filters)?;
    pruned.removed.iter().for_each(|id| print_line(id));
    Failures::from(pruned.failures).end()
}
