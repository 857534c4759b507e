//! Copy-up: copies the root's files at a mount point into a new volume, once. Runs in base.
//!
//! The folder `new` beside the volume's data marks a volume that is still empty. A copy renames that marker to
//! `filling` and holds its lock. Other processes wait for the lock, and complete a copy whose process was killed.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};

use crate::engine::plan::mount::{MountOwners, MountSource, PlannedMount};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::files::{self, Lock};
use crate::ids::{BaseIds, IdPair};
use crate::rootfs::copy;
use crate::spec::NEW;
use crate::sys::{inroot, process};

const FILLING: &str = "filling";

/// Fills the volume that `mount` binds, if the mount copies up and the volume is new. Writes through `tree` if the
/// mount is made already. If the root lacks the mount point, the volume stays new and is changed to belong to `owner`.
/// That is the container's root, who could not write to a volume of base's root.
pub fn fill(
    root: &OwnedFd,
    mount: &PlannedMount,
    tree: Option<&OwnedFd>,
    owner: Option<IdPair<BaseIds>>,
) -> StepResult {
    let (true, MountSource::Bind(data, _)) = (mount.copy_up, &mount.source) else { return Ok(()) };
    let Some((lock, is_begun)) = marked(data)? else { return Ok(()) };
    let (new, filling) = (data.with_file_name(NEW), data.with_file_name(FILLING));
    if !is_begun && fs::read_dir(data).on(shown(data))?.next().is_some() {
        return files::remove_held(&new, lock).on(shown(&new));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let into = match tree {
        Some(tree) => rustix::fs::openat(tree, ".", flags, Mode::empty()),
        None => rustix::fs::open(data, flags | OFlags::NOFOLLOW, Mode::empty()),
    };
    let into = into.on(shown(data))?;
    let place = match inroot::open(root, &mount.target, flags, mount.symlinks) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            if let Some(owner) = owner.filter(|owner| *owner != IdPair::new(0, 0)) {
                let (uid, gid) = (owner.uid.number(), owner.gid.number());
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::fchown(&into, Some(uid), Some(gid)).on(shown(data))?;
            }
            return Ok(());
        }
        answer => answer?,
    };
    if !is_begun {
        fs::rename(&new, &filling).on(shown(&new))?;
    }
    let copy = || copy::folder(place.as_fd(), into.as_fd());
    let copied = match (&mount.owners, owner) {
        (MountOwners::Mapped(_), Some(IdPair { uid, gid })) => {
            process::as_owner(uid.number(), gid.number(), copy)?
        }
        _ => copy(),
    };
    copied.map_err(|error| StepError::of(&error))?;
    files::remove_held(&filling, lock).on(shown(&filling))
}

/// Copies the root's folder `place` into the new tmpfs `tree`.
pub fn fill_new(place: &OwnedFd, tree: &OwnedFd) -> StepResult {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |folder: &OwnedFd| rustix::fs::openat(folder, ".", flags, Mode::empty());
    let (from, into) = (open(place)?, open(tree)?);
    let copied = copy::folder(from.as_fd(), into.as_fd());
    copied.map_err(|error| StepError::of(&error))
}

/// True if the volume has no files yet, from a copy-up or from a container. It can be marked as new and have files: a
/// container wrote them after a start whose root lacked the mount point.
pub fn is_empty(data: &Path) -> bool {
    let has_files = || fs::read_dir(data).is_ok_and(|mut files| files.next().is_some());
    data.with_file_name(NEW).exists() && !has_files()
}

/// Returns the locked marker of a new volume, and true if a copy has begun. Looks for `new` before `filling`, since a
/// copy renames the first to the second.
fn marked(data: &Path) -> io::Result<Option<(File, bool)>> {
    let hold = |name| files::hold(&data.with_file_name(name), Lock::Exclusive);
    if let Some(lock) = hold(NEW)? {
        return Ok(Some((lock, false)));
    }
    Ok(hold(FILLING)?.map(|lock| (lock, true)))
}

fn shown(path: &Path) -> impl FnOnce() -> String {
    let path: PathBuf = path.to_owned();
    move || path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::inroot::{MountPointKind, Symlinks};
    use crate::sys::mount::{Attributes, MountReach};

    struct Volume(tempfile::TempDir);

    impl Volume {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            for folder in ["volume/_data", "volume/new", "root/there"] {
                fs::create_dir_all(top.path().join(folder)).unwrap();
            }
            fs::write(top.path().join("root/there/file"), "of the image").unwrap();
            Self(top)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join("volume").join(name)
        }

        fn fill(&self, target: &str) {
            let root = File::open(self.0.path().join("root")).unwrap().into();
            let mount = PlannedMount {
                source: MountSource::Bind(self.path("_data"), MountReach::Recursive),
                target: target.into(),
                kind: MountPointKind::Directory,
                symlinks: Symlinks::Follow,
                attributes: Attributes::NONE,
                cleared: Attributes::NONE,
                propagation: None,
                copy_up: true,
                subpath: None,
                owners: MountOwners::AsTheyAre,
                maker: crate::engine::plan::mount::Maker::Container,
            };
            fill(&root, &mount, None, None).unwrap_or_else(|error| panic!("{}", error.what));
        }
    }

    #[test]
    fn a_new_volume_is_filled_once() {
        let volume = Volume::new();
        volume.fill("/there");
        assert_eq!(fs::read_to_string(volume.path("_data/file")).unwrap(), "of the image");
        assert!(!volume.path("new").exists() && !volume.path("filling").exists());
        fs::remove_file(volume.path("_data/file")).unwrap();
        volume.fill("/there");
        assert!(!volume.path("_data/file").exists());
    }

    #[test]
    fn an_interrupted_copy_is_done_again() {
        let volume = Volume::new();
        fs::rename(volume.path("new"), volume.path("filling")).unwrap();
        fs::write(volume.path("_data/file"), "of th").unwrap();
        volume.fill("/there");
        assert_eq!(fs::read_to_string(volume.path("_data/file")).unwrap(), "of the image");
        assert!(!volume.path("filling").exists());
    }

    #[test]
    fn a_volume_in_which_there_is_something_is_left_alone() {
        let volume = Volume::new();
        fs::write(volume.path("_data/mine"), "").unwrap();
        volume.fill("/there");
        assert!(!volume.path("_data/file").exists() && !volume.path("new").exists());
    }

    #[test]
    fn a_place_that_the_root_does_not_have_leaves_it_new() {
        let volume = Volume::new();
        volume.fill("/nowhere");
        assert!(volume.path("new").exists() && is_empty(&volume.path("_data")));
        volume.fill("/there");
        assert!(volume.path("_data/file").exists());
    }
}
