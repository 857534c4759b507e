//! Mounts that show files under other IDs (MOUNT_ATTR_IDMAP, mount_setattr(2)): layers under the kernel's overlay, and
//! volumes with `idmap`.
//!
//! The kernel takes them from the owner of a file system alone, so the root of the host makes them of its own, detached,
//! before the first fork; they cross it as descriptors. In base each layer's comes to lie over the layer, which base's
//! mount namespace alone shows: who stacks layers by their paths needs not know of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::mounts::Owners;
use super::trouble::{Done, On};
use super::{Mount, Plan, Source, Step, lowers};
use crate::error::{Context, Error, Result};
use crate::host::idmap;
use crate::ids::{IdMap, IdMaps, through};
use crate::spec::StorageDriver;
use crate::sys::mount::{self, Reach};
use crate::userns::{self, Levels};

/// Those of a plan.
#[derive(Debug, Default)]
pub struct Idmapped {
    layers: Vec<Layer>,
    /// By index of the step that mounts it.
    volumes: Vec<(usize, OwnedFd)>,
}

/// One of a layer's folder.
#[derive(Debug)]
struct Layer {
    folder: PathBuf,
    tree: OwnedFd,
    whose: Whose,
}

/// Who may put something else in a folder's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    /// The owner of another store.
    AnothersStore,
}

impl Idmapped {
    /// Makes what `plan` needs. Errors: we are not the root of the host; a file system that cannot.
    pub fn make(plan: &Plan) -> Result<Self> {
        let mut idmapped = Self::default();
        for (index, step) in plan.steps.iter().enumerate() {
            let (Step::Root(mount) | Step::Mount(mount)) = step else { continue };
            match (&mount.source, &mount.owners) {
                (Source::Overlay { stacking, .. }, _)
                    if stacking.idmapped && stacking.driver == StorageDriver::Overlay =>
                {
                    let namespace = userns::namespace_of(&to_host(&plan.levels)?)?;
                    let whose =
                        if stacking.is_foreign { Whose::AnothersStore } else { Whose::Ours };
                    for folder in layers(mount, plan.options.layers.is_none()) {
                        let tree = mapped(&folder, whose, Reach::Alone, &namespace)?;
                        idmapped.layers.push(Layer { folder, tree, whose });
                    }
                }
                (Source::Bind(path, reach), Owners::Mapped(own)) => {
                    let maps = own.clone().map_or_else(|| to_host(&plan.levels), Ok)?;
                    let namespace = userns::namespace_of(&maps)?;
                    idmapped.volumes.push((index, mapped(path, Whose::Ours, *reach, &namespace)?));
                }
                _ => {}
            }
        }
        Ok(idmapped)
    }

    /// Puts those of layers in their places. Runs in base.
    pub fn cover_layers(&mut self) -> Done {
        for Layer { folder, tree, whose } in self.layers.drain(..) {
            let cover = || mount::attach(tree, open(&folder, whose)?);
            cover().on(|| folder.to_string_lossy())?;
        }
        Ok(())
    }

    /// The volume of a step.
    pub fn take_volume(&mut self, step: usize) -> Option<OwnedFd> {
        let index = self.volumes.iter().position(|(at, _)| *at == step)?;
        Some(self.volumes.swap_remove(index).1)
    }
}

/// Refuses what would need them of whoever cannot make them.
pub fn check(mount: &Mount) -> Result<()> {
    if !matches!(mount.owners, Owners::Mapped(_)) || idmap::is_allowed() {
        return Ok(());
    }
    let text = format!(
        "{}: 'idmap' is refused by the kernel for file systems of the host, whoever has no root there",
        mount.target.display()
    );
    Err(Error::new(text)
        .hint("'U' gives the files to the container's user, --userns keep-id makes that user you"))
}

/// The folders of an overlay that are one mount each: lower layers, and what upper layer and work folder lie in, if they
/// are on a disk. In memory they are base's, and nobody reads them later.
fn layers(mount: &Mount, on_disk: bool) -> Vec<PathBuf> {
    let Source::Overlay { lowers, upper, .. } = &mount.source else { return Vec::new() };
    let upper = upper.as_ref().filter(|_| on_disk).and_then(|(upper, _)| upper.parent());
    lowers.iter().map(PathBuf::as_path).chain(upper).map(Path::to_owned).collect()
}

fn open(path: &Path, whose: Whose) -> io::Result<OwnedFd> {
    match whose {
        Whose::Ours => Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?),
        Whose::AnothersStore => lowers::open(path),
    }
}

fn mapped(path: &Path, whose: Whose, reach: Reach, namespace: &OwnedFd) -> Result<OwnedFd> {
    let copy = || match whose {
        Whose::Ours => mount::copy(rustix::fs::CWD, path, reach),
        Whose::AnothersStore => mount::copy(lowers::open(path)?, Path::new(""), reach),
    };
    let tree = copy().context(|| path.display().to_string())?;
    mount::idmap(&tree, namespace.as_fd())
        .context(|| format!("{}: its file system cannot map IDs", path.display()))?;
    Ok(tree)
}

/// The container's IDs to those that we have: files of root are its root's.
fn to_host(levels: &Levels) -> Result<IdMaps> {
    let Some(maps) = &levels.container else { return Ok(levels.base.maps.clone()) };
    let host = |map: &[IdMap], base: &[IdMap]| {
        through(map, base)
            .ok_or_else(|| Error::new("the container's map has IDs that are not ours"))
    };
    Ok(IdMaps {
        uids: host(&maps.uids, &levels.base.maps.uids)?,
        gids: host(&maps.gids, &levels.base.maps.gids)?,
    })
}
