//! `usnea pause` and `unpause`: freezes and thaws all processes of a container, by its cgroup.

use std::path::PathBuf;

use super::Container;
use crate::cgroup::{self, FreezerState};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::monitor::record::State;
use crate::monitor::{Status, events};

/// Freezes all processes of a container. Errors: the container does not run, or is paused already; no cgroup.
pub fn pause(container: &Container) -> Result<()> {
    match container.status_here()? {
        Status::Running(state) => freeze(container, &state, FreezerState::Stopped, "pause"),
        status @ Status::Paused(_) => {
            Err(wrong_state(container, "running", &status).of_kind(ErrorKind::AlreadySo))
        }
        status => Err(wrong_state(container, "running", &status).of_kind(ErrorKind::NotRunning)),
    }
}

/// Thaws the processes of a container. Errors: the container is not paused.
pub fn unpause(container: &Container) -> Result<()> {
    match container.status_here()? {
        Status::Paused(state) => freeze(container, &state, FreezerState::Running, "unpause"),
        status @ Status::Running(_) => {
            Err(wrong_state(container, "paused", &status).of_kind(ErrorKind::AlreadySo))
        }
        status => Err(wrong_state(container, "paused", &status).of_kind(ErrorKind::NotRunning)),
    }
}

fn freeze(container: &Container, state: &State, what: FreezerState, action: &str) -> Result<()> {
    let phrase = || format!("cannot {action} container {}", container.record.name);
    let folder = cgroup_folder(state).context(phrase)?;
    cgroup::freeze(&folder, what).context(phrase)?;
    events::of_container(&container.store, &container.record, action, &[]);
    Ok(())
}

/// Returns the cgroup of a running container. Errors: no cgroup.
pub(super) fn cgroup_folder(state: &State) -> Result<PathBuf> {
    state.cgroup.clone().ok_or_else(|| {
        Error::conflict("it runs without a cgroup").hint(cgroup::delegation_advice())
    })
}

fn wrong_state(container: &Container, what: &str, status: &Status) -> Error {
    Error::new(format!(
        "container {} is not {what}: it is {}",
        container.record.name,
        status.word()
    ))
}
