//! Roles of processes that execute this program anew: a monitor, and the commands that it runs beside watching.

use std::process::ExitCode;

use super::health::check_of_monitor;
use super::start::{relaunch, remove_ended};
use crate::error::STATUS_OURS;
use crate::monitor;

/// Runs the role that the arguments name, if any, to its end. The main function of each program that starts containers
/// calls it before all other work: a monitor executes the same program (`/proc/self/exe`), and each page touched before
/// stays in memory for as long as the container runs.
pub fn run_if_any() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let (role, number) = (words.next()?, words.next()?);
    let number = number.to_str()?;
    let done = match role.to_str()? {
        monitor::MONITOR => monitor::watch(number),
        monitor::RELAUNCH => relaunch(number).map(|never| match never {}),
        monitor::CHECK => check_of_monitor(number).map(|()| 0),
        monitor::REMOVE => remove_ended(number),
        _ => return None,
    };
    // No process reads a monitor's standard streams.
    Some(ExitCode::from(done.unwrap_or(STATUS_OURS)))
}
