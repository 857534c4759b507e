//! Checks the place where a user's mount goes. A mount's path may go through symbolic links of the image, which may
//! lead onto the kernel's own files. A mount over procfs or `/dev` would hide the masks, and could mislead a process
//! that writes to the kernel (CVE-2019-16884, CVE-2025-52881). Therefore the place itself is checked, by its
//! descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FsWord, Stat};

use crate::engine::step_error::{StepError, StepResult};
use crate::sys::inode::PROC_SUPER_MAGIC;

/// File systems of the kernel, by `f_type` of statfs(2), and the path where each belongs.
const KERNELS: [(FsWord, &str, &str); 4] = [
    (PROC_SUPER_MAGIC, "procfs", "/proc"),
    (0x6265_6572, "sysfs", "/sys"),
    (0x6367_7270, "the cgroups", "/sys"),
    (0x1cd1, "the terminals", "/dev"),
];

/// Refuses `place`, where `path` has led, if it is the root itself. Refuses a place on a file system of the kernel or
/// in `/dev` too, unless `path` names that file system.
pub fn check(place: &OwnedFd, path: &Path, root: &OwnedFd, dev: Option<&OwnedFd>) -> StepResult {
    let stat = check_file_system(place, path, dev)?;
    if is_same(&stat, &rustix::fs::fstat(root)?) {
        return Err(led_to("the root"));
    }
    Ok(())
}

/// Refuses `place`, where `path` has led, on a file system of the kernel or in `/dev`, unless `path` names that file
/// system. Returns the attributes of `place`.
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
    let what = format!("a symbolic link of the image leads to {place}, which nothing may cover");
    StepError { what, errno: 0 }
}
