//! Layers of a stored container, as folders: its writable layer, and those of its image.

use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::OFlags;

use super::Container;
use super::files::{running, with_root};
use crate::container::Usnea;
use crate::engine::{self, FilesAccess, MountSource, PlannedMount};
use crate::error::{Error, Result, Setting};
use crate::ids::{BaseIds, FileIds, IdMaps};
use crate::image::diff::{LayerSource, UpperForm};
use crate::image::owners::Owners;
use crate::layer::LowerLayer;
use crate::layer::override_stat::Records;
use crate::layer::squashfs::ImageFile;
use crate::layer::whiteout::Whiteouts;
use crate::phrase;
use crate::spec::{Stacking, StorageDriver};
use crate::sys::inroot::{self, Symlinks};

/// Mount points in the root for files that are not mounts of the config (`net::GeneratedFile`).
const PLACES: &[&str] = &["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Folders of the layers.
#[derive(Clone, Debug)]
pub(super) struct ContainerLayers {
    /// Writable layer of the container, and its form. `None`: the container writes to its root directory itself
    /// (`--rw-root`).
    pub(super) upper: Option<(LayerSource, UpperForm)>,
    /// Layers of the container's image, the topmost first. That of a single-file image is a folder inside
    /// [`ContainerLayers::in_folders`] alone.
    pub(super) lowers: Vec<LayerSource>,
    /// Number of overlays of the user among `lowers`, which are not layers of the image.
    pub(super) overlays: usize,
    /// Sources of `lowers`, in the same order.
    sources: Vec<LowerLayer>,
}

impl ContainerLayers {
    /// Returns the layers of the container's config. Flushes the writes of a running container first.
    pub(super) fn of(usnea: &Usnea, container: &Container, spec: &Spec) -> Result<Self> {
        container.refuse_foreground("other command sees its layers")?;
        flush(usnea, container)?;
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let Some(root) = mounts.iter().find(|mount| mount.destination() == Path::new("/")) else {
            let root = spec.root().as_ref().ok_or_else(|| Error::new("config.json: no root"))?;
            let path = root.path().clone();
            let sources = vec![LowerLayer::Folder(path.clone())];
            let lowers = vec![path.into()];
            return Ok(Self { upper: None, lowers, overlays: 0, sources });
        };
        match PlannedMount::from_oci(root)?.source {
            MountSource::Overlay { stacking, lowers, upper: Some((path, work)), .. } => {
                // With the copy driver, the layers are copied at the first start.
                let is_whole = engine::is_copied(&work);
                let form = if is_whole { UpperForm::Whole } else { UpperForm::Changes };
                log::debug!("{form:?} in {}", path.display());
                let whiteouts = match engine::has_whiteout_names(&work) {
                    true => Whiteouts::Names,
                    false => Whiteouts::Overlay,
                };
                let shown = match (form, stacking.driver) {
                    (UpperForm::Whole, StorageDriver::Copy) => ids_in_copy(usnea, spec, &stacking)?,
                    _ => None,
                };
                let is_recorded = stacking.records == Records::InLowers;
                let owners = is_recorded.then_some(Owners::Shared);
                let lower = |(index, layer): (usize, &LowerLayer)| LayerSource {
                    owners: owners.clone().filter(|_| index >= stacking.real_lowers),
                    whiteouts: stacking.whiteouts,
                    ..LayerSource::from(layer.path().to_owned())
                };
                let (lowers, sources) = (lowers.iter().enumerate().map(lower).collect(), lowers);
                let is_written = form == UpperForm::Changes;
                let upper = LayerSource {
                    path,
                    shown,
                    whiteouts,
                    owners: None,
                    places: PLACES,
                    is_written,
                    image: None,
                };
                let overlays = stacking.real_lowers;
                Ok(Self { upper: Some((upper, form)), lowers, overlays, sources })
            }
            _ => Err(Error::new("config.json: the root has no writable layer")),
        }
    }

    /// Returns the writable layer. Errors: no such layer, because of `--rw-root`.
    pub(super) fn written(&self) -> Result<&(LayerSource, UpperForm)> {
        self.upper.as_ref().ok_or_else(|| {
            Error::conflict(phrase!("it has no writable layer: it was made with ", Setting::RwRoot))
                .hint("its files are in the folder that it was made from")
        })
    }

    /// Calls `read` with layers that are all folders: an image is mounted meanwhile. For a process in base of the
    /// caller's own: its mount namespace becomes another one.
    pub(super) fn in_folders<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if self.sources.iter().all(|layer| layer.image().is_none()) {
            return read(self);
        }
        engine::with_lower_folders(&self.sources, |paths| {
            let mut shown = self.clone();
            for (lower, path) in shown.lowers.iter_mut().zip(paths) {
                lower.path.clone_from(path);
            }
            read(&shown)
        })
    }

    /// Returns the single-file image that the container was made from; `None`: it was made from another one.
    pub(super) fn image(&self) -> Option<&ImageFile> {
        self.sources.last().and_then(LowerLayer::image)
    }

    /// Returns all folders of the root, the topmost first. Files of an image have their owners in the image.
    pub(super) fn stack(&self) -> Vec<LayerSource> {
        let lowers = self.lowers.iter().zip(&self.sources);
        let lowers = lowers
            .map(|(lower, source)| LayerSource { image: source.image().cloned(), ..lower.clone() });
        match &self.upper {
            Some((upper, UpperForm::Whole)) => vec![upper.clone()],
            Some((upper, UpperForm::Changes)) => {
                [upper.clone()].into_iter().chain(lowers).collect()
            }
            None => lowers.collect(),
        }
    }
}

/// Returns the map from owners in the image to owners in the container's copy of it.
fn ids_in_copy(
    usnea: &Usnea,
    spec: &Spec,
    stacking: &Stacking,
) -> Result<Option<IdMaps<FileIds, BaseIds>>> {
    let plan = engine::plan(spec, usnea.base()?.clone(), Default::default())?;
    Ok(stacking.idmapped.then(|| plan.levels.shown()).flatten())
}

/// Flushes cached writes of a running container: until then they may be in the kernel's cache of a FUSE file system,
/// not in the layers.
fn flush(usnea: &Usnea, container: &Container) -> Result<()> {
    if running(container)?.is_none() {
        return Ok(());
    }
    let flush = |root: &_| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = inroot::open(root, Path::new("."), flags, Symlinks::Refuse)?;
        Ok(rustix::fs::syncfs(root)?)
    };
    match with_root(usnea, container, FilesAccess::Reading, flush, || ())? {
        (Err(error), ()) if running(container)?.is_some() => Err(error),
        // The container has just ended: unmounting has written everything.
        _ => Ok(()),
    }
}
