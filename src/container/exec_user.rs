//! User of a command of `usnea exec`: that of `-u`, else that of the container's own command.

use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Container;
use crate::engine::{MountSource, PlannedMount, RunningContainer};
use crate::error::{Context, Error, Result};
use crate::layer::LowerLayer;
use crate::spec::{self, ContainerUser, EntryOptions, GroupAdd, UserFlag};
use crate::sys::inroot::{self, Symlinks};

/// Returns the user of the container's own command: a command of `exec` gets the groups that the container's account
/// files have now, as in docker. `None`: the account files are those of the start, and so is the user of config.json.
pub(super) fn recorded_user(container: &Container, spec: &Spec) -> Option<UserFlag> {
    if has_accounts_of_start(spec) {
        return None;
    }
    let record = &container.record;
    record.own_user.as_ref().or(record.user.as_ref())?.parse().ok()
}

/// Looks up the user of `-u` in the current account files of the container, with the groups of `--group-add`.
pub(super) fn who(
    running: &RunningContainer,
    spec: &Spec,
    container: &Container,
    options: &EntryOptions,
) -> Result<Option<ContainerUser>> {
    let Some(flag) = &options.user else { return Ok(None) };
    let own = spec.process().as_ref().map_or(0, |process| process.user().uid());
    let added = container.record.group_add.iter().map(|group| group.parse());
    let added: Vec<GroupAdd> = added.collect::<Result<_, String>>().map_err(Error::new)?;
    let look_up = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).context(|| "/")?;
        spec::look_up(root, flag, &added, own)
    };
    running.inside(look_up).context(|| format!("-u {flag}")).map(Some)
}

/// Account files of a root, as paths in a layer.
const ACCOUNTS: [&str; 2] = ["etc/passwd", "etc/group"];

/// True if no process can have changed the account files since the start: they are regular files of the image, and the
/// container's own layer has none. A look-up of theirs needs a process in the container, which takes a tenth of an
/// `exec`.
fn has_accounts_of_start(spec: &Spec) -> bool {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let is_root = |target: &Path| target == Path::new("/");
    let is_mounted = mounts.iter().map(oci_spec::runtime::Mount::destination).any(|target| {
        !is_root(target)
            && ACCOUNTS.iter().any(|account| Path::new("/").join(account).starts_with(target))
    });
    let root = mounts.iter().find(|mount| is_root(mount.destination()));
    let source = root.and_then(|root| PlannedMount::from_oci(root).ok()).map(|root| root.source);
    let Some(MountSource::Overlay { lowers, upper: Some((upper, _)), .. }) = source else {
        return false;
    };
    let is_of_image = |account: &str| {
        let mut kinds = lowers.iter().map(|lower| match lower {
            LowerLayer::Folder(folder) => kind_in_layer(folder, account),
            LowerLayer::Image(_) => Err(Errno::NOTSUP), // opening the image takes as long
        });
        let found = kinds.find(|kind| !matches!(kind, Ok(None)));
        matches!(found, None | Some(Ok(Some(FileType::RegularFile))))
    };
    !is_mounted
        && ACCOUNTS.iter().all(|account| {
            matches!(kind_in_layer(&upper, account), Ok(None)) && is_of_image(account)
        })
}

/// Returns the type of the file `path` in a layer; `None`: the layer has no such file. Errors: a link on the way, a
/// layer that cannot be read from outside the container.
fn kind_in_layer(layer: &Path, path: &str) -> Result<Option<FileType>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let layer = rustix::fs::open(layer, flags, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    match inroot::open(&layer, Path::new(path), flags, Symlinks::Refuse) {
        Ok(file) => Ok(Some(FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}
