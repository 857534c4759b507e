//! Launch of a plan: makes the processes, from the first clone(2) to the command's exec.
//!
//! Starts no thread. When a launch fails, all its processes are killed and reaped before the error is returned.

mod agent;
pub mod child;
pub mod conversation;
mod dying;
mod failure;
pub mod processes;
pub mod run;
pub mod stages;
mod supervisor;

pub use failure::KILLED_FOR_MEMORY;
use stages::{Created, Launched, Prepared};

use crate::engine::plan::Plan;
use crate::engine::streams::LaunchStreams;
use crate::error::Result;
use crate::sys::signal::Signals;

/// Warning for a network helper that has died.
pub const HELPER_DIED: &str =
    "the helper of the container's network has died: no external connectivity until it runs again";

/// Carries out a plan until the command runs.
pub fn launch(plan: &Plan, streams: LaunchStreams<'_>, signals: &Signals) -> Result<Launched> {
    create(plan, streams, signals)?.start(signals)
}

/// Carries out a plan until the container is set up. The command waits for [`Created::start`] if the plan holds it
/// ([`StartTrigger::AtStart`](crate::engine::Begin)).
pub fn create<'a>(
    plan: &'a Plan,
    streams: LaunchStreams<'a>,
    signals: &Signals,
) -> Result<Created<'a>> {
    Prepared::new(plan, streams)?.clone_first()?.map_ids()?.set_up(signals)
}
