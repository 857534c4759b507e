//! `--volumes-from`: adds volumes and bind mounts of other containers to a new one.

use std::path::Path;

use super::usage::used_by;
use crate::container;
use crate::error::{Context, Error, Result, Setting};
use crate::spec::{self, ContainerOptions, VolumeFlag, VolumesFrom};

/// Adds the mounts of the containers in `--volumes-from`, except where another mount has the same mount point. The
/// user's own mounts have precedence, then those of the last container. Errors: no such container.
pub fn inherit(store: &Path, options: &mut ContainerOptions) -> Result<()> {
    for from in options.volumes_from.clone().iter().rev() {
        let volumes = of_container(store, from).context(|| Setting::VolumesFrom.with(from))?;
        for volume in volumes {
            if !spec::has_mount_at(options, &volume.destination) {
                options.volume.push(volume);
            }
        }
    }
    Ok(())
}

fn of_container(store: &Path, from: &VolumesFrom) -> Result<Vec<VolumeFlag>> {
    let container = container::find_in(store, &from.container)?;
    let (config, used) = (container.spec()?, used_by(&container)?);
    let mut volumes = Vec::new();
    for mount in spec::asked_for(&config) {
        let name = used.iter().find(|used| used.destination == *mount.destination());
        let name = name.map(|used| used.name.clone());
        let is_hidden = |source: &Path| spec::is_disposable(source) && name.is_none();
        if spec::source(mount).is_some_and(|source| is_hidden(&source)) {
            let place = mount.destination().display();
            return Err(Error::conflict(format!(
                "its volume at {place} is in its own memory and cannot be shared"
            ))
            .hint("a volume with a name can be shared: -v NAME:CONTAINER"));
        }
        volumes.extend(VolumeFlag::inherited(mount, name, from)?);
    }
    Ok(volumes)
}
