//! Mounts the root, volumes and bind mounts of a stopped container, as a start would. Used to read or change its files
//! without running a process in it.
//!
//! Runs in a short-lived process in base, which has a mount namespace for these mounts.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::engine::plan::Plan;
use crate::engine::plan::mount::{MountSource, PlannedMount};
use crate::engine::plan::step::Step;
use crate::engine::root::idmapped::Idmapped;
use crate::engine::root::image_mount::LaunchServers;
use crate::engine::root::{bind_source, copyup, image_mount, layers};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::error::{Context, Error, Result};
use crate::ids::{BaseIds, ContainerIds, IdMaps};
use crate::layer::LowerLayer;
use crate::layer::whiteout::Whiteouts;
use crate::net::{GeneratedFile, Need};
use crate::spec::StorageDriver;
use crate::sys::mount::{self, Attributes, MountReach};
use crate::sys::{inroot, namespace};

/// Mount point of the root, in this process's mount namespace. No other code in this process uses the path. Not "/":
/// the process would then count as one in a chroot, which may not make user namespaces (user_namespaces(7)).
const PLACE: &str = "/sys";

/// Access to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesAccess {
    /// Reading: makes and changes no files; other processes may read at the same time.
    Reading,
    /// Writing: no other process may use the container's layers at the same time.
    Writing,
}

/// Mounted files of a container, until [`MountedRoot::end`].
pub struct MountedRoot {
    /// The container's root.
    pub root: OwnedFd,
    /// The container's maps to base, for a process that sees the files with the container's IDs. `None`: those of base.
    pub ids: Option<IdMaps<ContainerIds, BaseIds>>,
    servers: LaunchServers,
}

impl MountedRoot {
    /// Unmounts the files, and waits until all writes have reached the layers.
    pub fn end(self) -> Result<()> {
        let place = format!("/proc/self/fd/{}", self.root.as_raw_fd());
        rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH)
            .context(|| "cannot unmount the root")?;
        drop(self.root);
        for server in &self.servers.own {
            server.wait().context(|| "cannot wait for a server of files")?;
        }
        Ok(())
    }
}

/// True if the layers can be read without changes on disk; false where the driver would copy them.
pub fn can_be_read_alone(plan: &Plan) -> bool {
    let root = plan.steps.iter().find_map(|step| match step {
        Step::Root(mount) => Some(mount),
        _ => None,
    });
    let Some(MountSource::Overlay { stacking, upper, .. }) = root.map(|mount| &mount.source) else {
        return true;
    };
    let is_copied = upper.as_ref().is_some_and(|(_, work)| layers::is_copied(work));
    stacking.driver != StorageDriver::Copy && !is_copied
}

/// Mounts the files in a new mount namespace. `idmapped`: mounts that were made before this process entered base.
pub fn mount_files(plan: &Plan, how: FilesAccess, mut idmapped: Idmapped) -> Result<MountedRoot> {
    namespace::unshare_mounts().context(|| "cannot make a mount namespace")?;
    let mut servers = LaunchServers::default();
    let mut root = None;
    for (index, step) in plan.steps.iter().enumerate() {
        let done = match (step, &root) {
            (Step::Root(mount), _) => idmapped.cover_layers().and_then(|()| {
                root = Some(root_of(plan, mount, how, &mut servers)?);
                Ok(())
            }),
            (Step::Mount(mount), Some(root)) if is_of_user(mount) => {
                let tree = match &mount.source {
                    MountSource::Image(image) => {
                        image_mount::mounted(image, &mut servers).map(Some)
                    }
                    _ => Ok(idmapped.take_volume(index)),
                };
                tree.and_then(|tree| below(plan, root, mount, tree, how))
            }
            // Changes to these files would be lost at the next start.
            (Step::Files(files), Some(root)) if how == FilesAccess::Reading => {
                show_generated(files, root)
            }
            _ => Ok(()),
        };
        done.map_err(Error::from).context(|| format!("cannot {}", step.doing()))?;
    }
    let root = root.ok_or_else(|| Error::new("config.json: no root"))?;
    Ok(MountedRoot { root, ids: plan.levels.container.clone(), servers })
}

/// True for a bind mount of files and for an image, but not for mounts at or below /proc, /sys and /dev.
fn is_of_user(mount: &PlannedMount) -> bool {
    let is_systems = ["/proc", "/sys", "/dev"].iter().any(|path| mount.target.starts_with(path));
    matches!(mount.source, MountSource::Bind(..) | MountSource::Image(_)) && !is_systems
}

