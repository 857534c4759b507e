//! `usnea container prune`: removes stopped containers.

use crate::amount;
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::prompt::confirm;
use crate::container::{self, ContainerFilter, Usnea};
use crate::error::Result;

/// Remove all stopped containers
#[derive(clap::Args)]
pub struct Arguments {
    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes all containers that do not run.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let filters = arguments
        .filters
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<ContainerFilter>>>()?;
    if !arguments.force && !confirm("all containers that do not run")? {
        return Ok(0);
    }
    let pruned = container::prune(usnea, &filters)?;
    print_pruned(&pruned.removed);
    print_line(&format!("Total reclaimed space: {}", amount::size(pruned.bytes)));
    Failures::from(pruned.failures).end()
}

/// Prints the IDs of the removed containers, in docker's words.
pub fn print_pruned(ids: &[String]) {
    if ids.is_empty() {
        return;
    }
    print_line("Deleted Containers:");
    ids.iter().for_each(|id| print_line(id));
    print_line("");
}
