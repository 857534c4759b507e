//! `usnea wait`, `exists` and `rename`.

use std::time::Duration;

use super::selection::{AfterSuccess, Missing, Selection, each, open, print_line};
use crate::container::{self, Container, Usnea, WaitCondition};
use crate::duration;
use crate::error::Result;
use crate::spec::ContainerName;

/// Wait until containers have exited
///
/// Prints the exit status of each container; -1 for a container that still runs when --condition holds.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Wait for this state instead: created, running, paused, exited, stopped, healthy, unhealthy or removed. May be given
    /// more than once: the first that holds ends the wait.
    #[arg(long = "condition", value_name = "STATE")]
    conditions: Vec<WaitCondition>,

    /// Polling interval for states without a notification, as 250ms or 2s; a number alone is milliseconds.
    #[arg(short, long, value_name = "TIME", value_parser = interval, default_value = "250ms")]
    interval: Duration,

    /// Print -1 for containers that do not exist, instead of failing.
    #[arg(long)]
    ignore: bool,
}

/// Check whether a container exists: exit with 0 if so, else with 1
#[derive(clap::Args)]
pub struct ExistsArguments {
    /// Name or ID of the container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Accepted for scripts of podman: containers that other programs keep are never looked at.
    #[arg(long)]
    external: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u64>().ok().map(Duration::from_millis);
    let time = number.or_else(|| duration::parse(text)).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time such as 250ms or 2s".to_owned())
}

/// Rename a container
#[derive(clap::Args)]
pub struct RenameArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// New name.
    #[arg(value_name = "NAME")]
    name: ContainerName,
}

/// Waits for containers, and prints their exit statuses.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let wait = |container: &Container| match &arguments.conditions[..] {
        [] => container::wait(container).map(i32::from),
        conditions => container::wait_for(container, conditions, arguments.interval),
    };
    if arguments.ignore {
        let gone = arguments
            .selection
            .names()
            .iter()
            .filter(|name| container::find_id(&store, name).is_err());
        gone.for_each(|_| print_line("-1"));
    }
    let missing = if arguments.ignore { Missing::Ignored } else { Missing::Fails };
    each(&arguments.selection, &store, missing, |selected| {
        print_line(&wait(&open(&store, selected)?)?.to_string());
        Ok(AfterSuccess::PrintNothing)
    })
}

/// Returns 0 if the container exists, else 1. Errors: the text is the beginning of several IDs.
pub fn exists(arguments: &ExistsArguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    Ok(if container::find_id(&store, &arguments.container).is_ok() { 0 } else { 1 })
}

/// Renames a container.
pub fn rename(arguments: &RenameArguments, usnea: &Usnea) -> Result<u8> {
    let container = container::find(usnea.store()?, &arguments.container)?;
    container::rename(&container, &arguments.name)?;
    Ok(0)
}
