//! Mount points in a root that belongs to another user. The process that sets up the container cannot make files in
//! such a root. The owner of its folders has no ID in the user namespace, so no capability applies to them. In the
//! writable layer those folders belong to the user. Missing mount points are therefore made there, before the layers
//! are stacked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::engine::plan::Plan;
use crate::engine::plan::step::Step;
use crate::spec::SECRETS;
use crate::sys::inroot::{self, MountPointKind, Symlinks};

/// Makes in the writable layer `upper` those mount points of the plan that the root in the folder `lower` lacks.
/// Ignores failures: the mount's own step reports them.
pub fn make(plan: &Plan, lower: &Path, upper: &Path) {
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let (Ok(lower), Ok(upper)) = (open(lower), open(upper)) else { return };
    for (path, kind, symlinks) in wanted(plan) {
        if let Err(error) = make_one(&lower, &upper, path, kind, symlinks) {
            log::debug!(
                "cannot make the mount point {} in the writable layer: {error}",
                path.display()
            );
        }
    }
}

/// Returns the mount points directly in the root.
fn wanted(plan: &Plan) -> Vec<(&Path, MountPointKind, Symlinks)> {
    let mut all: Vec<(&Path, MountPointKind, Symlinks)> = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Mount(mount)
                if !all.iter().any(|(outer, ..)| mount.target.starts_with(outer)) =>
            {
                all.push((&mount.target, mount.kind, mount.symlinks));
            }
            Step::Files(files) => {
                let files = files.iter().map(|file| Path::new(file.path));
                all.extend(files.map(|path| (path, MountPointKind::File, Symlinks::Follow)));
            }
            Step::Secrets(secrets) => {
                all.push((Path::new(SECRETS), MountPointKind::Directory, Symlinks::Follow));
                let elsewhere = secrets.iter().filter(|secret| secret.inside().is_none());
                all.extend(elsewhere.map(|secret| {
                    (secret.target.as_path(), MountPointKind::File, Symlinks::Follow)
                }));
            }
            _ => {}
        }
    }
    all
}

fn make_one(
    lower: &OwnedFd,
    upper: &OwnedFd,
    path: &Path,
    kind: MountPointKind,
    symlinks: Symlinks,
) -> io::Result<()> {
    let is_missing = |error: &io::Error| error.raw_os_error() == Some(libc::ENOENT);
    match inroot::open(lower, path, OFlags::PATH, symlinks) {
        Err(error) if is_missing(&error) => {}
        answer => return answer.map(drop),
    }
    // The nearest existing ancestor, after symbolic links are resolved.
    for above in path.ancestors().skip(1) {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let folder = match inroot::open(lower, above, flags, symlinks) {
            Err(error) if is_missing(&error) => continue,
            answer => answer?,
        };
        let there = below(lower, &folder)?;
        let mut place = upper.as_fd().try_clone_to_owned()?;
        let mut original = lower.as_fd().try_clone_to_owned()?;
        for name in there.components() {
            original = step_into(&original, name.as_ref())?;
            let mode = rustix::fs::fstat(&original)?.st_mode & 0o7777;
            place = folder_in(&place, name.as_ref(), Mode::from_raw_mode(mode))?;
        }
        let missing = path.strip_prefix(above).unwrap_or(path);
        let mut names = missing.components().peekable();
        while let Some(name) = names.next() {
            let name: &Path = name.as_ref();
            match (names.peek(), kind) {
                (None, MountPointKind::File) => drop(inroot::make_file(&place, name.as_os_str())?),
                _ => place = folder_in(&place, name, Mode::from_raw_mode(0o755))?,
            }
        }
        return Ok(());
    }
    Ok(())
}

/// Returns the path of `folder` relative to `top`.
fn below(top: &OwnedFd, folder: &OwnedFd) -> io::Result<PathBuf> {
    let of = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let (top, folder) = (of(top)?, of(folder)?);
    Ok(folder.strip_prefix(&top).map_err(|_| Errno::XDEV)?.to_owned())
}

fn step_into(folder: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// Opens a folder of the writable layer, and makes it where it is missing. Errors: ENOTDIR for another file that the
/// container made there, such as a whiteout.
fn folder_in(folder: &OwnedFd, name: &Path, mode: Mode) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(folder, name.as_os_str().as_bytes(), mode) {
        Ok(()) | Err(Errno::EXIST) => step_into(folder, name),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn missing_mount_points_are_made_in_the_upper_layer_where_links_lead() {
        let top = tempfile::tempdir().unwrap();
        let (lower, upper) = (top.path().join("lower"), top.path().join("upper"));
        create_dir_all(lower.join("usr/etc")).unwrap();
        create_dir_all(lower.join("srv/data")).unwrap();
        create_dir_all(&upper).unwrap();
        set_permissions(lower.join("usr"), PermissionsExt::from_mode(0o750)).unwrap();
        symlink("/usr/etc", lower.join("etc")).unwrap();
        let open = |path: &Path| OwnedFd::from(std::fs::File::open(path).unwrap());
        let (from, to) = (open(&lower), open(&upper));
        let make = |path: &str, kind| {
            make_one(&from, &to, Path::new(path), kind, Symlinks::Follow).unwrap();
        };
        for _ in 0..2 {
            make("/etc/hosts", MountPointKind::File);
            make("/a/b/c", MountPointKind::Directory);
            make("/srv/data", MountPointKind::Directory);
            std::fs::remove_file(upper.join("usr/etc/hosts")).unwrap();
        }
        assert_eq!(upper.join("usr").metadata().unwrap().mode() & 0o777, 0o750);
        assert!(upper.join("a/b/c").is_dir());
        assert!(!upper.join("etc").exists() && !upper.join("srv").exists());
        assert_eq!(std::fs::read_dir(lower.join("usr/etc")).unwrap().count(), 0);
    }
}
