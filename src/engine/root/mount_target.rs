//! Checks the mount point of a user's mount. Its path may follow symbolic links of the image, which may lead to a file
//! system of the kernel. A mount over procfs or `/dev` would cover the masks, and could redirect writes that are meant
//! for the kernel (CVE-2019-16884, CVE-2025-52881). Therefore the opened mount point is checked, by its descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FsWord, Stat};

use crate::engine::step_error::{StepError, StepResult};
use crate::sys::inode::PROC_SUPER_MAGIC;

/// File systems of the kernel: `f_type` of statfs(2), name, and the path at or below which a user may mount on them.
const KERNELS: [(FsWord, &str, &str); 4] = [
    (PROC_SUPER_MAGIC, "procfs", "/proc"),
    (0x6265_6572, "sysfs", "/sys"),
    (0x6367_7270, "the cgroups", "/sys"),
    (0x1cd1, "the terminals", "/dev"),
];

/// Refuses the mount point `place`, to which `path` was resolved, if it is the root itself. Refuses it also on a file
/// system of the kernel or in `/dev`, unless `path` is at or below that file system's own path.
pub fn check(place: &OwnedFd, path: &Path, root: &OwnedFd, dev: Option<&OwnedFd>) -> StepResult {
    let stat = check_file_system(place, path, dev)?;
    if is_same(&stat, &rustix::fs::fstat(root)?) {
        return Err(led_to("the root"));
    }
    Ok(())
}

/// Refuses the mount point `place`, to which `path` was resolved, on a file system of the kernel or in `/dev`. Allows
/// it if `path` is at or below that file system's own path. Returns the attributes of `place`.
pub fn check_file_system(place: &OwnedFd, path: &Path, dev: Option<&OwnedFd>) -> StepResult<Stat> {
    let f_type = rustix::fs::fstatfs(place)?.f_type;
    let kernels = KERNELS.iter().find(|(magic, _, own)| *magic == f_type && !path.starts_with(own));
    if let Some((_, name, _)) = kernels {
        return Err(led_to(name));
    }
    let stat = rustix::fs::fstat(place)?;
    match dev {
        Some(dev) if !path.starts_with("/dev") => match rustix::fs::fstat(dev)?.st_dev {
            device if device == stat.st_dev => Err(led_to("/dev")),
            _ => Ok(stat),
        },
        _ => Ok(stat),
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn led_to(place: &str) -> StepError {
    let what =
        format!("a symbolic link of the image leads to {place}, over which nothing may be mounted");
    StepError::whole(what)
}
