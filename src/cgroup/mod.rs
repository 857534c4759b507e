//! Control groups, of version 2 alone (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//!
//! ```text
//! config.json: linux.resources ------ limits --->  files and values
//!              linux.cgroupsPath -- placement ---> in our own cgroup, or in a scope (systemd, message)
//! group: creates a group, and reads and writes it during the container's life
//!
//! usnea-ID-PID.scope/              systemd's, delegated; has the container's weights among its siblings
//!   usnea/                         watchers: usnea run, the monitor, a keeper, a file server
//!   usnea-ID/                      the container: limited, frozen, killed as a whole
//!   usnea-ID.calls/                supervisors (root emulation), if memory or processors are limited: the same limits.
//!                                  Never frozen: a process that waits for a supervisor's answer cannot be frozen
//! ```

mod group;
mod limits;
mod message;
mod placement;
mod systemd;

use std::path::Path;

pub use group::{
    ContainerCgroup, FreezerState, SupervisorsCgroup, change, count, freeze, is_frozen, number,
    oom_kills, remove,
};
pub use limits::{CgroupLimits, CgroupSetting};
pub use placement::{CgroupRequest, ParentSource, find};

use crate::error::Result;

const PREFIX: &str = "usnea-";

/// Name of a container's group.
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

/// Name of a new scope: a scope of systemd outlives its last process for a moment, so each start has another.
fn scope(name: &str) -> String {
    format!("{name}-{}.scope", std::process::id())
}

/// Advice to a user who wants containers with cgroups.
pub fn delegation_advice() -> String {
    placement::delegation_advice()
}

/// Moves this process next to the group in `folder`, so that it may create processes there: a process of a session may
/// not. Errors: the group is in no unit of the user's systemd.
pub fn join_sibling_group(folder: &Path) -> Result<()> {
    let unit = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let unit = unit.filter(|name| name.ends_with(".scope") || name.ends_with(".service"));
    let is_of_user = placement::is_of_user_manager(folder);
    match (unit, systemd::SystemdManager::of_user().filter(|_| is_of_user)) {
        (Some(unit), Some(manager)) => manager.attach(unit, placement::WATCHERS),
        _ => {
            let error = format!("no process may be moved from here to {}", folder.display());
            Err(crate::error::Error::new(error)
                .hint(hint_on_entering(unit.filter(|_| !is_of_user))))
        }
    }
}

/// Way into the group of a container, which is in a unit of the machine, or in none.
fn hint_on_entering(unit: Option<&str>) -> String {
    match unit {
        Some(unit) => format!(
            "commands of {unit} itself may run this: ExecReload=, ExecStartPost=, or a health check of the container"
        ),
        None => "run this where the container was started from: below the same cgroup".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_in_a_unit_of_the_machine_is_entered_by_that_unit() {
        let folder = Path::new("/sys/fs/cgroup/system.slice/web.service/usnea-0123456789ab");
        let error = join_sibling_group(folder).expect_err("an error");
        assert!(error.to_string().contains("system.slice/web.service/usnea-"), "{error}");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("commands of web.service"), "{hint}");
    }

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
