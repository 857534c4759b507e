//! ID-mapped mounts (MOUNT_ATTR_IDMAP, mount_setattr(2)): of layers under the kernel's overlay, and of volumes with
//! `idmap`.
//!
//! The kernel requires CAP_SYS_ADMIN in the user namespace of the file system. Therefore usnea makes these mounts as
//! root of the host, detached, before the first fork; the child inherits their descriptors. The base process attaches
//! each layer's mount over the layer, visible in its mount namespace alone. Therefore code that stacks layers by path
//! needs no special case.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::engine::plan::Plan;
use crate::engine::plan::mount::{MountOwners, MountSource, PlannedMount};
use crate::engine::plan::step::{MemoryLayers, Step};
use crate::engine::root::lowers;
use crate::engine::step_error::{OnObject, StepResult};
use crate::error::{Context, Error, Result};
use crate::ids::{FileIds, HostIds, IdMaps};
use crate::layer::LowerLayer;
use crate::spec::StorageDriver;
use crate::sys::mount::{self, MountReach};
use crate::userns::{self, Levels};

/// ID-mapped mounts of one plan, detached.
#[derive(Debug, Default)]
pub struct Idmapped {
    layers: Vec<IdmappedLayer>,
    /// Mounts of volumes, by index of their step.
    volumes: Vec<(usize, OwnedFd)>,
}

/// ID-mapped mount of a layer's folder.
#[derive(Debug)]
struct IdmappedLayer {
    folder: PathBuf,
    tree: OwnedFd,
    whose: LayerOwner,
}

/// Owner of a layer's store, who may replace the layer's folder by another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerOwner {
    Ours,
    /// Another user: no symbolic link below the store is followed.
    AnothersStore,
}

impl Idmapped {
    /// Makes the ID-mapped mounts that `plan` needs. Errors: the caller is not root of the host; a file system cannot
    /// map IDs.
    pub fn make(plan: &Plan) -> Result<Self> {
        let mut idmapped = Self::default();
        for (index, step) in plan.steps.iter().enumerate() {
            let (Step::Root(mount) | Step::Mount(mount)) = step else { continue };
            match (&mount.source, &mount.owners) {
                (MountSource::Overlay { stacking, .. }, _)
                    if stacking.idmapped && stacking.driver == StorageDriver::Overlay =>
                {
                    let namespace = userns::namespace_of(&to_host(&plan.levels)?)?;
                    let whose = if stacking.is_foreign {
                        LayerOwner::AnothersStore
                    } else {
                        LayerOwner::Ours
                    };
                    for folder in layers(mount, plan.options.layers.as_ref()) {
                        let tree = mapped(&folder, whose, MountReach::Alone, &namespace)?;
                        idmapped.layers.push(IdmappedLayer { folder, tree, whose });
                    }
                }
                (MountSource::Bind(path, reach), MountOwners::Mapped(own)) => {
                    let maps = own.clone().map_or_else(|| to_host(&plan.levels), Ok)?;
                    let namespace = userns::namespace_of(&maps)?;
                    idmapped
                        .volumes
                        .push((index, mapped(path, LayerOwner::Ours, *reach, &namespace)?));
                }
                _ => {}
            }
        }
        Ok(idmapped)
    }

    /// Attaches the layers' mounts over the layers. Runs in base.
    pub fn cover_layers(&mut self) -> StepResult {
        for IdmappedLayer { folder, tree, whose } in self.layers.drain(..) {
            let cover = || mount::attach(tree, open(&folder, whose)?);
            cover().on(|| folder.to_string_lossy())?;
        }
        Ok(())
    }

    /// Takes out the volume's mount for a step.
    pub fn take_volume(&mut self, step: usize) -> Option<OwnedFd> {
        let index = self.volumes.iter().position(|(at, _)| *at == step)?;
        Some(self.volumes.swap_remove(index).1)
    }
}

/// Returns the folders of an overlay that each need a mount: the lower layers, and the common parent of upper layer and
/// work folder on disk. An upper layer in memory has the IDs of base, since nothing reads it later.
fn layers(mount: &PlannedMount, memory: Option<&MemoryLayers>) -> Vec<PathBuf> {
    let MountSource::Overlay { lowers, upper, .. } = &mount.source else { return Vec::new() };
    let upper = upper.as_ref().filter(|_| memory.is_none()).and_then(|(upper, _)| upper.parent());
    lowers.iter().map(LowerLayer::path).chain(upper).map(Path::to_owned).collect()
}

fn open(path: &Path, whose: LayerOwner) -> io::Result<OwnedFd> {
    match whose {
        LayerOwner::Ours => {
            Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
        }
        LayerOwner::AnothersStore => lowers::open(path),
    }
}

fn mapped(
    path: &Path,
    whose: LayerOwner,
    reach: MountReach,
    namespace: &OwnedFd,
) -> Result<OwnedFd> {
    let copy = || match whose {
        LayerOwner::Ours => mount::copy(rustix::fs::CWD, path, reach),
        LayerOwner::AnothersStore => mount::copy(lowers::open(path)?, Path::new(""), reach),
    };
    let tree = copy().context(|| path.display().to_string())?;
    mount::idmap(&tree, namespace.as_fd())
        .context(|| format!("{}: its file system cannot map IDs", path.display()))?;
    Ok(tree)
}

/// Returns the maps by which the container's root owns files of root on disk, and so on for the other IDs.
fn to_host(levels: &Levels) -> Result<IdMaps<FileIds, HostIds>> {
    let maps = levels.to_host();
    let maps =
        maps.ok_or_else(|| Error::new("the container's map has IDs that are not mapped in base"))?;
    Ok(maps.as_files())
}
