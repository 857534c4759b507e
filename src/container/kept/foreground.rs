//! Containers in the foreground that are thrown away at their end (`usnea run --rm`): without a monitor and without a folder
//! in the store, since both would make the start slower. As long as such a container runs it has a record in the folder for
//! sockets, below `$XDG_RUNTIME_DIR`, by which `ps`, `exec`, `stop` and others find it.
//!
//! The record goes with the command. What a killed usnea leaves is removed by the next command that lists containers; the
//! container itself has died with it. On a network file system there is no record: writing it could take longer than the
//! command.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::image::StoredImage;
use super::super::run::{self, Decided, Request};
use super::super::stored::Wanted;
use super::create::{Wishes, record};
use super::{Kept, words};
use crate::config;
use crate::engine::Launched;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::filesystem;
use crate::monitor::record::{self as files, CONFIG, CONTAINER, LogDriver, STATE, State};
use crate::monitor::{self, talk};
use crate::sys::tree;

/// Runs a container to its end; the exit status of its command.
pub fn run_thrown_away(request: &Request, wishes: &Wishes, wanted: &Wanted<'_>) -> Result<u8> {
    let mut shown = None;
    run::run(request, wanted, |decided, image, launched| {
        // Nobody finds it then; that is no reason not to run it.
        match Shown::new(request, wishes, decided, image, launched) {
            Ok(record) => shown = record,
            Err(error) => log::debug!("the container has no record: {error}"),
        }
    })
}

/// The record of a running container. Removed with this value.
struct Shown(PathBuf);

impl Shown {
    /// `None`: there is no place for it.
    fn new(
        request: &Request,
        wishes: &Wishes,
        decided: &Decided,
        image: Option<&StoredImage>,
        launched: &Launched,
    ) -> Result<Option<Self>> {
        let store = crate::config::store_path(request.store.as_deref())?;
        let Some(place) = place(&store)? else { return Ok(None) };
        let state = monitor::state(launched, 1, 0, None)?;
        let mut record = record(&decided.id, request, wishes, decided, image)?;
        record.name = words::name(0)?;
        record.log.driver = LogDriver::None;
        let born = Self(place.join(hidden(&record.id)));
        // At once with its folder, which another container's end may remove when it is empty.
        DirBuilder::new().recursive(true).mode(0o700).create(&born.0).context(|| "its folder")?;
        born.write(CONTAINER, &record)?;
        born.write(CONFIG, &decided.spec)?;
        born.write(STATE, &state)?;
        let folder = place.join(&record.id);
        std::fs::rename(&born.0, &folder).context(|| "its folder")?;
        std::mem::forget(born);
        Ok(Some(Self(folder)))
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(Error::new)?;
        File::create_new(self.0.join(name))
            .and_then(|mut file| file.write_all(&bytes))
            .context(|| name)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a record: at once for those who list, and then its files.
fn remove(folder: &Path) {
    let name = folder.file_name().unwrap_or_default();
    let hidden = folder.with_file_name(hidden(&name.to_string_lossy()));
    let _ = std::fs::rename(folder, &hidden);
    if let Err(error) = tree::remove_at(&hidden) {
        log::debug!("{}: {error}", hidden.display());
    }
    // The last one takes the folder of all with it; in another it stays (ENOTEMPTY).
    let _ = folder.parent().map(std::fs::remove_dir);
}

/// The name of a record that is being made or removed.
fn hidden(id: &str) -> OsString {
    format!(".{}", id.trim_start_matches('.')).into()
}

/// The folder for records of a store. `None`: it would be on a network file system.
fn place(store: &Path) -> Result<Option<PathBuf>> {
    let folder = talk::folder(store)?;
    if filesystem::kind(&folder).network {
        return Ok(None);
    }
    Ok(Some(folder.join(name_of(store).context(|| store.display().to_string())?)))
}

/// The name of the folder for records of a store: several stores share the folder above.
fn name_of(store: &Path) -> io::Result<String> {
    let metadata = store.metadata()?;
    Ok(format!("run-{:x}-{:x}", metadata.dev(), metadata.ino()))
}

/// [`place`], where it exists.
fn existing_place(store: &Path) -> Option<PathBuf> {
    let name = name_of(store).ok()?;
    // Most often there is none: then the owner of the folders above need not be looked up.
    let of_session = config::runtime_path().map(|folder| talk::in_session(&folder).join(name));
    let mut places = of_session.into_iter().chain([store.join("run")]);
    if !places.any(|place| place.exists()) {
        return None;
    }
    place(store).ok().flatten().filter(|place| place.is_dir())
}

/// The folder of the record of container `id`.
pub(super) fn folder(store: &Path, id: &str) -> Option<PathBuf> {
    let folder = existing_place(store)?.join(id);
    folder.is_dir().then_some(folder)
}

/// The IDs of the containers that run. What is left of killed ones is removed.
pub(super) fn ids(store: &Path) -> Vec<String> {
    let Some(place) = existing_place(store) else { return Vec::new() };
    let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
    let mut ids = Vec::new();
    for entry in entries {
        let folder = entry.path();
        let state = files::read_if_whole::<State>(&folder, STATE).ok().flatten();
        let lives = state.is_some_and(|state| state.process.lives() || state.monitor.lives());
        match entry.file_name().into_string() {
            Ok(id) if lives && super::is_id(&id) => ids.push(id),
            // Being made or removed by somebody who lives.
            Ok(id) if id.starts_with('.') && !is_old(&folder) => {}
            _ if !lives => remove(&folder),
            _ => {}
        }
    }
    ids
}

/// Whether a record that has no state has been so for long.
fn is_old(folder: &Path) -> bool {
    let modified = folder.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 60))
}

/// The ID of the container with this name.
pub(super) fn find(store: &Path, name: &str) -> Option<String> {
    ids(store).into_iter().find(|id| {
        let kept = Kept::open(store, id).ok().flatten();
        kept.is_some_and(|kept| kept.record.name == name)
    })
}

impl Kept {
    /// Whether its folder is in the store. Else it is in the foreground and is thrown away at its end.
    pub fn is_in_store(&self) -> bool {
        self.folder.starts_with(self.store.join("containers"))
    }

    /// Errors: it is thrown away at its end, so that what is asked for (`starting it again`) cannot be had.
    pub fn refuse_thrown_away(&self, work: &str) -> Result<()> {
        if self.is_in_store() {
            return Ok(());
        }
        fail!(
            "container {} is thrown away when the command in the foreground ends: no {work}",
            self.record.name
        )
    }
}
