//! `usnea pod rm` and `pod prune`: removes pods with their members.

use super::filter::PodFilter;
use super::known::{Pod, PodState, all, members};
use crate::container::folder::PREFIX;
use crate::container::{Names, Pruned, RemoveOptions, Remover, Usnea};
use crate::error::{Context, Error, Result};
use crate::files::{self, LockAttempt};
use crate::hint;
use crate::monitor::pod;
use crate::object_id::short;

/// Settings of a pod's removal.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodRemoval {
    /// True if running members are stopped and removed too.
    pub force: bool,
    /// Seconds until running members are killed; `None`: 0.
    pub time: Option<i64>,
}

/// Removes the pod with this ID, and its members. Errors: without force, a member runs; a member is being created.
pub fn remove(usnea: &Usnea, id: &str, how: PodRemoval) -> Result<()> {
    let store = usnea.store()?;
    // A pod with a damaged record can be removed too.
    let pod = Pod::open(store, id).unwrap_or_default();
    let name = pod.as_ref().map_or_else(|| short(id).to_owned(), |pod| pod.record.name.clone());
    let members = members(store, id)?;
    if !how.force {
        let running = members
            .iter()
            .filter(|member| member.status().is_ok_and(|status| status.state().is_some()));
        let running: Vec<_> = running.map(|member| member.record.name.as_str()).collect();
        if !running.is_empty() {
            let text = format!("pod {name} has members that run: {}", running.join(", "));
            return Err(Error::conflict(text).hint(hint::STOP_POD_OR_FORCE));
        }
    }
    let options = RemoveOptions {
        force: how.force,
        time: how.time,
        volumes: true,
        ..RemoveOptions::default()
    };
    let remover = Remover::new(usnea, options);
    // Signals all members before it waits for the first.
    let stopping: Vec<_> =
        members.iter().map(|member| remover.begin(&member.record.id)).collect::<Result<_>>()?;
    for (container, stopping) in stopping.into_iter().flatten() {
        stopping.finish(&container)?;
    }
    // The newest first: a member may require an older one.
    for member in members.iter().rev() {
        remover
            .remove(&member.record.id)
            .context(|| format!("container {}", member.record.name))?;
    }
    move_to_tmp(usnea, id, &name)?;
    if let Some(pod) = &pod {
        pod.log_event("remove");
    }
    Ok(())
}

/// Removes the folder of a pod without members, and frees its name.
fn move_to_tmp(usnea: &Usnea, id: &str, name: &str) -> Result<()> {
    let store = usnea.store()?;
    let folder = pod::folder(store, id);
    let names = Names::lock(store)?;
    let lock = match files::grip(&folder).context(|| format!("cannot lock {}", folder.display()))? {
        LockAttempt::Ours(lock) => lock,
        LockAttempt::Gone => return Ok(()),
        LockAttempt::Held => {
            let text = format!("another command makes a container in pod {name}");
            return Err(Error::conflict(text).hint("try again"));
        }
    };
    // The members are listed after the lock: a command that creates a member has that lock until the container can be
    // found.
    if let Some(member) = members(store, id)?.first() {
        let text = format!("container {} has just been made in pod {name}", member.record.name);
        return Err(Error::conflict(text).hint("try again"));
    }
    let grave = store.join("tmp").join(files::random_name(PREFIX));
    std::fs::rename(&folder, &grave).context(|| format!("cannot remove pod {name}"))?;
    names.release(name, id);
    drop(names);
    files::sync_folder(&pod::pods(store))?;
    files::remove_held(&grave, lock).context(|| format!("cannot remove {}", grave.display()))
}

/// Removes the pods that match the filters and have no running members, with their members. Returns their IDs.
pub fn prune(usnea: &Usnea, filters: &[PodFilter]) -> Result<Pruned<String>> {
    let mut pruned = Pruned::default();
    for pod in all(usnea)? {
        if !PodFilter::fit(filters, &pod)? {
            continue;
        }
        match pod.state()? {
            PodState::Created | PodState::Exited | PodState::Stopped => {}
            PodState::Running | PodState::Degraded | PodState::Paused => continue,
        }
        match remove(usnea, &pod.record.id, PodRemoval::default()) {
            Ok(()) => pruned.removed.push(pod.record.id),
            Err(error) => pruned.failures.push(error),
        }
    }
    Ok(pruned)
}
