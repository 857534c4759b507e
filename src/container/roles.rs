//! Internal roles of this program: the monitor of a container, and the processes that a monitor starts. They execute
//! this program again, with the role as first argument.

use std::process::ExitCode;

use super::health::check_of_monitor;
use super::start::{relaunch, remove_ended};
use crate::error::STATUS_OURS;
use crate::monitor;

/// Runs the role that the arguments name, if any, to its end. A program that starts containers must call this function
/// first in `main`: a monitor executes the same program (`/proc/self/exe`). Each page touched before stays in memory as
/// long as the container runs.
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
