//! Checks of `usnea doctor`, in the order in which a container needs them. A check tries the real operation where
//! possible, ends within a few seconds, needs no root and leaves nothing behind.

mod confinement;
mod fuse;
mod identity;
mod limits;
mod network;
mod resources;
mod session;
mod storage;

use std::path::Path;

use super::finding::Finding;
use crate::error::Error;

/// Runs all checks. `store` is the folder of usnea's files; `None` when no place for the store is known.
/// `default_network` is the setting, in the words of the flag. The process must have a single thread.
pub fn all(store: Option<&Path>, default_network: Result<&str, &Error>) -> Vec<Finding> {
    let mut findings = vec![
        confinement::kernel(),
        identity::user_namespace(),
        identity::mounts(),
        identity::subordinate_ids(),
        identity::idmap_helpers(),
    ];
    findings.extend(storage::all(store));
    findings.extend([fuse::device(), fuse::idmapped()]);
    findings.push(storage::driver(&findings, store));
    findings.push(resources::cgroups());
    findings.extend(network::all(default_network));
    findings.extend(session::all());
    findings.extend(confinement::all());
    findings.extend(limits::all());
    findings
}

/// True if the caller is the machine's administrator, who needs no subordinate IDs and no delegation.
fn is_real_root() -> bool {
    rustix::process::geteuid().is_root() && super::userns::in_initial_namespace()
}

/// Returns the first line of a small file of the kernel's.
fn first_line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}
