//! Steps of the root file system: the root, its mounts, and the devices.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use crate::engine::plan::LaunchOptions;
use crate::engine::plan::devices::{InnerOwner, device_steps};
use crate::engine::plan::mount::{self, CgroupView, Maker, MountOwners, MountSource, PlannedMount};
use crate::engine::plan::step::Step;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::sys::inroot::{MountPointKind, Symlinks};
use crate::sys::mount::{Attributes, MountReach, Propagation};

/// Device nodes that every container has (OCI runtime spec, "Default Devices"); /dev/ptmx is a link, /dev/console comes
/// with the terminal.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Links in /dev (OCI runtime spec, "Dev symbolic links").
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
];

/// Mount option of crun: a source that is a symbolic link is made again in the container, instead of a mount.
const COPY_SYMLINK: &str = "copy-symlink";

/// Adds the steps of the root, and of all mounts and files in it. `owner`: maps owners of host files to the container's
/// IDs.
pub fn root_steps(
    spec: &Spec,
    options: &LaunchOptions,
    owner: InnerOwner<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let bundle = options.container.bundle.as_path();
    let place = MountPlace::of(spec, bundle);
    let root = spec.root().as_ref().ok_or_else(|| Error::invalid("config.json: root: missing"))?;
    let mut mounts = spec.mounts().as_deref().unwrap_or_default().iter().enumerate().peekable();
    // A mount onto "/" is the writable layer over the root; without one the folder itself is the root.
    let layered = mounts.next_if(|(_, mount)| mount.destination() == Path::new("/"));
    steps.push(Step::Root(match layered {
        Some((index, mount)) => place.read(index, mount)?,
        None => PlannedMount {
            source: MountSource::Bind(root_folder(root.path(), bundle)?, MountReach::Recursive),
            target: "/".into(),
            kind: MountPointKind::Directory,
            symlinks: Symlinks::Refuse,
            attributes: Attributes::NONE,
            cleared: Attributes::NONE,
            propagation: None,
            copy_up: false,
            subpath: None,
            owners: MountOwners::AsTheyAre,
            maker: Maker::Container,
        },
    }));
    let propagation = propagation(spec)?;
    // pivot_root(2) refuses a shared mount: that propagation is set afterwards.
    steps.extend(propagation.filter(|step| !is_shared(step)));
    let mut given: Vec<&str> = Vec::new();
    for (index, mount) in mounts {
        if let Some(link) = copied_link(mount, bundle) {
            steps.push(link);
            continue;
        }
        let mount = place.read(index, mount)?;
        mount::check_idmap(&mount).context(|| format!("config.json: mounts[{index}]"))?;
        let is_dev =
            mount.target == Path::new("/dev") && matches!(mount.source, MountSource::New { .. });
        steps.push(Step::Mount(mount));
        if is_dev {
            given.extend(DEVICES);
            steps.extend(DEVICES.iter().map(|path| Step::Mount(PlannedMount::bind_file(path))));
            steps.extend(LINKS.iter().map(|(target, name)| Step::Link { target, name }));
        }
    }
    device_steps(spec, &given, owner, steps)
}

/// Returns the step that makes the root shared, after pivot_root(2).
pub fn shared_root(spec: &Spec) -> Result<Option<Step>> {
    Ok(propagation(spec)?.filter(is_shared))
}

fn is_shared(step: &Step) -> bool {
    matches!(step, Step::RootPropagation(Propagation::Shared, _))
}

fn propagation(spec: &Spec) -> Result<Option<Step>> {
    let word = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
    let (name, reach) = match word.strip_prefix('r') {
        Some(name) => (name, MountReach::Recursive),
        None => (word, MountReach::Alone),
    };
    let propagation = match name {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => {
            fail!(Invalid: "config.json: linux.rootfsPropagation: '{word}' is not shared, slave, private or unbindable")
        }
    };
    Ok(Some(Step::RootPropagation(propagation, reach)))
}

/// Returns the root's folder. Errors: the bundle has no such folder.
fn root_folder(path: &Path, bundle: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        fail!(Invalid: "config.json: root.path: missing");
    }
    // An absolute path, or a path without a bundle, stays unchanged.
    let path = bundle.join(path);
    if !bundle.as_os_str().is_empty() && !path.is_dir() {
        fail!(Invalid: "config.json: root.path: {} is no folder", path.display());
    }
    Ok(path)
}

/// Returns the step for a mount with `copy-symlink` whose source is a link.
fn copied_link(mount: &Mount, bundle: &Path) -> Option<Step> {
    let options = mount.options().as_ref()?;
    options.iter().find(|option| *option == COPY_SYMLINK)?;
    let target = std::fs::read_link(bundle.join(mount.source().as_ref()?)).ok()?;
    Some(Step::SymbolicLink { path: Path::new("/").join(mount.destination()), target })
}

/// Settings of a config that affect all of its mounts.
struct MountPlace<'a> {
    bundle: &'a Path,
    cgroups: CgroupView,
    label: Option<&'a str>,
}

impl<'a> MountPlace<'a> {
    fn of(spec: &'a Spec, bundle: &'a Path) -> Self {
        let linux = spec.linux().as_ref();
        let mut namespaces =
            linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
        let cgroups = match namespaces.any(|one| one.typ() == LinuxNamespaceType::Cgroup) {
            true => CgroupView::Own,
            false => CgroupView::Hosts,
        };
        let label = linux.and_then(|linux| linux.mount_label().as_deref());
        Self { bundle, cgroups, label: label.filter(|label| !label.is_empty()) }
    }

    fn read(&self, index: usize, mount: &Mount) -> Result<PlannedMount> {
        let place = || format!("config.json: mounts[{index}]");
        let mut mount = mount.clone();
        if let Some(options) = mount.options_mut() {
            options.retain(|option| option != COPY_SYMLINK);
        }
        let planned = PlannedMount::from_oci(&mount).context(place)?;
        let planned = planned.in_bundle(self.bundle, self.cgroups);
        if let MountSource::Bind(path, _) = &planned.source
            && !self.bundle.as_os_str().is_empty()
            && let Err(error) = path.metadata()
            && error.kind() == std::io::ErrorKind::NotFound
        {
            fail!(Invalid: "config.json: mounts[{index}].source: {} does not exist", path.display());
        }
        Ok(match self.label {
            Some(label) => planned.labelled(label),
            None => planned,
        })
    }
}
