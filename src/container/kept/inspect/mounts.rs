//! What is mounted in a container, as its document has it.

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use super::super::super::volumes::{self, Used};
use super::super::Kept;
use super::document;
use crate::error::Result;
use crate::monitor::Status;

/// The mounts that were asked for: the system's own are `/` and those below /dev and /sys, which nobody asks for.
pub(super) fn of_user(mounts: Option<&Vec<Mount>>) -> impl Iterator<Item = &Mount> {
    let is_own = |mount: &&Mount| {
        let own = ["/", "/proc", "/sys", "/dev"]
            .iter()
            .any(|path| mount.destination() == Path::new(path));
        !own && !mount.destination().starts_with("/dev") && !mount.destination().starts_with("/sys")
    };
    mounts.into_iter().flatten().filter(is_own)
}

/// Mount that a user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedHere {
    /// The name of a volume, the path of what else was bound; the file system of what has no source.
    pub name: String,
    /// Whether it is a volume.
    pub is_volume: bool,
}

/// Mounts that a user asked for, in the order of its configuration. Errors: its configuration is damaged.
pub fn mounted(kept: &Kept) -> Result<Vec<MountedHere>> {
    let spec = kept.spec_if_any()?.unwrap_or_default();
    let volumes = volumes::used_by(kept)?;
    let mounted = |mount: &Mount| {
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        let source = || mount.source().as_ref().map(|source| source.display().to_string());
        MountedHere {
            name: volume.map(|used| used.name.to_string()).or_else(source).unwrap_or_default(),
            is_volume: volume.is_some(),
        }
    };
    Ok(of_user(spec.mounts().as_ref()).map(mounted).collect())
}

pub(super) fn mounts(spec: &Spec, volumes: &[Used]) -> Vec<document::Mount> {
    let mount = |mount: &Mount| {
        let options = mount.options().clone().unwrap_or_default();
        let kind = match mount.typ().as_deref() {
            Some("tmpfs") => "tmpfs",
            Some("overlay") => "overlay",
            _ => "bind",
        };
        let propagation = ["rprivate", "private", "rslave", "slave", "rshared", "shared"]
            .into_iter()
            .find(|word| options.iter().any(|option| option == word));
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        // A tmpfs has none: the word that mount(2) takes for it says nothing.
        let source = mount.source().as_ref().filter(|_| kind != "tmpfs");
        document::Mount {
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

/// The file of the host that is mounted at `path`, else what a container that runs has there, seen from the host.
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

/// Where the host sees the root of a container that runs.
fn seen_root(status: &Status) -> Option<String> {
    let state = status.state().filter(|_| status.is_running() && status.elsewhere().is_none());
    state.map(|state| format!("/proc/{}/root", state.process.pid))
}

/// The layers of a root, in docker's names, and where they are seen merged: below the first process, where it runs.
pub(super) fn layers(root: &Mount, status: &Status) -> BTreeMap<String, String> {
    let mut layers = BTreeMap::new();
    for option in root.options().iter().flatten() {
        for (key, name) in
            [("lowerdir=", "LowerDir"), ("upperdir=", "UpperDir"), ("workdir=", "WorkDir")]
        {
            layers
                .extend(option.strip_prefix(key).map(|value| (name.to_owned(), value.to_owned())));
        }
    }
    layers.insert("MergedDir".to_owned(), seen_root(status).unwrap_or_default());
    layers
}
