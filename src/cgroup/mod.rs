//! Control groups, of version 2 alone (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//!
//! ```text
//! config.json: linux.resources --- limits ---> files and values
//!              linux.cgroupsPath -- place ---> where a group may be: in our own cgroup, or in a scope (systemd, message)
//! group: makes it, and reads and writes it while the container lives
//!
//! usnea-ID-PID.scope/              systemd's, delegated; weighs among its siblings what the container does
//!   usnea/                         who watches: usnea run, the monitor, a keeper, a file server
//!   usnea-ID/                      the container: limited, stopped, killed as one
//!   usnea-ID.calls/                who answers its system calls (root emulation), where memory or processors are limited:
//!                                  the same limits. Never stopped: a process that waits for its answer cannot be stopped
//! ```

mod group;
mod limits;
mod message;
mod place;
mod systemd;

use std::path::Path;

pub use group::{
    Freeze, Group, Supervisors, change, count, freeze, is_frozen, number, oom_kills, remove,
};
pub use limits::{Limits, Setting};
pub use place::{Wanted, find};

use crate::error::Result;

const PREFIX: &str = "usnea-";

/// The name of a container's group.
pub fn name(id: &str) -> String {
    format!("{PREFIX}{id}")
}

fn is_name(name: &str) -> bool {
    let name = name.strip_suffix(group::CALLS).unwrap_or(name);
    name.strip_prefix(PREFIX)
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_scope(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".scope")
}

/// A scope of systemd is there for a moment after its last process: the next start has another.
fn scope(name: &str) -> String {
    format!("{name}-{}.scope", std::process::id())
}

/// What a user does who wants containers with cgroups.
pub fn how_to_have_one() -> String {
    place::how_to_have_one()
}

/// Moves this process beside the group in `folder`, so that it may make processes in it: a process of a session may not.
/// Errors: the group is in no unit of the user's systemd.
pub fn come_near(folder: &Path) -> Result<()> {
    let unit = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let unit = unit.filter(|name| name.ends_with(".scope") || name.ends_with(".service"));
    match (unit, systemd::Manager::of_user()) {
        (Some(unit), Some(manager)) => manager.attach(unit, place::WATCHERS),
        _ => {
            let error = format!("no process may be moved from here to {}", folder.display());
            Err(crate::error::Error::new(error)
                .hint("run this where the container was started from: below the same cgroup"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_knows_our_names() {
        assert!(is_name(&name("0123456789ab")) && is_name(&(name("0123456789ab") + ".calls")));
        for other in
            ["usnea", "usnea-", "usnea-x", "user.slice", "usnea-0123-77.scope", "usnea-.calls"]
        {
            assert!(!is_name(other), "{other}");
        }
    }
}
