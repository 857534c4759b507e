//! Merges layers into one tree: by the kernel's overlayfs, by usnea's FUSE overlay, or by copying. Runs in base.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Stat, Uid};

use crate::engine::plan::Plan;
use crate::engine::plan::mount::{MountSource, PlannedMount};
use crate::engine::plan::step::MemoryLayers;
use crate::engine::root::image_mount::LaunchServers;
use crate::engine::root::lowers::{self, Lowers};
use crate::engine::root::mount_points;
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::error::{Context, Error, Result};
use crate::ids::{BaseIds, FileIds, IdMaps, IdPair};
use crate::layer::override_stat::{OVERRIDE_STAT, Records};
use crate::layer::{LayerFolder, LowerLayer};
use crate::rootfs::copy::CopyRules;
use crate::rootfs::fuse::mount::{self as fuse, Served};
use crate::rootfs::fuse::overlay_content::OverlayContent;
use crate::rootfs::fuse::tree::{LowerSource, NAMES, OverlayLayers, OverlayRules, ShownIds};
use crate::spec::{Stacking, StorageDriver, UpperOwner, VOLATILE};
use crate::sys::mount::{self, Attributes, MountReach};
use crate::sys::process;

/// Folders of layers: the read-only ones, the topmost first, and the writable one with its work folder.
#[derive(Clone, Copy)]
pub struct LayerStack<'a> {
    pub lowers: &'a [PathBuf],
    /// Number of layers of the user among `lowers`: the topmost ones, above those of the image.
    pub overlays: usize,
    pub upper: Option<&'a (PathBuf, PathBuf)>,
}

/// Marker file in the work folder of a root that is a copy: the next start uses the copy again.
const COPIED: &str = "copied";

/// Makes a root, detached. Copies the layers where the kernel's overlayfs fails: too many layers, or a layer on an
/// unsupported file system.
pub fn make_root(
    mount: &PlannedMount,
    make: impl FnOnce(&PlannedMount) -> StepResult<OwnedFd>,
) -> StepResult<OwnedFd> {
    let MountSource::Overlay { stacking, lowers, upper: Some(upper), .. } = &mount.source else {
        return make(mount);
    };
    if stacking.driver != StorageDriver::Overlay {
        return make(mount);
    }
    let Stacking { records, whiteouts, .. } = *stacking;
    let meaning = CopyRules { records, whiteouts, shown: None };
    if is_copied(&upper.1) {
        return shown_copy(&upper.0);
    }
    if stacking.upper == UpperOwner::User {
        // A copy of the root would hide the images that the user later puts below.
        return make(mount);
    }
    let made = make(mount);
    let Err(error) = made else { return made };
    if ![libc::EINVAL, libc::ENODEV, libc::EPERM, libc::EOPNOTSUPP].contains(&error.errno) {
        return Err(error);
    }
    log::info!(
        "the kernel's overlay cannot be used here ({}): copying the root instead",
        Error::from(io::Error::from_raw_os_error(error.errno))
    );
    copied_from(lowers, *stacking, Some(upper), meaning)
}

/// Stacks layers with the driver that `mount` names. Adds the server of a FUSE overlay to `servers`.
pub fn stacked(
    plan: &Plan,
    mount: &PlannedMount,
    servers: &mut LaunchServers,
) -> StepResult<OwnedFd> {
    let MountSource::Overlay { stacking, lowers, upper, flags } = &mount.source else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL).into());
    };
    let Stacking { driver, idmapped, records, whiteouts, .. } = *stacking;
    let shown = idmapped.then(|| plan.levels.shown()).flatten();
    if driver == StorageDriver::Copy {
        let meaning = CopyRules { records, whiteouts, shown: shown.as_ref() };
        return copied_from(lowers, *stacking, upper.as_ref(), meaning);
    }
    if driver == StorageDriver::Fuse {
        if let [LowerLayer::Folder(lower)] = lowers.as_slice() {
            make_mount_points(plan, mount, lower);
        }
        let served = served(lowers::sources(lowers, *stacking)?, mount, shown)?;
        servers.own.push(served.server);
        return Ok(served.mount);
    }
    let lowers = Lowers::hold(lowers, *stacking, servers)?;
    let stack = LayerStack {
        lowers: lowers.paths(),
        overlays: stacking.real_lowers,
        upper: upper.as_ref(),
    };
    if let [lower] = stack.lowers {
        make_mount_points(plan, mount, lower);
    }
    overlaid(stack, plan.owner_of_layers(*stacking), flags, mount.attributes)
}

