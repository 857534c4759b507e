//! `usnea pause` and `unpause`: freezes and thaws containers.

use super::selection::{Missing, Said, Selection, each, open};
use crate::container;
use crate::container::Usnea;
use crate::error::Result;
use crate::monitor::Status;

/// Pause all processes of containers
///
/// Freezes the container's cgroup: nothing in it can tell, and nothing is lost.
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
    let store = usnea.store()?;
    each(&arguments.selection, &store, Missing::Fails, |selected| {
        let container = open(&store, selected)?;
        if arguments.selection.is_vague() && !matches!(container.status()?, Status::Running(_)) {
            return Ok(Said::Nothing);
        }
        container::pause(&container)?;
        Ok(Said::Name)
    })
}

/// Thaws paused containers.
pub fn unpause(arguments: &UnpauseArguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    each(&arguments.selection, &store, Missing::Fails, |selected| {
        let container = open(&store, selected)?;
        if arguments.selection.is_vague() && !matches!(container.status()?, Status::Paused(_)) {
            return Ok(Said::Nothing);
        }
        container::unpause(&container)?;
        Ok(Said::Name)
    })
}
