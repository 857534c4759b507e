//! Where a user's mount may come to lie. Its path may go through symbolic links of the image, and those may lead onto the
//! kernel's own files: what lies over procfs or `/dev` hides the masks, and feeds whoever writes to the kernel
//! (CVE-2019-16884, CVE-2025-52881). So the place itself is looked at, by its descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FsWord, Stat};

use super::trouble::{Done, Trouble};
use crate::sys::inode::PROC_SUPER_MAGIC;

/// File systems of the kernel, by `f_type` of statfs(2), and where each has its place.
const KERNELS: [(FsWord, &str, &str); 4] = [
    (PROC_SUPER_MAGIC, "procfs", "/proc"),
    (0x6265_6572, "sysfs", "/sys"),
    (0x6367_7270, "the cgroups", "/sys"),
    (0x1cd1, "the terminals", "/dev"),
];

/// Refuses `place`, to which `path` has led, when it is the root itself, or on a file system of the kernel or in `/dev`
/// where the path does not say so.
pub fn check(place: &OwnedFd, path: &Path, root: &OwnedFd, dev: Option<&OwnedFd>) -> Done {
    let stat = check_file_system(place, path, dev)?;
    if is_same(&stat, &rustix::fs::fstat(root)?) {
        return Err(led_to("the root"));
    }
    Ok(())
}

/// Refuses `place`, to which `path` has led, when it is on a file system of the kernel or in `/dev` where the path does not
/// say so. Returns its attributes.
pub fn check_file_system(place: &OwnedFd, path: &Path, dev: Option<&OwnedFd>) -> Done<Stat> {
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

fn led_to(place: &str) -> Trouble {
    let what = format!("a symbolic link of the image leads to {place}, which nothing may cover");
    Trouble { what, errno: 0 }
}
