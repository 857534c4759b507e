//! `usnea pause` and `unpause`: freezes and thaws containers.

use crate::cli::flags::selection::{Selection, each_in_state};
use crate::container;
use crate::container::Usnea;
use crate::error::Result;
use crate::monitor::Status;

/// Pause all processes of containers
///
/// Freezes the container's cgroup. The processes are not notified.
#[derive(clap::Args)]
pub struct PauseArguments {
    #[command(flatten)]
    selection: Selection,
}

/// Resume all processes of paused containers
#[derive(clap::Args)]
pub struct UnpauseArguments {
    #[command(flatten)]
    selection: Selection,
}

/// Pauses containers.
pub fn pause(arguments: &PauseArguments, usnea: &Usnea) -> Result<u8> {
    let is_running = |status: &Status| matches!(status, Status::Running(_));
    each_in_state(&arguments.selection, usnea, is_running, container::pause)
}

/// Thaws paused containers.
pub fn unpause(arguments: &UnpauseArguments, usnea: &Usnea) -> Result<u8> {
    let is_paused = |status: &Status| matches!(status, Status::Paused(_));
    each_in_state(&arguments.selection, usnea, is_paused, container::unpause)
}
