//! Sources of bind mounts.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::engine::plan::mount::PlannedMount;
use crate::engine::step_error::{OnObject, StepResult};
use crate::sys::inroot::{self, Symlinks};
use crate::sys::mount::{self, MountReach};

/// Returns the detached mount of the file or folder that `mount` binds: `source`, or a path below it. The files of a
/// volume belong to containers: their symbolic links must not lead out of the volume.
pub fn tree(mount: &PlannedMount, source: &Path, reach: MountReach) -> StepResult<OwnedFd> {
    let Some(subpath) = &mount.subpath else {
        return mount::copy(CWD, source, reach).on(|| source.to_string_lossy());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let volume = rustix::fs::open(source, flags, Mode::empty()).on(|| source.to_string_lossy())?;
    let inside = inroot::open(&volume, subpath, OFlags::PATH, Symlinks::Follow);
    let inside = inside.on(|| subpath.to_string_lossy())?;
    mount::copy(&inside, Path::new(""), reach).on(|| subpath.to_string_lossy())
}
