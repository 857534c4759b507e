//! `usnea rm`: removes a container completely, even one that a killed command has left half removed.

use std::cell::OnceCell;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::stop::{Stopping, end_monitor, ended_within, stop};
use super::{Container, Hold, elsewhere, move_to_tmp, try_lock};
use super::{folder, volumes};
use crate::container::Usnea;
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::monitor::record::{self, EXIT, STATE, State};
use crate::monitor::{Status, events, protocol};
use crate::object_id::ContainerId;
use crate::readiness;
use crate::spec::VolumeName;
use crate::sys::process;

/// Settings of a removal.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// True if a running container is killed.
    pub force: bool,
    /// Seconds until a running container is killed; `None`: 0.
    pub time: Option<i64>,
    /// True if the container's anonymous volumes are removed too.
    pub volumes: bool,
    /// True if a container that runs on another machine is removed too, because that machine no longer exists.
    pub other_host: bool,
}

/// Returns the volumes that the container mounts; the anonymous ones may be removed with it.
pub(super) fn own_volumes(container: &Container) -> Vec<VolumeName> {
    // A container with a damaged config.json can be removed too.
    let used = volumes::used_by(container).unwrap_or_default();
    used.into_iter().map(|used| used.name).collect()
}

/// Time limit for other processes to release the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removal of several containers by one command: reads the records of the other containers once.
pub struct Remover<'a> {
    usnea: &'a Usnea,
    options: RemoveOptions,
    /// Containers that require others.
    dependents: OnceCell<Vec<Container>>,
}

impl<'a> Remover<'a> {
    /// Makes a remover. Reads nothing.
    pub fn new(usnea: &'a Usnea, options: RemoveOptions) -> Self {
        Self { usnea, options, dependents: OnceCell::new() }
    }

    /// Sends the stop signal to a container that is to be removed by force. Several containers then end at the same
    /// time.
    pub fn begin(&self, id: &ContainerId) -> Result<Option<(Container, Stopping)>> {
        let (store, how) = (self.usnea.store()?, self.options);
        // A container with a damaged record can be removed too.
        let container = Container::open(store, id).unwrap_or_default().filter(|_| how.force);
        let Some(container) = container else { return Ok(None) };
        if how.other_host && container.status()?.elsewhere().is_some() {
            return Ok(None);
        }
        let stopping = Stopping::begin(&container, None, Some(how.time.unwrap_or(0)))?;
        Ok(stopping.map(|stopping| (container, stopping)))
    }

    /// Removes the container with this ID. Errors: the container runs, or others require it, and `force` is not set.
    pub fn remove(&self, id: &ContainerId) -> Result<()> {
        let container = Container::open(self.usnea.store()?, id).unwrap_or_default();
        let in_store = container.as_ref().filter(|container| container.is_in_store());
        if let Some(container) = in_store.filter(|_| !self.options.force) {
            self.refuse_required(container)?;
        }
        remove_unchecked(self.usnea, id, container, self.options)
    }

