//! `usnea volume rm` and `usnea volume prune`: removes volumes.

use crate::amount;
use crate::cli::container::selection::{Failures, print_line};
use crate::cli::output::prompt::confirm;
use crate::container::Usnea;
use crate::container::volumes::{self, VolumeFilter};
use crate::error::{Error, Result};

/// Remove volumes
///
/// Removes volumes with their files. A volume that a container mounts, running or stopped, is not removed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Volume names.
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    names: Vec<String>,

    /// Select all volumes.
    #[arg(short, long, conflicts_with = "names")]
    all: bool,

    /// Ignore volumes that do not exist.
    #[arg(short, long)]
    force: bool,
}

/// Remove all unused volumes
///
/// Removes volumes without a name; with --all, those with names too.
#[derive(clap::Args)]
pub struct PruneArguments {
    /// Remove all unused volumes, those with names too.
    #[arg(short, long)]
    all: bool,

    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by label=KEY[=VALUE], label!=KEY[=VALUE] or until=TIME. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes volumes, and prints their names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let mut failures = Failures::default();
    let mut names = arguments.names.clone();
    if arguments.all {
        names.extend(volumes::all(store)?.into_iter().map(|volume| volume.name.to_string()));
    }
    for typed in &names {
        let removed = match volumes::named(store, typed) {
            Ok((name, _)) => volumes::remove(usnea, &name),
            // A damaged volume, such as after a kill, can be removed too.
            Err(error) => match typed.parse() {
                Ok(name) if volumes::folder(store).join(typed).exists() => {
                    volumes::remove(usnea, &name)
                }
                _ if arguments.force => continue,
                _ => Err(error),
            },
        };
        match removed {
            Ok(()) => print_line(typed),
            Err(error) => failures.add(error),
        }
    }
    failures.end()
}

/// Removes the volumes that no container mounts.
pub fn prune(arguments: &PruneArguments, usnea: &Usnea) -> Result<u8> {
    let _store = usnea.store()?;
    let filters = arguments.filters.iter().map(|text| text.parse::<VolumeFilter>());
    let mut filters = filters.collect::<Result<Vec<_>>>()?;
    if let Some(number) = filters.iter().position(|filter| {
        !matches!(
            filter,
            VolumeFilter::Label(_) | VolumeFilter::NoLabel(_) | VolumeFilter::Until(_)
        )
    }) {
        let text = arguments.filters.get(number).map(String::as_str).unwrap_or_default();
        return Err(Error::new(format!("--filter {}: not for prune", text.escape_debug()))
            .hint("label, label!, until"));
    }
    let what = match arguments.all {
        true => "all volumes that no container mounts",
        false => "all volumes without a name that no container mounts",
    };
    if !arguments.force && !confirm(what)? {
        return Ok(0);
    }
    if !arguments.all {
        filters.push(VolumeFilter::Anonymous(true));
    }
    let pruned = volumes::prune(usnea, &filters)?;
    if !pruned.names.is_empty() {
        print_line("Deleted Volumes:");
        pruned.names.iter().for_each(|name| print_line(name.as_str()));
        print_line("");
    }
    print_line(&format!("Total reclaimed space: {}", amount::size(pruned.bytes)));
    Ok(0)
}
