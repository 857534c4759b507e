//! `usnea rm` and `usnea container prune`: removes containers.

use super::selection::{Failures, Missing, Said, Selection, each_together, fitting, say};
use crate::amount;
use crate::cli::output::prompt::confirm;
use crate::container::{self, Filter, Removal, Usnea};
use crate::error::Result;
use crate::monitor::Status;

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
    let missing = Missing::ignored(arguments.force || arguments.ignore);
    if arguments.selection.is_all() {
        for id in container::damaged(&store)? {
            let how = Removal { force: arguments.force, ..Removal::default() };
            container::remove(usnea, &id, how)?;
            say(&id);
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
            container::remove(usnea, &selected.id, how).map(|()| Said::Name)
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
    let (failures, bytes) = prune_ended(usnea, &filters)?;
    say(&format!("Total reclaimed space: {}", amount::size(bytes)));
    failures.end()
}

/// Removes the containers that do not run and fit the filters, and prints their IDs. Returns the failures, and the
/// freed bytes.
pub fn prune_ended(usnea: &Usnea, filters: &[Filter]) -> Result<(Failures, u64)> {
    let (mut failures, mut bytes) = (Failures::default(), 0);
    let mut is_first = true;
    for container in fitting(usnea.store()?, filters)? {
        if !matches!(container.status()?, Status::Created | Status::Exited(_)) {
            continue;
        }
        let size = container::size(&container);
        match container::remove(usnea, &container.record.id, Removal::default()) {
            Ok(()) => {
                if std::mem::take(&mut is_first) {
                    say("Deleted Containers:");
                }
                say(&container.record.id);
                bytes += size;
            }
            Err(error) => failures.add(error),
        }
    }
    if !is_first {
        say("");
    }
    Ok((failures, bytes))
}
