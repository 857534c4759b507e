//! `usnea update`: changes limits and restart policy of a container. The lock on the names serializes concurrent
//! updates.

use oci_spec::runtime::{LinuxResources, Spec};
use serde_json::Value;

use super::pause::cgroup_folder;
use super::rename::current;
use super::{Container, Names};
use crate::cgroup::{self, CgroupLimits, ParentSource};
use crate::error::{Context, Error, Result, Setting};
use crate::monitor::events;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::{self, CONFIG, Record};
use crate::phrase;

/// Changes of a container.
#[derive(Clone, Debug, Default)]
pub struct ContainerUpdate {
    /// Restart policy; applies from the container's next end on.
    pub restart: Option<RestartPolicy>,
    /// Limits; applied immediately if the container runs, and at each start.
    pub resources: Option<LinuxResources>,
}

/// Changes a container. Errors: a restart policy for a disposable container; a limit that cannot be set. After an error
/// nothing has changed.
pub fn update(container: &Container, changes: &ContainerUpdate) -> Result<()> {
    let _names = Names::lock(&container.store)?;
    let record = current(container)?;
    if changes.restart.is_some() {
        container.refuse_foreground("restart policy")?;
    }
    if record.auto_remove && changes.restart.is_some_and(|policy| policy != RestartPolicy::No) {
        return Err(Error::conflict(phrase!(
            Setting::Restart,
            format!(": container {} was made with ", record.name),
            Setting::Rm,
            ", which removes it when it ends",
        )));
    }
    if let Some(resources) = &changes.resources {
        limit(container, resources).context(|| format!("container {}", record.name))?;
    }
    if let Some(restart) = changes.restart {
        record::change(&container.store, &container.folder, &Record { restart, ..record.clone() })?;
    }
    events::of_container(&container.store, &record, "update", &[]);
    Ok(())
}

fn without_cgroup() -> Error {
    Error::conflict(phrase!(
        "it was made with ",
        Setting::Cgroups,
        " disabled: it cannot have limits",
    ))
}

fn limit(container: &Container, changes: &LinuxResources) -> Result<()> {
    let status = container.status_here()?;
    let mut spec = container.spec()?;
    let Some(linux) = spec.linux_mut() else { return Err(Error::conflict("it has no cgroup")) };
    let Some(path) = linux.cgroups_path().clone() else {
        return Err(without_cgroup());
    };
    let merged = merged(linux.resources().as_ref(), changes)?;
    match status.state().filter(|_| status.is_running()) {
        Some(state) => cgroup::change(&cgroup_folder(state)?, &CgroupLimits::of(&merged)?)?,
        // Limits of a stopped container are checked before they are recorded.
        None => drop(cgroup::find(&path, CgroupLimits::of(&merged)?, ParentSource::Setting)?),
    }
    linux.set_resources(Some(merged));
    record::write(&container.folder, CONFIG, &spec)
}

/// Merges limits over those of a spec. Errors: no cgroup; a limit that cannot be set.
pub(super) fn limit_spec(spec: &mut Spec, changes: &LinuxResources) -> Result<()> {
    let Some(linux) = spec.linux_mut() else { return Err(Error::conflict("it has no cgroup")) };
    let Some(path) = linux.cgroups_path().clone() else {
        return Err(without_cgroup());
    };
    let merged = merged(linux.resources().as_ref(), changes)?;
    drop(cgroup::find(&path, CgroupLimits::of(&merged)?, ParentSource::Setting)?);
    linux.set_resources(Some(merged));
    Ok(())
}

/// Merges new limits over the old ones, value by value.
fn merged(before: Option<&LinuxResources>, changes: &LinuxResources) -> Result<LinuxResources> {
    let value = |resources: &LinuxResources| serde_json::to_value(resources).map_err(Error::new);
    let mut all = before.map(value).transpose()?.unwrap_or_default();
    put_over(&mut all, value(changes)?);
    serde_json::from_value(all).map_err(Error::new)
}

fn put_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                put_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let read = |text| serde_json::from_str::<LinuxResources>(text).unwrap();
        let before = read(r#"{"memory": {"limit": 100, "reservation": 5}, "pids": {"limit": 7}}"#);
        let changes = read(r#"{"memory": {"limit": 200}, "cpu": {"shares": 512}}"#);
        let after = merged(Some(&before), &changes).unwrap();
        let memory = after.memory().unwrap();
        assert_eq!((memory.limit(), memory.reservation()), (Some(200), Some(5)));
        assert_eq!(after.pids().unwrap().limit(), 7);
        assert_eq!(after.cpu().as_ref().unwrap().shares(), Some(512));
        assert_eq!(merged(None, &changes).unwrap(), changes);
    }
}
