//! Lookup of existing pods by name or ID, their members and their state.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::container::images::Repair;
use crate::container::{Container, Usnea, all_in as all_containers, names};
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::hint;
use crate::image::store::{FaultOutcome, StoreFault};
use crate::monitor::Status;
use crate::monitor::events;
use crate::monitor::pod::{self, PodRecord};
use crate::object_id::{is_id, short};
use crate::spec::ContainerName;

/// Pod of a store.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Path of the store.
    pub store: PathBuf,
    /// Settings of the pod.
    pub record: PodRecord,
}

/// State of a pod, computed from those of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// No member was started.
    Created,
    /// All members run.
    Running,
    /// Some members run or are paused, others are not.
    Degraded,
    /// All members are paused.
    Paused,
    /// All members have ended.
    Exited,
    /// No member runs; some have ended, others were never started.
    Stopped,
}

impl PodState {
    /// Computes the state of a pod from the states of its members, by podman's rules.
    pub fn of(members: &[Status]) -> Self {
        let count = |fits: fn(&Status) -> bool| members.iter().filter(|one| fits(one)).count();
        let running = count(|one| matches!(one, Status::Running(_) | Status::Restarting(..)));
        let paused = count(|one| matches!(one, Status::Paused(_)));
        let exited = count(|one| matches!(one, Status::Exited(_)));
        match members.len() {
            0 => Self::Created,
            all if running == all => Self::Running,
            _ if running > 0 => Self::Degraded,
            all if paused == all => Self::Paused,
            _ if paused > 0 => Self::Degraded,
            all if exited == all => Self::Exited,
            _ if exited > 0 => Self::Stopped,
            _ => Self::Created,
        }
    }

    /// podman's word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Paused => "Paused",
            Self::Exited => "Exited",
            Self::Stopped => "Stopped",
        }
    }
}

impl Pod {
    /// Opens the pod with this ID. `None`: no such pod. Errors: a damaged record.
    pub fn open(store: &Path, id: &str) -> Result<Option<Self>> {
        let record = pod::open(store, id)?;
        Ok(record.map(|record| Self { store: store.to_owned(), record }))
    }

    /// Returns the short ID: the first 12 digits.
    pub fn short_id(&self) -> &str {
        short(&self.record.id)
    }

    /// Logs an event of the pod.
    pub(super) fn log_event(&self, action: &str) {
        let record = &self.record;
        let labels = record.labels.iter().map(|(key, value)| (key.as_str(), value.clone()));
        let all: Vec<_> = labels.chain([("name", record.name.clone())]).collect();
        events::of_other(&self.store, "pod", &record.id, action, &all);
    }

    /// Returns the members, the oldest first.
    pub fn members(&self) -> Result<Vec<Container>> {
        members(&self.store, &self.record.id)
    }

    /// Returns the current state.
    pub fn state(&self) -> Result<PodState> {
        let members = self.members()?;
        let all = members.iter().map(Container::status).collect::<Result<Vec<_>>>()?;
        Ok(PodState::of(&all))
    }
}

/// Returns the containers of a pod, the oldest first.
pub fn members(store: &Path, id: &str) -> Result<Vec<Container>> {
    let mut members = all_containers(store)?;
    members.retain(|container| container.record.pod.as_deref() == Some(id));
    members.reverse();
    Ok(members)
}

/// Returns the IDs of all pods of a store.
fn ids(store: &Path) -> Result<Vec<String>> {
    let folder = pod::pods(store);
    let phrase = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(phrase)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.context(phrase)?.file_name();
        ids.extend(name.to_str().filter(|name| is_id(name)).map(str::to_owned));
    }
    Ok(ids)
}

/// Returns all pods, the newest first. Leaves out a pod with a damaged record, with a warning.
pub fn all(usnea: &Usnea) -> Result<Vec<Pod>> {
    all_in(usnea.store()?)
}

/// Same as [`all`], for the store in the folder `store`.
pub(in crate::container) fn all_in(store: &Path) -> Result<Vec<Pod>> {
    let mut all = Vec::new();
    for id in ids(store)? {
        match Pod::open(store, &id) {
            Ok(pod) => all.extend(pod),
            Err(error) => {
                log::warn!("pod {0}: {error}; 'usnea pod rm -f {0}' removes it", short(&id));
            }
        }
    }
    all.sort_by(|a, b| b.record.created.cmp(&a.record.created).then(a.record.id.cmp(&b.record.id)));
    Ok(all)
}

