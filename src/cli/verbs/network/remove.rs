//! `usnea network rm`: removes networks.

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::Usnea;
use crate::container::networks::{self, ContainersOfNetwork, MissingNetwork};
use crate::error::Result;

/// Remove networks
///
/// A network that a container uses, running or stopped, is not removed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Network names, or prefixes of their IDs.
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,

    /// Kill and remove containers that use the networks, and ignore missing networks.
    #[arg(short, long)]
    force: bool,
}

/// Removes networks, and prints their names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _store = usnea.store()?;
    let (containers, missing) = match arguments.force {
        true => (ContainersOfNetwork::Removed, MissingNetwork::Ignored),
        false => (ContainersOfNetwork::Kept, MissingNetwork::Fails),
    };
    let mut failures = Failures::default();
    for typed in &arguments.names {
        match networks::remove(usnea, typed, containers, missing) {
            Ok(true) => print_line(typed),
            Ok(false) => {}
            Err(error) => failures.add(error),
        }
    }
    failures.end()
}
