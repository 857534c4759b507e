//! `usnea network prune`: removes unused networks.

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::prompt::confirm;
use crate::container::Usnea;
use crate::container::networks::{self, NetworkFilter};
use crate::error::Result;

/// Remove all unused networks
///
/// Removes the networks that no container uses, running or stopped.
#[derive(clap::Args)]
pub struct Arguments {
    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = prune_filter)]
    filters: Vec<NetworkFilter>,
}

/// Parses docker's filters of prune. Errors: no filter, or a filter for listings only.
pub fn prune_filter(text: &str) -> std::result::Result<NetworkFilter, String> {
    match text.parse::<NetworkFilter>() {
        Ok(NetworkFilter::Common(filter)) if filter.is_for_prune() => {
            Ok(NetworkFilter::Common(filter))
        }
        _ => Err("expected until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]".into()),
    }
}

/// Removes unused networks, after a question at the terminal.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if !arguments.force && !confirm("all networks that no container uses")? {
        return Ok(0);
    }
    let pruned = networks::prune(usnea, &arguments.filters)?;
    if !pruned.removed.is_empty() {
        print_line("Deleted Networks:");
        pruned.removed.iter().for_each(|name| print_line(name.as_str()));
        print_line("");
    }
    Failures::from(pruned.failures).end()
}
