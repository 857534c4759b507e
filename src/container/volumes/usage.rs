//! Volumes that containers mount, according to their config.json.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::record::folder;
use crate::container::{self, Container};
use crate::error::Result;
use crate::files;
use crate::spec::{DATA, VolumeName};

/// Volume that a container mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedVolume {
    /// Name of the volume.
    pub name: VolumeName,
    /// Mount point in the container.
    pub destination: PathBuf,
}

/// Returns the volumes that a container mounts.
pub fn used_by(container: &Container) -> Result<Vec<MountedVolume>> {
    let spec = container.spec_if_any()?.unwrap_or_default();
    let own = canonical(&folder(&container.store));
    let used = |mount: &Mount| {
        Some(MountedVolume { name: name(mount, &own)?, destination: mount.destination().clone() })
    };
    Ok(spec.mounts().iter().flatten().filter_map(used).collect())
}

/// Resolves symbolic links: several paths may lead to the store.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn name(mount: &Mount, own: &Path) -> Option<VolumeName> {
    let bound = mount.source().iter().map(|source| source.as_path());
    let options = mount.options().iter().flatten();
    let covered = options.filter_map(|option| option.strip_prefix("lowerdir=")).map(Path::new);
    bound.chain(covered).find_map(|data| {
        let volume = data.parent().filter(|_| data.ends_with(DATA))?;
        let is_ours = volume.parent().is_some_and(|folder| canonical(folder) == own);
        volume.file_name().filter(|_| is_ours)?.to_str()?.parse().ok()
    })
}

/// Returns the names of the containers that mount the volume `name`.
pub(super) fn users(store: &Path, name: &VolumeName) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for container in container::all_in(store)? {
        if used_by(&container)?.iter().any(|used| used.name == *name) {
            users.push(container.record.name);
        }
    }
    Ok(users)
}

/// True if a container mounts the volume, or is being created with it.
pub fn is_used(store: &Path, name: &VolumeName) -> Result<bool> {
    let is_free = files::try_exclusive(&folder(store).join(name.as_str())).is_some();
    Ok(!is_free || !users(store, name)?.is_empty())
}
