//! Volumes: folders that outlive containers, by name.
//!
//! ```text
//! volumes/NAME/volume.json      what it is; never changed
//! volumes/NAME/_data/           its files
//! volumes/NAME/new              there until something came into it (see `engine::copyup`)
//! ```
//!
//! One is born in `tmp/` and renamed into place. Whoever makes a container with it has the shared lock on its folder
//! until the container is in its place, a container without a record as long as it runs; whoever removes it has the
//! exclusive one, and then looks through the containers ([`usage`]).

mod archive;
mod filter;
mod remove;
mod size;
mod usage;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::PREFIX;
use crate::config;
use crate::error::{Context, Error, Result};
use crate::files::{self, Birth, Lock};
use crate::monitor::events;
use crate::spec::{DATA, NEW, VolumeName};
use crate::userns::Base;

pub use archive::{export, import};
pub use filter::Filter;
pub use remove::{Pruned, prune, remove, remove_anonymous};
pub use size::usage;
pub use usage::{Used, is_used, used_by};

const RECORD: &str = "volume.json";

/// What is written down of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It was given no name, but made with a container.
    #[serde(default)]
    pub anonymous: bool,
}

/// All that is known of a volume.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    /// When it was made.
    pub created_at: Timestamp,
    /// `local`: there is no other.
    pub driver: &'static str,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The folder of its files.
    pub mountpoint: PathBuf,
    /// Its name.
    pub name: String,
    /// Options of the driver, which has none.
    pub options: BTreeMap<String, String>,
    /// `local`.
    pub scope: &'static str,
    /// What the driver tells, which is nothing.
    pub status: BTreeMap<String, String>,
    /// It was made with a container.
    pub anonymous: bool,
    /// Mounts of the volume itself: a folder needs none.
    pub mount_count: u64,
    /// The first container gives it what its image has there.
    pub needs_copy_up: bool,
    /// That container gives it its owner too.
    pub needs_chown: bool,
    /// Of volumes that are made from an image.
    #[serde(rename = "StorageID")]
    pub storage_id: &'static str,
}

/// Whether a volume has a name of somebody's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It has.
    Named,
    /// It was made with a container.
    Anonymous,
}

/// Where the volumes of a store are.
pub fn folder(store: &Path) -> PathBuf {
    store.join("volumes")
}

impl Volume {
    /// The folder of its files.
    pub fn data(&self, store: &Path) -> PathBuf {
        folder(store).join(self.name.as_str()).join(DATA)
    }

    /// docker's document of a volume, with the fields that podman adds.
    pub fn inspect(&self, store: &Path) -> Document {
        let is_new = folder(store).join(self.name.as_str()).join(NEW).exists();
        Document {
            created_at: self.created_at,
            driver: "local",
            labels: self.labels.clone(),
            mountpoint: self.data(store),
            name: self.name.to_string(),
            options: BTreeMap::new(),
            scope: "local",
            status: BTreeMap::new(),
            anonymous: self.anonymous,
            mount_count: 0,
            needs_copy_up: is_new,
            needs_chown: is_new,
            storage_id: "",
        }
    }
}

/// The volume of this name. Errors: its record is damaged.
pub fn find(store: &Path, name: &VolumeName) -> Result<Option<Volume>> {
    let path = folder(store).join(name.as_str()).join(RECORD);
    let said = || format!("volume {name}: {}", path.display());
    match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => serde_json::from_slice(&answer.context(said)?).map_err(Error::new).context(said),
    }
}

/// The volume that `text` names. Errors: there is none.
pub fn named(store: &Path, text: &str) -> Result<(VolumeName, Volume)> {
    let none = || Error::new(format!("no volume is called '{}'", text.escape_debug()));
    let name = text.parse::<VolumeName>().map_err(|_| none())?;
    let volume = find(store, &name)?.ok_or_else(none);
    Ok((name, volume.hint(|| "'usnea volume ls' lists all volumes")?))
}

/// All volumes, by name. One whose record is damaged is told of and left out.
pub fn all(store: &Path) -> Result<Vec<Volume>> {
    let folder = folder(store);
    let said = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(said)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.context(said)?;
        let Some(Ok(name)) = entry.file_name().to_str().map(str::parse::<VolumeName>) else {
            continue;
        };
        match find(store, &name) {
            Ok(volume) => all.extend(volume),
            Err(error) => log::warn!("{error}"),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// A name for one that is given none: 64 hexadecimal digits.
pub fn random_name() -> Result<VolumeName> {
    super::run::random_id()?.parse().map_err(Error::new)
}

/// The volume, with the shared lock on it: the one that is there, else a new one with these labels.
pub fn make(
    store: &Path,
    name: &VolumeName,
    labels: &BTreeMap<String, String>,
    naming: Naming,
) -> Result<File> {
    let place = config::open_private(&folder(store))?.join(name.as_str());
    let tmp = config::open_private(&store.join("tmp"))?;
    loop {
        let held = files::hold(&place, Lock::Shared);
        if let Some(held) = held.context(|| format!("cannot lock {}", place.display()))? {
            return Ok(held);
        }
        let volume = Volume {
            name: name.clone(),
            created_at: Timestamp::now(),
            labels: labels.clone(),
            anonymous: naming == Naming::Anonymous,
        };
        let birth = Birth::folder(&tmp, PREFIX)?;
        fill(&birth.path, &volume).map_err(|error| files::cannot_write(error, &birth.path))?;
        // `None`: somebody else was faster.
        if let Some(held) = birth.put(&place)? {
            super::folder::sweep(store, &Base::of_user()?);
            events::of_other(store, "volume", name.as_str(), "create", &[]);
            return Ok(held);
        }
    }
}

fn fill(folder: &Path, volume: &Volume) -> io::Result<()> {
    let record = serde_json::to_vec(volume).map_err(io::Error::from)?;
    files::write_synced(&folder.join(RECORD), &record)?;
    DirBuilder::new().mode(0o755).create(folder.join(DATA))?;
    // Whatever umask the caller has: other users of a container enter it too.
    std::fs::set_permissions(folder.join(DATA), Permissions::from_mode(0o755))?;
    DirBuilder::new().mode(0o700).create(folder.join(NEW))
}

/// What a container mounts: the volumes, held.
pub(super) fn had(
    store: &Path,
    names: &[VolumeName],
    anonymous: &[VolumeName],
) -> Result<Vec<File>> {
    let one = |name: &VolumeName| {
        let naming = if anonymous.contains(name) { Naming::Anonymous } else { Naming::Named };
        make(store, name, &BTreeMap::new(), naming)
    };
    names.iter().map(one).collect()
}