/// Makes mount points for a root whose only read-only layer is a folder of another user.
fn make_mount_points(plan: &Plan, mount: &PlannedMount, lower: &Path) {
    if let MountSource::Overlay { upper: Some((upper, _)), .. } = &mount.source
        && mount.target == Path::new("/")
        && belongs_to_stranger(lower)
    {
        mount_points::make(plan, lower, upper);
    }
}

/// True if files `.wh.NAME` in the upper folder beside `work` are whiteouts.
pub fn has_whiteout_names(work: &Path) -> bool {
    work.join(NAMES).exists()
}

/// True if the upper folder beside `work` is a copy of all layers.
pub fn is_copied(work: &Path) -> bool {
    work.join(COPIED).exists()
}

/// Copies all layers into the writable one, unless an earlier start has done so. `meaning`: format of owners and
/// whiteouts on disk.
fn copied_from(
    lowers: &[LowerLayer],
    stacking: Stacking,
    upper: Option<&(PathBuf, PathBuf)>,
    meaning: CopyRules<'_>,
) -> StepResult<OwnedFd> {
    let Some((upper, work)) = upper else {
        return Err(StepError::of(&Error::new(
            "layers are copied into a writable one, and there is none",
        )));
    };
    if !is_copied(work) {
        let mut servers = LaunchServers::default();
        let lowers = Lowers::hold(lowers, stacking, &mut servers)?;
        copy_all(lowers.paths(), stacking.real_lowers, upper, meaning)?;
        let done = work.join(COPIED);
        std::fs::write(&done, "").on(|| done.to_string_lossy())?;
        // The servers of images end with their mounts.
        drop(lowers);
        for server in servers.own {
            server.wait().on(|| "a server of files")?;
        }
    }
    shown_copy(upper)
}

/// Copies all layers. `real`: number of layers, from the topmost on, whose owners are not in records.
fn copy_all(lowers: &[PathBuf], real: usize, upper: &Path, meaning: CopyRules<'_>) -> StepResult {
    let of = |index: usize| match index < real {
        true => CopyRules { records: Records::Nowhere, ..meaning },
        false => meaning,
    };
    if let Some(top) = lowers.get(real) {
        copy_root_attributes(top, upper, meaning)?;
    }
    for (index, lower) in lowers.iter().enumerate().rev() {
        crate::rootfs::copy::tree(lower, upper, of(index))
            .map_err(|error| StepError::of(&error))?;
    }
    Ok(())
}

fn shown_copy(upper: &Path) -> StepResult<OwnedFd> {
    mount::copy(rustix::fs::CWD, upper, MountReach::Alone).on(|| upper.to_string_lossy())
}

/// Stacks layers by the kernel's overlayfs. `owner`: IDs that can make files in the layers, if this process cannot.
fn overlaid(
    stack: LayerStack<'_>,
    owner: Option<IdPair<BaseIds>>,
    flags: &[String],
    attributes: Attributes,
) -> StepResult<OwnedFd> {
    stack.copy_root_attributes(CopyRules::default())?;
    let overlay = mount::Overlay {
        lowers: stack.lowers.iter().map(PathBuf::as_path).collect(),
        upper: stack.upper.map(|(upper, work)| (upper.as_path(), work.as_path())),
        flags: flags.iter().map(String::as_str).collect(),
    };
    // The overlay makes its own files, such as whiteouts, with the credentials of the process that mounted it.
    let mount = || mount::overlay(&overlay, attributes);
    owner
        .map_or_else(mount, |IdPair { uid, gid }| {
            process::as_owner(uid.number(), gid.number(), mount)?
        })
        .on(|| "overlay")
}

