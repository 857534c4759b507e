//! The overlay as a command.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::command::{self, Ground, MountRequest, open_folder, real};
use super::options::OverlayOptions;
use super::overlay_content::OverlayContent;
use super::tree::OverlayLayers;
use crate::error::{Context, Result};
use crate::layer::squashfs::ImageFile;
use crate::{fail, hint};

/// Mounts an overlay on `target` with the options in `texts`; returns the exit status. Errors: invalid options, a
/// folder, the mount.
pub fn run(texts: &[String], target: &Path, ground: Ground) -> Result<u8> {
    let options = OverlayOptions::parse(texts).context(|| "cannot mount an overlay")?;
    let layers = open_layers(&options)?;
    let OverlayOptions { lowers, upper, work, rules, mount } = options;
    let folders = lowers.iter().chain(&upper).chain(&work).map(PathBuf::as_path).collect();
    let request = MountRequest { target, ground, options: mount, source: "overlay", folders };
    command::run(OverlayContent { layers, rules }, request)
}

/// Opens a layer, which must be readable.
fn layer(path: &Path) -> Result<OwnedFd> {
    open_folder(path, OFlags::RDONLY).map_err(|error| match ImageFile::is_at(path) {
        true => error.hint(hint::MOUNT_SQUASHFS),
        false => error,
    })
}

fn open_layers(options: &OverlayOptions) -> Result<OverlayLayers> {
    let lowers = options.lowers.iter().map(|path| layer(path)).collect::<Result<Vec<_>>>()?;
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => {
            let opened = (layer(upper)?, layer(work)?);
            apart(upper, work, &options.lowers)?;
            Some(opened)
        }
        _ => None,
    };
    Ok(OverlayLayers { lowers, upper })
}

/// Refuses overlaps of upper and work with each other or with a lower layer: writes would change lower files.
fn apart(upper: &Path, work: &Path, lowers: &[PathBuf]) -> Result<()> {
    let written = [real(upper)?, real(work)?];
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    if overlap(&written[0], &written[1]) {
        fail!(Invalid: "upperdir {} and workdir {} overlap", upper.display(), work.display());
    }
    for lower in lowers {
        let lower = real(lower)?;
        if let Some(other) = written.iter().find(|other| overlap(other, &lower)) {
            fail!(Invalid: "lowerdir {} and {} overlap", lower.display(), other.display());
        }
    }
    Ok(())
}
