//! States of containers, for those who ask. States that killed processes left are removed on the way.

use super::delete;
use super::runtime::Runtime;
use super::state::{self, OciContainer, OciState};
use crate::error::Result;

/// Returns the state of a container. Errors: it does not exist. Slurm asks for one that never existed at the end of each
/// step: then the states of killed containers are removed.
pub fn state(runtime: &Runtime, id: &str) -> Result<OciState> {
    let found = OciContainer::find(runtime, id);
    if found.is_err() {
        delete::remove_abandoned(runtime);
    }
    Ok(found?.document())
}

/// Returns the states of all containers, sorted by ID. Removes those of killed containers.
pub fn list(runtime: &Runtime) -> Result<Vec<OciState>> {
    delete::remove_abandoned(runtime);
    // Containers removed since the folder was read are left out.
    Ok(state::ids(runtime)?.iter().filter_map(|id| state(runtime, id).ok()).collect())
}
