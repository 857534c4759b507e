//! Folder with the states of all containers of a runtime, and the settings of its command line.

use std::path::{Path, PathBuf};

use crate::config;
use crate::error::{Context, Result};
use crate::fail;
use crate::host::process_id;

/// Name of the folder of states in the user's runtime folder.
const NAME: &str = "usnea-oci";
/// Runtime folder of the real root.
const ROOTS: &str = "/run";

/// Manager of cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// Files below /sys/fs/cgroup.
    #[default]
    Cgroupfs,
    /// The systemd manager of the user: `cgroupsPath` is SLICE:PREFIX:NAME.
    Systemd,
    /// None: no container gets a cgroup.
    Disabled,
}

/// Treatment of a cgroup that cannot be made, where no limits are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    /// The container has none.
    #[default]
    Yes,
    /// An error.
    No,
}

/// Runtime of OCI containers, whose states are in one folder.
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    /// Manager of cgroups.
    pub cgroup_manager: CgroupManager,
    /// Treatment of a cgroup that cannot be made.
    pub rootless: Rootless,
}

impl Runtime {
    /// Returns the runtime with this folder; `None`: `$XDG_RUNTIME_DIR/usnea-oci`. Makes nothing. Errors: no folder is
    /// known.
    pub fn new(root: Option<&Path>) -> Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root)
            .context(|| format!("cannot tell where {} is", root.display()))?;
        Ok(Self { root, cgroup_manager: CgroupManager::default(), rootless: Rootless::default() })
    }

    /// Makes the folder if missing, and returns it. Errors: a folder of another user.
    pub(super) fn make_root(&self) -> Result<&Path> {
        config::open_private(&self.root)?;
        Ok(&self.root)
    }

    /// Folder of all states, which may not exist.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of a container's state. Errors: an invalid ID.
    pub(super) fn folder(&self, id: &str) -> Result<PathBuf> {
        check_id(id)?;
        Ok(self.root.join(id))
    }
}

/// Checks an ID by the rules of runc.
fn check_id(id: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || !id.chars().all(is_allowed) || [".", ".."].contains(&id) {
        fail!(Invalid: "'{}' is no container ID: letters, digits and _ + - . are allowed", id.escape_debug());
    }
    // NAME_MAX, minus the temporary name of the state's folder.
    const LONGEST: usize = 200;
    if id.len() > LONGEST || id.starts_with('.') {
        fail!(Invalid: "a container ID has at most {LONGEST} characters, and begins with no dot");
    }
    Ok(())
}

/// Returns the folder of the session, or one in the store for a user without a session. No folder in /tmp: another user
/// could make it first.
fn default_root() -> Result<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(session) = session.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        return Ok(session.join(NAME));
    }
    if rustix::process::geteuid().is_root() && crate::host::userns::in_initial_namespace() {
        return Ok(Path::new(ROOTS).join(NAME));
    }
    let store = config::store_path(None)?;
    Ok(store.join("run").join(process_id::boot_id()?).join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_runc() {
        for id in ["a", "web-1_x+y.z", "0123456789abcdef"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "é", ".hidden", "a\n", &"x".repeat(201)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