fn root_of(
    plan: &Plan,
    mount: &PlannedMount,
    how: FilesAccess,
    servers: &mut LaunchServers,
) -> StepResult<OwnedFd> {
    let mount = match how {
        FilesAccess::Reading => &read_only(mount),
        FilesAccess::Writing => mount,
    };
    let tree = layers::make_root(mount, |mount| match &mount.source {
        MountSource::Bind(path, reach) => {
            mount::copy(rustix::fs::CWD, path, *reach).on(|| path.to_string_lossy())
        }
        MountSource::Overlay { .. } => layers::stacked(plan, mount, servers),
        MountSource::New { .. } | MountSource::Image(_) | MountSource::SharedMemory(_) => {
            Err(std::io::Error::from_raw_os_error(libc::EINVAL).into())
        }
    })?;
    let here =
        rustix::fs::open(PLACE, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on(|| PLACE)?;
    mount::attach(&tree, &here)?;
    Ok(tree)
}

/// Returns the mount with the writable layer as the topmost read-only one.
fn read_only(mount: &PlannedMount) -> PlannedMount {
    let MountSource::Overlay { stacking, lowers, upper: Some((upper, work)), flags } =
        &mount.source
    else {
        return mount.clone();
    };
    let mut stacking = *stacking;
    let upper = LowerLayer::Folder(upper.clone());
    let lowers: Vec<LowerLayer> = [upper].into_iter().chain(lowers.iter().cloned()).collect();
    let flags: Vec<_> = flags.iter().filter(|flag| *flag != "volatile").cloned().collect();
    if stacking.driver == StorageDriver::Fuse {
        stacking.real_lowers += 1;
        if layers::has_whiteout_names(work) {
            stacking.whiteouts = Whiteouts::Names;
        }
    }
    let source = MountSource::Overlay { stacking, lowers, upper: None, flags };
    PlannedMount { source, attributes: Attributes::READ_ONLY, ..mount.clone() }
}

fn below(
    plan: &Plan,
    root: &OwnedFd,
    mount: &PlannedMount,
    tree: Option<OwnedFd>,
    how: FilesAccess,
) -> StepResult {
    let (path, reach) = match &mount.source {
        MountSource::Bind(path, reach) => (path, *reach),
        MountSource::Image(image) => (&image.path, MountReach::Alone),
        _ => return Ok(()),
    };
    match how {
        FilesAccess::Writing => copyup::fill(root, mount, tree.as_ref(), plan.root_in_base())?,
        // A copy-up would only copy files that the root shows at that path already.
        FilesAccess::Reading if mount.copy_up && copyup::is_empty(path) => return Ok(()),
        FilesAccess::Reading => {}
    }
    let target = match how {
        FilesAccess::Writing => {
            inroot::mount_point(root.as_fd(), &mount.target, mount.kind, mount.symlinks)
        }
        FilesAccess::Reading => inroot::open(root, &mount.target, OFlags::PATH, mount.symlinks),
    };
    let target = match target {
        // The mount point does not exist yet: the container was never started.
        Err(error) if how == FilesAccess::Reading && error.raw_os_error() == Some(libc::ENOENT) => {
            log::debug!("{} does not exist yet", mount.target.display());
            return Ok(());
        }
        answer => answer?,
    };
    let tree = match tree {
        Some(tree) => tree,
        None => bind_source::tree(mount, path, reach)?,
    };
    mount::attach(&tree, &target)?;
    if mount.attributes != Attributes::NONE {
        mount::set_attributes(&tree, mount.attributes, reach)?;
    }
    Ok(())
}

/// Mounts the generated files, such as /etc/hosts, over their mount points, which the last start has made.
fn show_generated(files: &[GeneratedFile], root: &OwnedFd) -> StepResult {
    let shown = |file: &GeneratedFile| GeneratedFile { need: Need::Replacement, ..file.clone() };
    super::files::mount(&files.iter().map(shown).collect::<Vec<_>>(), root, None)
}

impl From<StepError> for Error {
    fn from(error: StepError) -> Self {
        match (error.what.as_str(), error.errno) {
            (what, 0) => Self::new(what),
            ("", errno) => std::io::Error::from_raw_os_error(errno).into(),
            (what, errno) => {
                let cause: Self = std::io::Error::from_raw_os_error(errno).into();
                Self::new(format!("{what}: {cause}"))
            }
        }
    }
}