/// Returns the ID of the pod that `text` names: its full ID, its name, or a prefix of its ID. Errors: no pod, or
/// several.
pub fn find_id(usnea: &Usnea, text: &str) -> Result<String> {
    find_id_in(usnea.store()?, text)
}

/// Same as [`find_id`], for the store in the folder `store`.
pub(in crate::container) fn find_id_in(store: &Path, text: &str) -> Result<String> {
    let is_there = |id: &str| pod::folder(store, id).is_dir();
    if is_id(text) && is_there(text) {
        return Ok(text.to_owned());
    }
    let is_name = text.parse::<ContainerName>().is_ok();
    if is_name && let Some(id) = names::find(store, text).filter(|id| is_there(id)) {
        return Ok(id);
    }
    let none = || {
        Error::not_found(format!("no pod is called '{}'", text.escape_debug()))
            .hint(hint::LIST_PODS)
    };
    if text.is_empty() {
        return Err(none());
    }
    let mut found = ids(store)?;
    found.retain(|id| id.starts_with(text));
    match found.len() {
        0 => Err(none()),
        1 => Ok(found.remove(0)),
        count => Err(Error::conflict(format!("{count} pods have an ID that begins with {text}"))
            .hint("give more digits")),
    }
}

/// Checks the records of all pods. Repair keeps a damaged one, since records of containers have its ID.
pub(in crate::container) fn check(store: &Path, repair: Repair) -> Result<Vec<StoreFault>> {
    let mut faults = Vec::new();
    for id in ids(store)? {
        let error = match Pod::open(store, &id) {
            Ok(Some(_)) => continue,
            // Another command has removed the pod since the listing.
            Ok(None) if !pod::folder(store, &id).exists() => continue,
            Ok(None) => Error::new(format!("{} is missing", pod::POD)),
            Err(error) => error,
        };
        let id = short(&id);
        let outcome = match repair {
            Repair::No => FaultOutcome::Found,
            Repair::Yes => FaultOutcome::Left(format!("'usnea pod rm -f {id}' removes it")),
        };
        let what = format!("pod {id}");
        faults.push(StoreFault { what, fault: error.to_string(), images: Vec::new(), outcome });
    }
    Ok(faults)
}

/// Returns the pod that `text` names, as [`find_id`].
pub fn find(usnea: &Usnea, text: &str) -> Result<Pod> {
    let store = usnea.store()?;
    let id = find_id_in(store, text)?;
    let gone = || Error::not_found(format!("pod {} is gone, or was never whole", short(&id)));
    Pod::open(store, &id)?.ok_or_else(gone)
}

/// Returns the name of the pod with this ID; empty: no such pod.
pub fn name_of(store: &Path, id: &str) -> String {
    let record = pod::open(store, id).ok().flatten();
    record.map(|record| record.name).unwrap_or_default()
}

/// Returns a shared lock that protects the pod against removal. Errors: the pod was removed.
pub(in crate::container) fn hold(store: &Path, id: &str) -> Result<File> {
    let folder = pod::folder(store, id);
    let held = files::hold(&folder, Lock::Shared);
    let held = held.context(|| format!("cannot lock {}", folder.display()))?;
    held.ok_or_else(|| Error::not_found(format!("pod {} was removed meanwhile", short(id))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::record::Exit;

    #[test]
    fn the_state_of_a_pod_is_that_of_its_members() {
        let exited = || {
            Status::Exited(Exit {
                run: 1,
                status: 0,
                signal: None,
                oom: false,
                started: None,
                finished: jiff::Timestamp::now(),
                reason: None,
                journal: None,
            })
        };
        assert_eq!(PodState::of(&[]), PodState::Created);
        assert_eq!(PodState::of(&[Status::Created, Status::Created]), PodState::Created);
        assert_eq!(PodState::of(&[exited(), exited()]), PodState::Exited);
        assert_eq!(PodState::of(&[exited(), Status::Created]), PodState::Stopped);
    }
}
