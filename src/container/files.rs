//! Access to the files of a container, in a process of usnea with the container's own IDs. For a running container,
//! that process enters its namespaces. The files of a stopped container are mounted in that process alone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use serde::{Serialize, de::DeserializeOwned};

use super::overlays;
use super::start::{config, locked, next_network, renew_layers};
use super::{Container, processes};
use crate::container::Usnea;
use crate::engine::{self, FilesAccess, LaunchOptions};
use crate::error::{Context, Error, Result};
use crate::monitor::record::State;
use crate::monitor::status::Status;
use crate::net::{self, Network};
use crate::sys::{inroot, namespace, process};
use crate::userns::{self};

/// Runs `work` in a process that has the container's root open, and `here` in this process at the same time. Each
/// process drops the values that the other's closure owns. Returns both results.
pub(super) fn with_root<T: Serialize + DeserializeOwned, R>(
    usnea: &Usnea,
    container: &Container,
    how: FilesAccess,
    work: impl FnOnce(&OwnedFd) -> Result<T>,
    here: impl FnOnce() -> R,
) -> Result<(Result<T>, R)> {
    if let Some(state) = running(container)? {
        return in_running(&state, work, here);
    }
    let base = usnea.base()?;
    let (spec, _image) = config(container)?;
    let options = LaunchOptions { network: network(container, &spec), ..Default::default() };
    let plan = engine::plan(&spec, base.clone(), options)?;
    // A container that never ran has no mount points for its volumes yet: writing access makes them, as a start does.
    let is_ready = container.status_here()? != Status::Created;
    let how = if is_ready && engine::can_be_read_alone(&plan) { how } else { FilesAccess::Writing };
    let lock = match how {
        FilesAccess::Reading => None,
        FilesAccess::Writing => match locked(container)? {
            Some(lock) => Some(lock),
            // Another command has started the container meanwhile.
            None => match running(container)? {
                Some(state) => return in_running(&state, work, here),
                None => {
                    return Err(
                        Error::conflict("another command starts the container").hint("try again")
                    );
                }
            },
        },
    };
    let _overlays = match how {
        FilesAccess::Reading => Vec::new(),
        FilesAccess::Writing => overlays::hold(&container.record.overlays)?,
    };
    if lock.is_some() {
        renew_layers(container, base, &spec)?;
    }
    let idmapped = engine::Idmapped::make(&plan).context(|| "cannot map the IDs of files")?;
    let work = || {
        let mounted = engine::mount_files(&plan, how, idmapped)?;
        let answer = match &mounted.ids {
            Some(maps) => userns::in_container(maps, || work(&mounted.root))?,
            None => work(&mounted.root)?,
        };
        mounted.end()?;
        Ok(answer)
    };
    userns::in_base_and_here(base, work, here)
}

/// Returns the network whose generated files (/etc/hosts and the like) a reader of a stopped container sees: that of its
/// next start. None for a container that joins the network of another one, whose files it shares.
fn network(container: &Container, spec: &Spec) -> Network {
    let record = &container.record;
    if record.network.mode == net::Mode::Joined || record.pod.is_some() {
        return Network::default();
    }
    next_network(container, spec).unwrap_or_else(|error| {
        log::debug!("the files of the network are left out: {error}");
        Network::default()
    })
}

/// Returns the state of a running container; `None`: the container does not run.
pub(super) fn running(container: &Container) -> Result<Option<State>> {
    let status = container.status_here()?;
    Ok(status.state().filter(|_| status.is_running()).cloned())
}

fn in_running<T: Serialize + DeserializeOwned, R>(
    state: &State,
    work: impl FnOnce(&OwnedFd) -> Result<T>,
    here: impl FnOnce() -> R,
) -> Result<(Result<T>, R)> {
    let (user, mounts) = namespaces(state).context(|| "cannot enter the container")?;
    let enter = || {
        // No process of the container may inspect this one.
        process::set_undumpable()?;
        namespace::enter(user.as_fd())?;
        namespace::enter(mounts.as_fd())?;
        // Fails in a container without a root user: this process then keeps its user.
        let _ = process::become_user(0, 0);
        process::set_undumpable()?;
        rustix::process::umask(Mode::empty());
        Ok(())
    };
    let enter =
        || enter().map_err(|error: std::io::Error| error).context(|| "cannot enter the container");
    let work = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open("/", flags, Mode::empty()).context(|| "cannot open its root")?;
        work(&root)
    };
    userns::in_process_and_here(enter, work, here)
}

/// Returns the user and mount namespace of a container. With `--init`, process 1 is usnea's, which is hidden: then
/// opens those of another process.
pub(super) fn namespaces(state: &State) -> Result<(OwnedFd, OwnedFd)> {
    let gone = || Error::not_running("it has just ended");
    let first = state.process.open().ok_or_else(gone)?;
    let own = std::fs::read_link("/proc/self/ns/mnt")?;
    let mut failure = gone();
    for pid in processes(state) {
        let open = |name: &str| {
            let path = format!("/proc/{pid}/ns/{name}");
            let is_own = std::fs::read_link(&path)? == own;
            let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok::<_, std::io::Error>((file, is_own))
        };
        match (open("user"), open("mnt")) {
            (Ok((user, _)), Ok((mounts, false))) => {
                // While its first process lives, the PIDs belong to the container's processes.
                process::pidfd_signal(first.as_fd(), 0).map_err(|_| gone())?;
                return Ok((user, mounts));
            }
            // An ending process has no namespaces any more.
            (Err(error), _) | (_, Err(error)) if is_of_ended(&error) => {}
            (Err(error), _) | (_, Err(error)) => failure = error.into(),
            _ => {}
        }
    }
    Err(failure)
}

fn is_of_ended(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// File to which a path in a container leads.
pub(super) enum PathTarget {
    /// Folder, opened.
    Folder(OwnedFd),
    /// File of another kind.
    Other,
    /// Missing file, with its parent folder, opened.
    Nothing(OwnedFd),
}

/// Opens `path` below `root`; resolves symbolic links inside the root. Errors: the parent folder is missing too.
pub(super) fn look(root: &OwnedFd, path: &Path) -> Result<PathTarget> {
    let folder = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        inroot::open(root, path, flags, inroot::Symlinks::Follow)
    };
    match folder(path) {
        Ok(open) => Ok(PathTarget::Folder(open)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOTDIR) => Ok(PathTarget::Other),
            Some(libc::ENOENT) => {
                let above = path.parent().unwrap_or(path);
                Ok(PathTarget::Nothing(folder(above).context(|| above.display().to_string())?))
            }
            _ => Err(error).context(|| path.display().to_string()),
        },
    }
}
