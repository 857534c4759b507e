//! The overlay as a command.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::command::{self, Ground, MountRequest, open_folder, real};
use super::options::OverlayOptions;
use super::overlay_content::OverlayContent;
use super::tree::{LowerImage, LowerSource, OverlayLayers};
use crate::error::{Context, Result};
use crate::fail;
use crate::layer::squashfs::ImageFile;

/// Mounts an overlay on `target` with the options in `texts`; returns the exit status. Errors: invalid options, a
/// folder, the mount.
pub fn run(texts: &[String], target: &Path, ground: Ground) -> Result<u8> {
    let options = OverlayOptions::parse(texts).context(|| "cannot mount an overlay")?;
    let layers = open_layers(&options)?;
    let OverlayOptions { lowers, upper, work, rules, mount, .. } = options;
    let folders = lowers.iter().chain(&upper).chain(&work).map(PathBuf::as_path).collect();
    let request = MountRequest { target, ground, options: mount, source: "overlay", folders };
    command::run(OverlayContent { layers, rules }, request)
}

/// Opens a folder, which must be readable.
fn folder(path: &Path) -> Result<OwnedFd> {
    open_folder(path, OFlags::RDONLY)
}

/// Opens a read-only layer: a folder, or a file with an image at the byte `offset`.
fn lower(path: &Path, offset: Option<u64>) -> Result<LowerSource> {
    if offset.is_none() && !ImageFile::is_at(path) {
        return folder(path).map(LowerSource::Folder);
    }
    LowerImage::open_file(&ImageFile::new(path, offset.unwrap_or(0))).map(LowerSource::Image)
}

fn open_layers(options: &OverlayOptions) -> Result<OverlayLayers> {
    let offset = |index: usize| options.offsets.get(&index).copied();
    let lowers = options.lowers.iter().enumerate();
    let lowers = lowers.map(|(index, path)| lower(path, offset(index))).collect::<Result<_>>()?;
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => {
            let opened = (folder(upper)?, folder(work)?);
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
