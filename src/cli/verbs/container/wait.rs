//! `usnea wait`: waits until containers have exited, or are in another state.

use std::time::Duration;

use crate::cli::flags::selection::{AfterSuccess, MissingContainers, Selection, each, open};
use crate::cli::output::print_line;
use crate::container::{self, Container, Usnea, WaitCondition};
use crate::duration;
use crate::error::Result;

/// Wait until containers have exited
///
/// Prints the exit status of each container, or -1 for a container that still runs when the condition of --condition is
/// met.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Wait for this state instead: created, running, paused, exited, stopped, healthy, unhealthy or removed. May be
    /// given more than once: any of the states ends the wait.
    #[arg(long = "condition", value_name = "STATE")]
    conditions: Vec<WaitCondition>,

    /// Polling interval for states without a notification, such as 250ms or 2s; a bare number is in milliseconds.
    #[arg(short, long, value_name = "TIME", value_parser = interval, default_value = "250ms")]
    interval: Duration,

    /// Print -1 for containers that do not exist, instead of an error.
    #[arg(long)]
    ignore: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u64>().ok().map(Duration::from_millis);
    let time = number.or_else(|| duration::parse(text)).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time such as 250ms or 2s".to_owned())
}

/// Waits for containers, and prints their exit statuses.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let wait = |container: &Container| match &arguments.conditions[..] {
        [] => container::wait(container).map(i32::from),
        conditions => container::wait_for(container, conditions, arguments.interval),
    };
    if arguments.ignore {
        let gone = arguments
            .selection
            .names()
            .iter()
            .filter(|name| container::find_id(usnea, name).is_err());
        gone.for_each(|_| print_line("-1"));
    }
    let missing =
        if arguments.ignore { MissingContainers::Ignored } else { MissingContainers::Fails };
    each(&arguments.selection, usnea, missing, |selected| {
        print_line(&wait(&open(usnea, selected)?)?.to_string());
        Ok(AfterSuccess::PrintNothing)
    })
}
