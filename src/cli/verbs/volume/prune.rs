//! `usnea volume prune`: removes unused volumes.

use crate::amount;
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::prompt::confirm;
use crate::container::Usnea;
use crate::container::volumes::{self, VolumeFilter};
use crate::error::{Error, Result};

/// Remove all unused volumes
///
/// Removes anonymous volumes; with --all, named volumes too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all unused volumes, including named ones.
    #[arg(short, long)]
    all: bool,

    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by label=KEY[=VALUE], label!=KEY[=VALUE] or until=TIME. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes the volumes that no container mounts.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _store = usnea.store()?;
    let filters = arguments.filters.iter().map(|text| text.parse::<VolumeFilter>());
    let mut filters = filters.collect::<Result<Vec<_>>>()?;
    let is_meant =
        |filter: &VolumeFilter| matches!(filter, VolumeFilter::Common(one) if one.is_for_prune());
    if let Some(number) = filters.iter().position(|filter| !is_meant(filter)) {
        let text = arguments.filters.get(number).map(String::as_str).unwrap_or_default();
        return Err(Error::invalid(format!("--filter {}: not for prune", text.escape_debug()))
            .hint("label, label!, until"));
    }
    let objects = match arguments.all {
        true => "all volumes that no container mounts",
        false => "all volumes without a name that no container mounts",
    };
    if !arguments.force && !confirm(objects)? {
        return Ok(0);
    }
    if !arguments.all {
        filters.push(VolumeFilter::Anonymous(true));
    }
    let pruned = volumes::prune(usnea, &filters)?;
    if !pruned.removed.is_empty() {
        print_line("Deleted Volumes:");
        pruned.removed.iter().for_each(|name| print_line(name.as_str()));
        print_line("");
    }
    print_line(&format!("Total reclaimed space: {}", amount::size(pruned.bytes)));
    Failures::from(pruned.failures).end()
}
