//! `usnea pause` and `unpause`: freezes all processes of a container at once, by its cgroup.

use std::path::PathBuf;

use super::Kept;
use crate::cgroup::{self, Freeze};
use crate::error::{Context, Error, Result};
use crate::monitor::record::State;
use crate::monitor::{Status, events};

/// Freezes all processes of a container. Errors: the container does not run, or is paused already; no cgroup.
pub fn pause(kept: &Kept) -> Result<()> {
    match kept.status_here()? {
        Status::Running(state) => freeze(kept, &state, Freeze::Stopped, "pause"),
        status => Err(not(kept, "running", &status)),
    }
}

/// Thaws the processes of a container. Errors: the container is not paused.
pub fn unpause(kept: &Kept) -> Result<()> {
    match kept.status_here()? {
        Status::Paused(state) => freeze(kept, &state, Freeze::Running, "unpause"),
        status => Err(not(kept, "paused", &status)),
    }
}

fn freeze(kept: &Kept, state: &State, what: Freeze, action: &str) -> Result<()> {
    let said = || format!("cannot {action} container {}", kept.record.name);
    cgroup::freeze(&folder(kept, state)?, what).context(said)?;
    events::of_container(&kept.store, &kept.record, action, &[]);
    Ok(())
}

/// Returns the cgroup of a running container. Errors: no cgroup.
pub(super) fn folder(kept: &Kept, state: &State) -> Result<PathBuf> {
    state.cgroup.clone().ok_or_else(|| {
        let error = format!("container {} runs without a cgroup", kept.record.name);
        Error::new(error).hint(cgroup::how_to_have_one())
    })
}

fn not(kept: &Kept, what: &str, status: &Status) -> Error {
    Error::new(format!("container {} is not {what}: it is {}", kept.record.name, status.word()))
}
