//! Secrets of a container: files in a tmpfs, which the kernel removes with the container's mount namespace.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};

use crate::engine::plan::secrets::SecretFile;
use crate::engine::root::mount_target;
use crate::engine::step_error::{OnObject, StepResult};
use crate::spec::SECRETS;
use crate::sys::inroot::{self, MountPointKind, Symlinks};
use crate::sys::mount::{self, Attributes, MountReach};

/// Folder in the tmpfs that becomes [`SECRETS`].
const FOLDER: &str = "secrets";
/// Room in the tmpfs for folders, and for files that the container adds, in bytes.
const ROOM: usize = 1 << 20;
/// Bytes of a page: a file takes whole ones.
const PAGE: usize = 1 << 16;

/// Mounts the secrets in `root`, before the host's root is detached. As for other files in memory ([`super::files`]),
/// the tmpfs is mounted on the host's `/dev` until then: a kernel before 6.15 cannot copy a detached mount.
pub fn mount(files: &[SecretFile], root: &OwnedFd, dev: Option<&OwnedFd>) -> StepResult {
    let attributes = Attributes::NO_SUID.with(Attributes::NO_DEV).with(Attributes::NO_EXEC);
    let size = files.iter().map(|file| file.content.0.len() + PAGE).sum::<usize>() + ROOM;
    let options = [("mode", "700".to_owned()), ("size", size.to_string())];
    let options = options.map(|(name, value)| (name.to_owned(), Some(value)));
    let memory = mount::make("tmpfs", "tmpfs", &options, attributes)?;
    let hosts = rustix::fs::open("/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    mount::attach(&memory, hosts.on(|| "/dev")?)?;
    let folder = inroot::make_directory(&memory, FOLDER.as_ref())?;
    for (number, file) in files.iter().enumerate() {
        let shown = || file.target.display().to_string();
        match file.inside() {
            Some(path) => write(file, &folder, path).on(shown)?,
            None => {
                let name = number.to_string();
                write(file, &memory, name.as_ref()).on(shown)?;
                let copy = mount::copy(&memory, name.as_ref(), MountReach::Alone).on(shown)?;
                put(&copy, &file.target, MountPointKind::File, root, dev)?;
            }
        }
    }
    if files.iter().all(|file| file.inside().is_none()) {
        return Ok(());
    }
    let copy = mount::copy(&memory, FOLDER.as_ref(), MountReach::Alone)?;
    put(&copy, SECRETS.as_ref(), MountPointKind::Directory, root, dev)
}

/// Writes a file below `folder`, and the folders on the way to it.
fn write(file: &SecretFile, folder: &OwnedFd, path: &Path) -> std::io::Result<()> {
    let mut folder = folder.try_clone()?;
    for name in path.parent().into_iter().flat_map(Path::components) {
        let name = name.as_os_str();
        folder = match inroot::make_directory(&folder, name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                inroot::open(&folder, name.as_ref(), flags, Symlinks::Refuse)?
            }
            made => made?,
        };
    }
    let name = path.file_name().ok_or(std::io::ErrorKind::IsADirectory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?;
    let (uid, gid) = (Uid::from_raw(file.uid), Gid::from_raw(file.gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode))?;
    std::fs::File::from(made).write_all(&file.content.0)
}

/// Attaches a mount at `path` in the root, and makes the mount point where it is missing.
fn put(
    copy: &OwnedFd,
    path: &Path,
    kind: MountPointKind,
    root: &OwnedFd,
    dev: Option<&OwnedFd>,
) -> StepResult {
    let shown = || path.display().to_string();
    let place = inroot::mount_point(root.as_fd(), path, kind, Symlinks::Follow).on(shown)?;
    mount_target::check(&place, path, root, dev)?;
    mount::attach(copy, place).on(shown)
}
