//! Record of a volume: creation, and lookup by name.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::container::Usnea;
use crate::container::folder::{self as container_folder, PREFIX};
use crate::documents::volume::{VolumeDocument, VolumeRow};
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock, NewFolder};
use crate::hint;
use crate::monitor::events;
use crate::spec::{DATA, NEW, VolumeName};

const RECORD: &str = "volume.json";

/// Record of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoredVolume {
    /// Name of the volume.
    pub name: VolumeName,
    /// Time when the volume was made.
    pub created_at: Timestamp,
    /// Labels of the volume.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// True if the volume was made with a container, with a random name.
    #[serde(default)]
    pub anonymous: bool,
}

/// Origin of a volume's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeNaming {
    /// Name that a user chose.
    Named,
    /// Random name of a volume that was made with a container.
    Anonymous,
}

/// Returns the folder of a store's volumes.
pub fn folder(store: &Path) -> PathBuf {
    store.join("volumes")
}

impl StoredVolume {
    /// Returns the folder of the volume's files.
    pub fn data(&self, store: &Path) -> PathBuf {
        folder(store).join(self.name.as_str()).join(DATA)
    }

    /// Returns the document of the volume.
    pub fn inspect(&self, store: &Path) -> VolumeDocument {
        let is_new = folder(store).join(self.name.as_str()).join(NEW).exists();
        VolumeDocument {
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

    /// Returns the row of a table.
    pub fn row(&self, store: &Path) -> VolumeRow {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        VolumeRow {
            driver: "local",
            name: self.name.to_string(),
            labels: labels.collect::<Vec<_>>().join(","),
            label_map: self.labels.clone(),
            mountpoint: self.data(store).display().to_string(),
            scope: "local",
            created_at: self.created_at.to_string(),
            anonymous: self.anonymous,
            options: BTreeMap::new(),
            status: BTreeMap::new(),
            availability: "N/A",
            group: "N/A",
            links: "N/A",
            size: "N/A",
            mount_count: 0,
            needs_copy_up: false,
            needs_chown: false,
        }
    }
}

/// Returns the volume of this name. Errors: a damaged record.
pub fn find(store: &Path, name: &VolumeName) -> Result<Option<StoredVolume>> {
    let path = folder(store).join(name.as_str()).join(RECORD);
    let phrase = || format!("volume {name}: {}", path.display());
    match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => {
            serde_json::from_slice(&answer.context(phrase)?).map_err(Error::new).context(phrase)
        }
    }
}

/// Returns the volume that `text` names. Errors: no such volume.
pub fn named(store: &Path, text: &str) -> Result<(VolumeName, StoredVolume)> {
    let none = || Error::not_found(format!("no volume is called '{}'", text.escape_debug()));
    let name = text.parse::<VolumeName>().map_err(|_| none())?;
    let volume = find(store, &name)?.ok_or_else(none);
    Ok((name, volume.hint(|| hint::LIST_VOLUMES)?))
}

/// Returns all volumes, by name. Leaves out a volume with a damaged record, with a warning.
pub fn all(store: &Path) -> Result<Vec<StoredVolume>> {
    let folder = folder(store);
    let phrase = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(phrase)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.context(phrase)?;
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

/// Returns a random name for an anonymous volume: 64 hexadecimal digits.
pub fn random_name() -> Result<VolumeName> {
    crate::object_id::random_id()?.parse().map_err(Error::new)
}

/// Opens the volume, or makes it with these labels. Returns a shared lock that protects it against removal.
pub fn make(
    usnea: &Usnea,
    name: &VolumeName,
    labels: &BTreeMap<String, String>,
    naming: VolumeNaming,
) -> Result<File> {
    let store = usnea.store()?;
    let place = config::open_private(&folder(store))?.join(name.as_str());
    let tmp = config::open_private(&store.join("tmp"))?;
    loop {
        let held = files::hold(&place, Lock::Shared);
        if let Some(held) = held.context(|| format!("cannot lock {}", place.display()))? {
            return Ok(held);
        }
        let volume = StoredVolume {
            name: name.clone(),
            created_at: Timestamp::now(),
            labels: labels.clone(),
            anonymous: naming == VolumeNaming::Anonymous,
        };
        let birth = NewFolder::folder(&tmp, PREFIX)?;
        fill(&birth.path, &volume).map_err(|error| files::cannot_write(error, &birth.path))?;
        // `None`: another command made the volume first.
        if let Some(held) = birth.put(&place)? {
            container_folder::sweep(store, usnea.base()?);
            events::of_other(store, "volume", name.as_str(), "create", &[]);
            return Ok(held);
        }
    }
}

fn fill(folder: &Path, volume: &StoredVolume) -> io::Result<()> {
    let record = serde_json::to_vec(volume).map_err(io::Error::from)?;
    files::write_synced(&folder.join(RECORD), &record)?;
    DirBuilder::new().mode(0o755).create(folder.join(DATA))?;
    // Mode 0755 whatever the caller's umask: other users of a container need access to the folder too.
    std::fs::set_permissions(folder.join(DATA), Permissions::from_mode(0o755))?;
    DirBuilder::new().mode(0o700).create(folder.join(NEW))
}

/// Opens or makes the volumes that a container mounts, and returns their locks.
pub(in crate::container) fn acquire(
    usnea: &Usnea,
    names: &[VolumeName],
    anonymous: &[VolumeName],
) -> Result<Vec<File>> {
    let one = |name: &VolumeName| {
        let naming =
            if anonymous.contains(name) { VolumeNaming::Anonymous } else { VolumeNaming::Named };
        make(usnea, name, &BTreeMap::new(), naming)
    };
    names.iter().map(one).collect()
}