/// Stacks layers by a FUSE server of usnea, which exits when no process uses the mount any more. `shown`: map of IDs on
/// disk to the shown ones.
fn served(
    lowers: Vec<LowerSource>,
    mount: &PlannedMount,
    shown: Option<IdMaps<FileIds, BaseIds>>,
) -> StepResult<Served> {
    let MountSource::Overlay { stacking, upper, flags, .. } = &mount.source else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL).into());
    };
    let Stacking { records, whiteouts, real_lowers, .. } = *stacking;
    if let (Some((upper, _)), Some(lower)) = (upper, lowers.get(real_lowers)) {
        let stat = root_attributes(lower, records).map_err(|error| StepError::of(&error))?;
        set_root_attributes(&stat, upper)?;
    }
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).on(|| path.to_string_lossy())
    };
    let upper = upper.as_ref();
    let upper = upper.map(|(upper, work)| Ok::<_, StepError>((open(upper)?, open(work)?)));
    let layers = OverlayLayers { lowers, upper: upper.transpose()? };
    let is_disposable = flags.iter().any(|flag| flag == VOLATILE);
    let rules = OverlayRules {
        ids: ShownIds(shown),
        records,
        real_lowers,
        is_disposable,
        whiteouts,
        ..OverlayRules::default()
    };
    let options = fuse::ServerOptions {
        attributes: mount.attributes,
        source: "overlay".into(),
        ..fuse::ServerOptions::default()
    };
    fuse::start(OverlayContent { layers, rules }, options).map_err(|error| StepError::of(&error))
}

/// Returns the attributes of a layer's root folder, with the recorded owner where `records` has it. Errors: a damaged
/// image.
fn root_attributes(lower: &LowerSource, records: Records) -> Result<Stat> {
    match lower {
        LowerSource::Folder(folder) => {
            let path = format!("/proc/self/fd/{}/.", folder.as_raw_fd());
            CopyRules { records, ..CopyRules::default() }.of(Path::new(&path))
        }
        LowerSource::Image(image) => {
            let root = image.root()?;
            let (stat, record) = (root.own_stat()?, root.own_xattr(OVERRIDE_STAT.as_bytes()).ok());
            // As for a folder, a malformed value is no record.
            let recorded = records.recorded_stat(stat, record.as_deref());
            Ok(recorded.or_else(|_| records.recorded_stat(stat, None))?)
        }
    }
}

/// True if the owner of the folder has no ID in this user namespace.
fn belongs_to_stranger(folder: &Path) -> bool {
    const OVERFLOW: u32 = 65534; // overflow ID, shown for unmapped IDs (user_namespaces(7))
    rustix::fs::stat(folder).is_ok_and(|stat| stat.st_uid == OVERFLOW)
}

impl LayerStack<'_> {
    /// Copies mode and owner of the image's topmost folder to the upper one: the merged root shows those of the upper
    /// folder.
    fn copy_root_attributes(self, meaning: CopyRules<'_>) -> StepResult {
        match (self.upper, self.lowers.get(self.overlays)) {
            (Some((upper, _)), Some(lower)) => copy_root_attributes(lower, upper, meaning),
            _ => Ok(()),
        }
    }
}

fn copy_root_attributes(lower: &Path, upper: &Path, meaning: CopyRules<'_>) -> StepResult {
    let stat = meaning
        .of(lower)
        .context(|| lower.display().to_string())
        .map_err(|error| StepError::of(&error))?;
    set_root_attributes(&stat, upper)
}

fn set_root_attributes(stat: &Stat, upper: &Path) -> StepResult {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    // chown(2) fails for an owner without an ID here: the folder then keeps its owner.
    let _ = rustix::fs::chown(upper, Some(uid), Some(gid));
    rustix::fs::chmod(upper, Mode::from_raw_mode(stat.st_mode & 0o7777))
        .on(|| upper.to_string_lossy())
}

/// Makes writable layers in a tmpfs, which covers the folders on disk in this mount namespace alone. pivot_root(2)
/// detaches the tmpfs with the old root; the overlays keep their own references to the layers.
pub fn in_memory(layers: &MemoryLayers) -> StepResult {
    let on = rustix::fs::open(&layers.on, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .on(|| layers.on.to_string_lossy())?;
    let attributes = Attributes::NO_SUID.with(Attributes::NO_DEV);
    let memory =
        mount::make("tmpfs", "layers", &[("mode".into(), Some("700".into()))], attributes)?;
    mount::attach(memory, on)?;
    for folder in &layers.folders {
        std::fs::create_dir_all(folder).on(|| folder.to_string_lossy())?;
    }
    Ok(())
}
