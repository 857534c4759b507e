//! `usnea network reload`: interfaces of running containers, made anew.

use crate::cli::output::failures::Failures;
use crate::cli::output::print;
use crate::container::{Usnea, all, find, networks};
use crate::error::Result;

/// Reconnect the networks of running containers
///
/// The containers keep their addresses. Prints the IDs of the containers.
#[derive(clap::Args)]
pub struct Arguments {
    /// Reload all running containers.
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,

    /// Container names, or prefixes of their IDs.
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
}

/// Reloads the networks.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let mut failures = Failures::default();
    let found: Vec<_> = match arguments.all {
        true => {
            let is_meant = |container: &crate::container::Container| {
                container.status().is_ok_and(|status| status.is_running())
            };
            all(usnea)?.into_iter().filter(is_meant).map(Ok).collect()
        }
        false => arguments.containers.iter().map(|text| find(usnea, text)).collect(),
    };
    for container in found {
        let reloaded = container.and_then(|container| {
            networks::reload(&container)?;
            print(&format!("{}\n", container.record.id))
        });
        reloaded.err().into_iter().for_each(|error| failures.add(error));
    }
    failures.end()
}
