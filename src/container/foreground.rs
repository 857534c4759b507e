//! Disposable containers in the foreground (`usnea run --rm`): without a monitor and without a folder in the store,
//! since both would make the start slower. While such a container runs, it has a record in the folder of the monitors'
//! sockets, below `$XDG_RUNTIME_DIR`. Commands such as `ps`, `exec` and `stop` find it by that record.
//!
//! The record is removed when the command ends. When usnea is killed, the container dies too. The next such container
//! removes the record, or the next command that lists containers. On a network file system no record is made: writing it could take longer than
//! the command.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::create::{Lifecycle, record};
use super::find_or_pull::PullSettings;
use super::rename::rename_member;
use super::request::ContainerRequest;
use super::run;
use super::usnea::Usnea;
use super::workspace::Workspace;
use super::{Container, random_name};
use crate::config;
use crate::engine::{CallerStreams, Launched, NetworkRequests};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::filesystem;
use crate::monitor::clients::{self, Clients, Wish};
use crate::monitor::protocol::MonitorMessage;
use crate::monitor::record::{self as files, CONFIG, CONTAINER, LogDriver, STATE, State};
use crate::monitor::{self, protocol};
use crate::net::NetworkChange;
use crate::object_id::ContainerId;
use crate::sys::tree;

/// Runs a container to its end; returns the exit status of its command.
pub fn run_disposable(
    usnea: &Usnea,
    request: &ContainerRequest,
    lifecycle: &Lifecycle,
    wanted: &PullSettings<'_>,
    streams: CallerStreams<'_>,
) -> Result<u8> {
    let mut record_file = None;
    run::run(usnea, request, wanted, lifecycle.notify, streams, |workspace, launched| {
        // Without a record, other commands cannot find the container, but it can run.
        match ForegroundRecord::new(usnea, request, lifecycle, workspace, launched) {
            Ok(Some((record, requests))) => {
                record_file = Some(record);
                Some(Box::new(requests))
            }
            Ok(None) => None,
            Err(error) => {
                log::debug!("the container has no record: {error}");
                None
            }
        }
    })
}

/// Record of a running container, which is removed on drop.
struct ForegroundRecord(PathBuf);

impl ForegroundRecord {
    /// Writes the record. `None`: the folder for it is on a network file system.
    fn new(
        usnea: &Usnea,
        request: &ContainerRequest,
        lifecycle: &Lifecycle,
        workspace: &Workspace,
        launched: &Launched,
    ) -> Result<Option<(Self, ForegroundRequests)>> {
        let store = usnea.store()?;
        let Some(records) = records_folder(store)? else { return Ok(None) };
        let folder = records.join(&workspace.id);
        let state = monitor::state(launched, 1, 0, Some(&folder.join(SOCKET)))?;
        let mut record = record(request, lifecycle, workspace)?;
        record.name = random_name::name(0)?;
        record.log.driver = LogDriver::None;
        let born = Self(records.join(hidden(&record.id)));
        make_folder(&born.0).context(|| "its folder")?;
        born.write(CONTAINER, &record)?;
        born.write(CONFIG, &workspace.spec)?;
        born.write(STATE, &state)?;
        let requests = ForegroundRequests {
            listener: protocol::listen_at(&born.0.join(SOCKET))?,
            clients: Clients::default(),
        };
        std::fs::rename(&born.0, &folder).context(|| "its folder")?;
        std::mem::forget(born);
        remove_some_of_killed(&records);
        let named = Self(folder);
        // Sets the container's name in the live files of its networks.
        if let Some(container) = Container::open(store, &record.id)? {
            rename_member(&container, &record);
        }
        Ok(Some((named, requests)))
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(Error::new)?;
        File::create_new(self.0.join(name))
            .and_then(|mut file| file.write_all(&bytes))
            .context(|| name)
    }
}

/// Makes the folder of a record, together with the folder above. Another container's end removes that one when it is
/// empty, between the two steps too: then both are made again.
fn make_folder(path: &Path) -> io::Result<()> {
    const TRIES: u32 = 20;
    let make = || DirBuilder::new().recursive(true).mode(0o700).create(path);
    let mut made = make();
    for _ in 1..TRIES {
        match &made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => made = make(),
            _ => break,
        }
    }
    made
}

/// Name of the socket for requests, in the record's folder.
const SOCKET: &str = "socket";

/// Requests of other commands to change the networks of the container: the protocol is the monitor's.
struct ForegroundRequests {
    listener: OwnedFd,
    clients: Clients,
}

impl NetworkRequests for ForegroundRequests {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let clients = (0..self.clients.count()).filter_map(|index| self.clients.socket(index));
        [self.listener.as_fd()].into_iter().chain(clients.map(|(socket, _)| socket)).collect()
    }

    fn turn(&mut self, apply: &mut dyn FnMut(NetworkChange) -> Result<()>) {
        self.clients.accept(&self.listener);
        let mut room = vec![0; protocol::ROOM];
        // In reverse order, since a client that has disconnected is removed from the list.
        for index in (0..self.clients.count()).rev() {
            let Some(Wish::Networks(json)) = self.clients.hear(index, &mut room) else { continue };
            let change = serde_json::from_slice::<NetworkChange>(&json).map_err(Error::new);
            let changed = serde_json::to_vec(&change.and_then(&mut *apply)).unwrap_or_default();
            clients::answer(&mut self.clients, index, &MonitorMessage::Changed(&changed));
        }
    }
}

