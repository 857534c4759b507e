//! Files of a container that are generated in a tmpfs and mounted, such as `/etc/hosts`. They are in no layer, are
//! writable, and are removed with the container.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};

use crate::engine::root::mount_target;
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::error::Error;
use crate::net::{GeneratedFile, Need};
use crate::sys::inroot::{self, MountPointKind, Symlinks};
use crate::sys::mount::{self, Attributes, MountReach};

/// Mounts `files` in `root`, before the host's root is detached. A kernel before 6.15 cannot copy a detached mount
/// (open_tree(2)). Therefore the tmpfs with the files is mounted on the host's `/dev`, visible in this mount namespace
/// alone, and is detached with the host's root. (A separate umount2(2) would wait for RCU.)
pub fn mount(files: &[GeneratedFile], root: &OwnedFd, dev: Option<&OwnedFd>) -> StepResult {
    let attributes = Attributes::NO_SUID.with(Attributes::NO_DEV).with(Attributes::NO_EXEC);
    let options = [("mode".into(), Some("755".into())), ("size".into(), Some("1m".into()))];
    let memory = mount::make("tmpfs", "tmpfs", &options, attributes)?;
    let hosts = rustix::fs::open("/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    mount::attach(&memory, hosts.on(|| "/dev")?)?;
    let mut folder = None;
    for (number, file) in files.iter().enumerate() {
        let copy = in_memory(file, &memory, number).on(|| file.path)?;
        match place(file, root, dev, &mut folder) {
            Err(error) if file.need != Need::Required => {
                log::debug!("{} of the root stays: {}", file.path, Error::from(error));
            }
            target => mount::attach(&copy, target?).on(|| file.path)?,
        }
    }
    Ok(())
}

/// Writes a file into `memory`, and returns a detached mount of that file.
fn in_memory(file: &GeneratedFile, memory: &OwnedFd, number: usize) -> std::io::Result<OwnedFd> {
    let name = number.to_string();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::openat(memory, &name, flags, Mode::from_raw_mode(0o644))?;
    std::fs::File::from(made).write_all(file.content.as_bytes())?;
    mount::copy(memory, Path::new(&name), MountReach::Alone)
}

/// Opens the mount point of a file, and makes it where it is missing. `folder` caches the last file's folder: most
/// files are in `/etc`.
fn place<'a>(
    file: &'a GeneratedFile,
    root: &OwnedFd,
    dev: Option<&OwnedFd>,
    folder: &mut Option<MountFolder<'a>>,
) -> StepResult<OwnedFd> {
    let path = Path::new(file.path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::Error::from_raw_os_error(libc::EISDIR)).on(|| file.path);
    };
    let explain = |error: StepError| match error.what.is_empty() {
        true => StepError { what: file.path.to_owned(), ..error },
        false => StepError { what: format!("{}: {}", file.path, error.what), ..error },
    };
    let folder = match folder {
        Some(open) if open.path == parent => open,
        _ => folder.insert(MountFolder::open(parent, root, dev, file.need).map_err(explain)?),
    };
    match inroot::open(&folder.fd, Path::new(name), OFlags::PATH, Symlinks::Refuse) {
        Err(error)
            if error.raw_os_error() == Some(libc::ENOENT) && file.need != Need::Replacement =>
        {
            folder.changed = true;
            Ok(inroot::make_file(&folder.fd, name).on(|| file.path)?)
        }
        // A symbolic link may lead anywhere in the root.
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            let place = match file.need {
                Need::Replacement => inroot::open(root, path, OFlags::PATH, Symlinks::Follow),
                Need::Required | Need::Customary => {
                    inroot::mount_point(root.as_fd(), path, MountPointKind::File, Symlinks::Follow)
                }
            };
            let place = place.on(|| file.path)?;
            mount_target::check(&place, path, root, dev).map_err(explain)?;
            Ok(place)
        }
        opened => Ok(opened.on(|| file.path)?),
    }
}

/// Folder of the root in which mount points are made. Its timestamps are restored on drop, so that `diff` shows no
/// change of it.
struct MountFolder<'a> {
    path: &'a Path,
    fd: OwnedFd,
    before: Timestamps,
    changed: bool,
}

impl<'a> MountFolder<'a> {
    fn open(path: &'a Path, root: &OwnedFd, dev: Option<&OwnedFd>, need: Need) -> StepResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = match inroot::open(root, path, flags, Symlinks::Follow) {
            Err(error)
                if error.raw_os_error() == Some(libc::ENOENT) && need != Need::Replacement =>
            {
                inroot::mount_point(
                    root.as_fd(),
                    path,
                    MountPointKind::Directory,
                    Symlinks::Follow,
                )?;
                inroot::open(root, path, flags, Symlinks::Follow)?
            }
            opened => opened?,
        };
        let stat = mount_target::check_file_system(&fd, path, dev)?;
        let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec as _ };
        let before = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        Ok(Self { path, fd, before, changed: false })
    }
}

impl Drop for MountFolder<'_> {
    fn drop(&mut self) {
        if self.changed {
            // Fails for a folder of another owner, which keeps the new timestamps.
            let _ = rustix::fs::futimens(&self.fd, &self.before);
        }
    }
}