    /// Refuses to remove a container that others require: they could not start any more. Errors: podman's text.
    fn refuse_required(&self, container: &Container) -> Result<()> {
        let id = &container.record.id;
        let required = self.dependents()?.iter().filter(|other| {
            // This command may have removed the other container before.
            other.record.requires.contains(id) && other.folder.exists()
        });
        let names: Vec<_> = required.map(|other| other.record.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (name, names) = (&container.record.name, names.join(", "));
        let text = "has dependent containers which must be removed before it";
        Err(Error::conflict(format!("container {name} {text}: {names}")).hint(hint::REQUIRED))
    }

    fn dependents(&self) -> Result<&[Container]> {
        if let Some(dependents) = self.dependents.get() {
            return Ok(dependents);
        }
        let mut all = super::all(self.usnea)?;
        all.retain(|container| !container.record.requires.is_empty());
        Ok(self.dependents.get_or_init(|| all))
    }
}

/// Removes the container with this ID. Errors: the container runs, or others require it, and `force` is not set.
pub fn remove(usnea: &Usnea, id: &ContainerId, options: RemoveOptions) -> Result<()> {
    Remover::new(usnea, options).remove(id)
}

/// Removes the container, which may be required by others. Errors: the container runs, and `force` is not set.
fn remove_unchecked(
    usnea: &Usnea,
    id: &ContainerId,
    // A container with a damaged record can be removed too.
    container: Option<Container>,
    how: RemoveOptions,
) -> Result<()> {
    let store = usnea.store()?;
    let folder = store.join("containers").join(id);
    if let Some(container) = container.as_ref().filter(|container| !container.is_in_store()) {
        return end_foreground(container, how);
    }
    let name = container.as_ref().map(|container| container.record.name.clone());
    let Some(lock) = lock_when_stopped(&folder, container.as_ref(), how)? else { return Ok(()) };
    let recorded = record::read(&folder, STATE).ok().flatten();
    let recorded = recorded.and_then(|State { socket, .. }| socket);
    // A start that was killed has listened before it recorded that.
    if let Some(socket) = recorded.or_else(|| protocol::path(store, id).ok()) {
        let _ = std::fs::remove_file(&socket);
        // A monitor that was killed has left this, too.
        socket.parent().into_iter().for_each(|folder| readiness::remove_left(folder, id.short()));
    }
    let own = container.as_ref().filter(|container| how.volumes || container.record.auto_remove);
    let own = own.map(own_volumes).unwrap_or_default();
    let base = usnea.base()?;
    let removed = move_to_tmp(store, id, name.as_deref(), lock)?.remove(base);
    folder::sweep(store, base);
    volumes::remove_anonymous(usnea, &own);
    removed?;
    if let Some(container) = &container {
        events::of_container(store, &container.record, "destroy", &[]);
    }
    Ok(())
}

/// True if a container with `--rm` has ended, but its monitor was killed before it removed the container.
pub(super) fn is_left_over(container: &Container) -> bool {
    container.record.auto_remove && matches!(container.status(), Ok(Status::Exited(_)))
}

/// Removes containers with `--rm` whose monitor was killed too, since no other process does. Ignores failures: the next
/// command tries again.
pub(super) fn sweep(usnea: &Usnea) {
    let Ok(store) = usnea.store() else { return };
    for id in super::ids(store).unwrap_or_default() {
        let folder = store.join("containers").join(&id);
        // Skips a container with an exit record, or one that never ran, without opening it: there may be many.
        if folder.join(EXIT).exists() || !folder.join(STATE).exists() {
            continue;
        }
        if !matches!(try_lock(&folder), Ok(Hold::Ours(_))) {
            continue;
        }
        if let Ok(Some(container)) = Container::open(store, &id)
            && is_left_over(&container)
        {
            let removed = remove(usnea, &id, RemoveOptions::default());
            log::debug!("removed container {}, left by a kill: {removed:?}", container.short_id());
        }
    }
}

/// Stops the container if necessary, and returns the lock on its folder. `None`: another command has removed the
/// container.
fn lock_when_stopped(
    folder: &Path,
    container: Option<&Container>,
    how: RemoveOptions,
) -> Result<Option<File>> {
    let deadline = Instant::now() + PATIENCE;
    let mut is_asked = false;
    loop {
        match try_lock(folder)? {
            Hold::Ours(lock) => return Ok(Some(lock)),
            Hold::Gone => return Ok(None),
            Hold::Others => {}
        }
        let status = Status::of(folder)?;
        if let Some(host) = status.elsewhere() {
            if how.other_host && how.force {
                let folder = std::fs::File::open(folder);
                return Ok(Some(folder.context(|| "cannot open its folder")?));
            }
            return Err(elsewhere(
                container.map_or("?", |container| container.record.name.as_str()),
                host,
            ));
        }
        if let (Some(_), false) = (status.state(), how.force) {
            let name = container.map_or("?", |container| container.record.name.as_str());
            return Err(Error::conflict(format!("container {name} is {}", status.word()))
                .hint(hint::STOP_OR_FORCE));
        }
        if status.state().is_some() && !is_asked {
            is_asked = true;
            if let Some(container) = container {
                stop(container, Some(how.time.unwrap_or(0)))?;
                continue;
            }
        }
        if Instant::now() >= deadline {
            if !how.force {
                return Err(
                    Error::conflict("another command starts or removes it").hint("try again")
                );
            }
            kill_all(folder)?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Stops a disposable container; its command in the foreground removes it.
fn end_foreground(container: &Container, how: RemoveOptions) -> Result<()> {
    let status = container.status()?;
    if status.state().is_some() && !how.force {
        let name = &container.record.name;
        return Err(Error::conflict(format!("container {name} is {}", status.word()))
            .hint(hint::STOP_OR_FORCE));
    }
    stop(container, Some(how.time.unwrap_or(0))).map(drop)
}

/// Kills the monitor as the last resort; the container dies with the monitor.
fn kill_all(folder: &Path) -> Result<()> {
    let Some(state) = record::read_if_whole::<State>(folder, STATE)? else {
        return Err(Error::conflict("another command makes or removes it").hint("try again"));
    };
    end_monitor(&state);
    for process_id in [state.process, state.monitor] {
        if let Some(pidfd) = process_id.open() {
            let _ = process::pidfd_signal(std::os::fd::AsFd::as_fd(&pidfd), libc::SIGKILL);
            ended_within(&pidfd, Some(PATIENCE))?;
        }
    }
    match try_lock(folder)? {
        Hold::Others => {
            Err(Error::conflict("another command starts or removes it").hint("try again"))
        }
        _ => Ok(()),
    }
}
