//! `usnea rm` and `usnea container prune`: removes containers.

use super::selection::{AfterSuccess, Failures, Missing, Selection, each_together, print_line};
use crate::amount;
use crate::cli::output::prompt::confirm;
use crate::container::{self, Filter, PrunedContainers, Removal, Usnea};
use crate::error::Result;

/// Remove containers
///
/// A container is removed with its log and all files that its command wrote.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Kill and remove running containers; missing containers are no error.
    #[arg(short, long)]
    force: bool,

    /// Remove anonymous volumes too. (Those of `create --rm` are always removed.)
    #[arg(short, long)]
    volumes: bool,

    /// Seconds to wait before a running container is killed, with --force. Default: 0.
    #[arg(short, long = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,

    /// Ignore containers that do not exist.
    #[arg(short, long)]
    ignore: bool,

    /// With --force: remove it even if another machine that shares the store still counts as running it. For a machine
    /// that is gone for good.
    #[arg(long, requires = "force")]
    other_host: bool,
}

/// Remove all stopped containers
#[derive(clap::Args)]
pub struct PruneArguments {
    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes the selected containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let missing = match arguments.force || arguments.ignore {
        true => Missing::Ignored,
        false => Missing::Fails,
    };
    if arguments.selection.is_all() {
        for id in container::damaged(&store)? {
            let how = Removal { force: arguments.force, ..Removal::default() };
            container::remove(usnea, &id, how)?;
            print_line(&id);
        }
    }
    let how = Removal {
        force: arguments.force,
        time: arguments.time,
        volumes: arguments.volumes,
        other_host: arguments.other_host,
    };
    each_together(
        &arguments.selection,
        &store,
        missing,
        |selected| container::begin_removal(usnea, &selected.id, how),
        |selected, stopping| {
            stopping.map_or(Ok(()), |(container, stopping)| stopping.finish(&container))?;
            container::remove(usnea, &selected.id, how).map(|()| AfterSuccess::PrintName)
        },
    )
}

/// Removes all containers that do not run.
pub fn prune(arguments: &PruneArguments, usnea: &Usnea) -> Result<u8> {
    let filters =
        arguments.filters.iter().map(|text| text.parse()).collect::<Result<Vec<Filter>>>()?;
    if !arguments.force && !confirm("all containers that do not run")? {
        return Ok(0);
    }
    let pruned = container::prune(usnea, &filters)?;
    print_pruned(&pruned);
    print_line(&format!("Total reclaimed space: {}", amount::size(pruned.bytes)));
    Failures::from(pruned.failures).end()
}

/// Prints the IDs of the removed containers, in docker's words.
pub fn print_pruned(pruned: &PrunedContainers) {
    if pruned.ids.is_empty() {
        return;
    }
    print_line("Deleted Containers:");
    pruned.ids.iter().for_each(|id| print_line(id));
    print_line("");
}
