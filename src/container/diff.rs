//! `usnea diff` and `usnea export` of a container: its changes, and its whole file system.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::Container;
use super::layers::ContainerLayers;
use super::secrets;
use super::start::config;
use super::stores;
use crate::container::Usnea;
use crate::error::{Context, Result};
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::{self, Change, ChangeKind, merged_tar};
use crate::userns::{self, Base};

/// Returns the container's changes relative to its image: folders before their content, each sorted. Leaves out added
/// mount points.
pub fn diff(usnea: &Usnea, container: &Container) -> Result<Vec<Change>> {
    let (spec, _image) = config(container)?;
    let layers = ContainerLayers::of(usnea, container, &spec)?;
    let (upper, form) = layers.written()?;
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let changes = in_base(base, || {
        layers.in_folders(|shown| diff::changes(upper, *form, &shown.lowers, &owners))
    })?;
    let mounts = spec.mounts().iter().flatten().map(|mount| mount.destination().as_path());
    let places: HashSet<&Path> = mounts.chain(secrets::mount_points(container)).collect();
    let is_place = |change: &Change| {
        change.kind == ChangeKind::Added && places.contains(change.path.as_path())
    };
    Ok(changes.into_iter().filter(|change| !is_place(change)).collect())
}

/// Runs `find` in the base user namespace.
pub fn in_base(base: &Base, find: impl FnOnce() -> Result<Vec<Change>>) -> Result<Vec<Change>> {
    let changes = userns::in_base(base, || {
        // As bytes: a path need not be UTF-8.
        let plain =
            |change: Change| (change.kind.to_string(), change.path.into_os_string().into_vec());
        Ok(find()?.into_iter().map(plain).collect::<Vec<_>>())
    })?;
    let change = |(kind, path): (String, Vec<u8>)| Change {
        kind: match kind.as_str() {
            "A" => ChangeKind::Added,
            "D" => ChangeKind::Deleted,
            _ => ChangeKind::Changed,
        },
        path: OsString::from_vec(path).into(),
    };
    Ok(changes.into_iter().map(change).collect())
}

/// Writes a container's root, without its mounts, to `output` as a tar archive.
pub fn export(usnea: &Usnea, container: &Container, output: &ArchiveSink) -> Result<()> {
    let (spec, _image) = config(container)?;
    let layers = ContainerLayers::of(usnea, container, &spec)?;
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let write = || {
        // In the mount namespace of the folders: no file gets its name across two of them.
        layers.in_folders(|shown| {
            merged_tar(&shown.stack(), &owners, ArchiveOutput::create(output)?)?.put()
        })
    };
    userns::in_base(base, write).context(|| format!("cannot export {}", container.record.name))
}