impl Drop for ForegroundRecord {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a record: renames it so that no command lists it, then removes its files.
fn remove(folder: &Path) {
    let name = folder.file_name().unwrap_or_default();
    let hidden = folder.with_file_name(hidden(&name.to_string_lossy()));
    let _ = std::fs::rename(folder, &hidden);
    if let Err(error) = tree::remove_at(&hidden) {
        log::debug!("{}: {error}", hidden.display());
    }
    // Removes the folder of all records after the last one; before that it fails with ENOTEMPTY.
    let _ = folder.parent().map(std::fs::remove_dir);
}

/// Returns the folder name of a record that is being made or removed.
fn hidden(id: &str) -> OsString {
    format!(".{}", id.trim_start_matches('.')).into()
}

/// Returns the folder for the records of a store. `None`: it would be on a network file system.
fn records_folder(store: &Path) -> Result<Option<PathBuf>> {
    let folder = protocol::folder(store)?;
    if filesystem::kind(&folder).network {
        return Ok(None);
    }
    Ok(Some(folder.join(name_of(store).context(|| store.display().to_string())?)))
}

/// Returns the name of the folder for records of a store: several stores share the folder above.
fn name_of(store: &Path) -> io::Result<String> {
    let metadata = store.metadata()?;
    Ok(format!("run-{:x}-{:x}", metadata.dev(), metadata.ino()))
}

/// Returns [`records_folder`], where it exists.
fn existing_folder(store: &Path) -> Option<PathBuf> {
    let name = name_of(store).ok()?;
    // Usually no such folder exists: this check saves the lookup of the owners of its parent folders.
    let of_session = config::runtime_path().map(|folder| protocol::in_session(&folder).join(name));
    let mut places = of_session.into_iter().chain([store.join("run")]);
    if !places.any(|place| place.exists()) {
        return None;
    }
    records_folder(store).ok().flatten().filter(|place| place.is_dir())
}

/// Returns the folder with the record of container `id`.
pub(super) fn folder(store: &Path, id: &ContainerId) -> Option<PathBuf> {
    let folder = existing_folder(store)?.join(id);
    folder.is_dir().then_some(folder)
}

/// Removes the records of disposable containers that were killed together with their `usnea run`.
pub fn remove_records_of_killed(usnea: &Usnea) -> Result<()> {
    ids(usnea.store()?);
    Ok(())
}

/// Looks at some records, and removes those of killed containers. Many tasks of a job may start at once: to look at all
/// records for each new one would take quadratic time.
fn remove_some_of_killed(records: &Path) {
    const MOST: usize = 8;
    let entries = std::fs::read_dir(records).into_iter().flatten().flatten();
    entries.take(MOST).for_each(|entry| {
        running(&entry.path());
    });
}

/// Returns the IDs of the running containers. Removes the records of killed containers.
pub(super) fn ids(store: &Path) -> Vec<ContainerId> {
    let Some(place) = existing_folder(store) else { return Vec::new() };
    let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
    entries.filter_map(|entry| running(&entry.path())).collect()
}

/// Returns the ID of a record's container if it runs, else removes the record.
fn running(folder: &Path) -> Option<ContainerId> {
    let state = files::read_if_whole::<State>(folder, STATE).ok().flatten();
    let lives = state.is_some_and(|state| state.process.lives() || state.monitor.lives());
    let name = folder.file_name()?.to_str()?;
    match lives {
        true => return name.to_owned().try_into().ok(),
        // A running process is making or removing this record.
        false if name.starts_with('.') && !is_old(folder) => {}
        false => remove(folder),
    }
    None
}

/// True if a record folder was changed more than a minute ago.
fn is_old(folder: &Path) -> bool {
    let modified = folder.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 60))
}

/// Returns the ID of the container with this name.
pub(super) fn find(store: &Path, name: &str) -> Option<ContainerId> {
    ids(store).into_iter().find(|id| {
        let container = Container::open(store, id).ok().flatten();
        container.is_some_and(|container| container.record.name == name)
    })
}

impl Container {
    /// True if the container's folder is in the store; false for a disposable container in the foreground.
    pub fn is_in_store(&self) -> bool {
        self.folder.starts_with(self.store.join("containers"))
    }

    /// Refuses a disposable container in the foreground, for which `work` is impossible. `work` completes the phrase
    /// "no ...", such as `other command sees its layers`.
    pub fn refuse_foreground(&self, work: &str) -> Result<()> {
        if self.is_in_store() {
            return Ok(());
        }
        fail!(Conflict: "container {} is removed when the command in the foreground ends: no {work}",
            self.record.name
        )
    }
}
