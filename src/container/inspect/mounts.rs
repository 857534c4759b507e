//! Mounts of a container, for its inspect document.

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use crate::container::Container;
use crate::container::volumes::{self, MountedVolume};
use crate::documents::container::MountDocument;
use crate::error::Result;
use crate::monitor::Status;
use crate::spec::SQUASHFS;

/// Returns the mounts that the user requested. usnea itself mounts `/`, /proc, /dev, /sys, and paths below /dev and
/// /sys.
pub(super) fn of_user(mounts: Option<&Vec<Mount>>) -> impl Iterator<Item = &Mount> {
    let is_own = |mount: &&Mount| {
        let own = ["/", "/proc", "/sys", "/dev"]
            .iter()
            .any(|path| mount.destination() == Path::new(path));
        !own && !mount.destination().starts_with("/dev") && !mount.destination().starts_with("/sys")
    };
    mounts.into_iter().flatten().filter(is_own)
}

/// Mount that a user requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMount {
    /// Name of a volume, else the path of the bind mount's source; the file system of a mount without a source.
    pub name: String,
    /// True if the mount is a volume.
    pub is_volume: bool,
}

/// Returns the mounts that the user requested, in the order of the spec. Errors: a damaged spec.
pub fn mounted(container: &Container) -> Result<Vec<UserMount>> {
    let spec = container.spec_if_any()?.unwrap_or_default();
    let volumes = volumes::used_by(container)?;
    let mounted = |mount: &Mount| {
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        let source = || mount.source().as_ref().map(|source| source.display().to_string());
        UserMount {
            name: volume.map(|used| used.name.to_string()).or_else(source).unwrap_or_default(),
            is_volume: volume.is_some(),
        }
    };
    Ok(of_user(spec.mounts().as_ref()).map(mounted).collect())
}

pub(super) fn mounts(spec: &Spec, volumes: &[MountedVolume]) -> Vec<MountDocument> {
    let mount = |mount: &Mount| {
        let options = mount.options().clone().unwrap_or_default();
        let kind = match mount.typ().as_deref() {
            Some("tmpfs") => "tmpfs",
            Some("overlay") => "overlay",
            Some(SQUASHFS) => SQUASHFS,
            _ => "bind",
        };
        let propagation = ["rprivate", "private", "rslave", "slave", "rshared", "shared"]
            .into_iter()
            .find(|word| options.iter().any(|option| option == word));
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        // A tmpfs has no source: mount(2) ignores the one in the spec.
        let source = mount.source().as_ref().filter(|_| kind != "tmpfs");
        MountDocument {
            r#type: if volume.is_some() { "volume" } else { kind },
            name: volume.map(|used| used.name.to_string()).unwrap_or_default(),
            source: source.map(|source| source.display().to_string()).unwrap_or_default(),
            destination: mount.destination().clone(),
            driver: if volume.is_some() { "local" } else { "" },
            mode: String::new(),
            rw: !options.iter().any(|option| option == "ro" || option == "rro"),
            propagation: propagation.unwrap_or_default(),
            options,
        }
    };
    of_user(spec.mounts().as_ref()).map(mount).collect()
}

/// Returns the host's file that is mounted at `path`. Without one, returns the host's path of the container's own file,
/// if the container runs.
pub(super) fn file_at(spec: &Spec, status: &Status, path: &str) -> String {
    let mut mounts = spec.mounts().iter().flatten();
    let mount = mounts.find(|mount| mount.destination() == Path::new(path));
    let source = mount.and_then(|mount| mount.source().as_ref());
    match (source, seen_root(status)) {
        (Some(source), _) => source.display().to_string(),
        (None, Some(root)) => root + path,
        (None, None) => String::new(),
    }
}

/// Returns the host's path of a running container's root.
fn seen_root(status: &Status) -> Option<String> {
    let state = status.state().filter(|_| status.is_running() && status.elsewhere().is_none());
    state.map(|state| format!("/proc/{}/root", state.process.pid))
}

/// Returns the layers of a root and, for a running container, the path of the merged root, by docker's names.
pub(super) fn layers(root: &Mount, status: &Status) -> BTreeMap<&'static str, String> {
    let mut layers = BTreeMap::new();
    for option in root.options().iter().flatten() {
        for (key, name) in
            [("lowerdir=", "LowerDir"), ("upperdir=", "UpperDir"), ("workdir=", "WorkDir")]
        {
            layers.extend(option.strip_prefix(key).map(|value| (name, value.to_owned())));
        }
    }
    layers.insert("MergedDir", seen_root(status).unwrap_or_default());
    layers
}
