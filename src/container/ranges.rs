//! ID ranges of containers with `--userns auto`: a file `ranges/ID` in the store has the container's maps to the host.
//! The claim is valid as long as the container's folder exists. For a container without a folder, or without one yet,
//! it is valid while the file is locked. The processes of usnea that run the container hold that lock.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::image_root::ImageRoot;
use super::request::ContainerRequest;
use super::usnea::Usnea;
use crate::config;
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock, LockAttempt};
use crate::ids::{
    AskedMap, BaseIds, ContainerIds, HostIds, Id, IdMap, IdMaps, Map, Outside, OwnRange, UsernsMode,
};
use crate::object_id::ContainerId;
use crate::spec::{self, RootEmulation};
use crate::userns::{Base, Room};

const FOLDER: &str = "ranges";

/// Claim on an ID range, valid until dropped, and as long as a container with that ID exists.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Returns the maps of a container, and the claim on its ID range, if it has one of its own.
pub fn claimed(
    usnea: &Usnea,
    request: &ContainerRequest,
    root: &ImageRoot,
    id: &ContainerId,
) -> Result<(IdMaps<ContainerIds, HostIds>, Option<Claim>)> {
    let (base, store) = (usnea.base()?, usnea.store()?);
    if !matches!(request.options.userns(), UsernsMode::Auto(_)) {
        return Ok((maps(request, base, root, store)?, None));
    }
    let folder = config::open_private(&store.join(FOLDER))?;
    // Creation holds a lock: the second of two simultaneous containers must see the range of the first.
    let _turn = files::lock_file(&store.join("ranges.lock"), Lock::Exclusive)?;
    sweep(store, &folder);
    let maps = maps(request, base, root, store)?;
    let claim = write(&folder.join(id), &maps).context(|| "cannot record the range of IDs")?;
    Ok((maps, Some(claim)))
}

/// Claims a range for the clone `id` of the container `original`, of the same size. `None`: the original has no range
/// of its own.
pub fn claimed_for_clone(
    usnea: &Usnea,
    original: &ContainerId,
    id: &ContainerId,
) -> Result<Option<(IdMaps<ContainerIds, HostIds>, Claim)>> {
    let (base, store) = (usnea.base()?, usnea.store()?);
    let folder = store.join(FOLDER);
    let bytes = match std::fs::read(folder.join(original)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.context(|| "cannot read the range of IDs")?,
    };
    let maps: IdMaps<ContainerIds, HostIds> = serde_json::from_slice(&bytes).map_err(Error::new)?;
    let _turn = files::lock_file(&store.join("ranges.lock"), Lock::Exclusive)?;
    sweep(store, &folder);
    let end = |map: &[IdMap]| map.iter().map(|line| line.inside + line.count).max();
    let wanted = OwnRange {
        size: end(&maps.uids).max(end(&maps.gids)),
        uids: users_own(&maps.uids, &base.maps.uids),
        gids: users_own(&maps.gids, &base.maps.gids),
    };
    let room = || Ok(Room { others: others(store), needs: 0 });
    let maps = base.container_maps(&UsernsMode::Auto(wanted), &[], &[], room)?;
    let claim = write(&folder.join(id), &maps).context(|| "cannot record the range of IDs")?;
    Ok(Some((maps, claim)))
}

/// Returns the requested map lines for the user's own ID. Without such a request, no range contains it.
fn users_own(map: &Map<ContainerIds, HostIds>, base: &Map<BaseIds, HostIds>) -> Vec<AskedMap> {
    let user = base.outside_of(Id::ROOT).and_then(|user| map.inside_of(user));
    let line = |inside: Id<ContainerIds>| IdMap::new(inside.number(), 0, 1);
    user.map(|inside| AskedMap { line: line(inside), outside: Outside::Base }).into_iter().collect()
}

/// Returns the user namespace mode for an image with USER, if the calling user has a single ID and no flag sets a mode.
/// That ID is then the image's user instead of root, and owns all files. `None`: the flags decide.
pub fn of_image_user(
    request: &ContainerRequest,
    base: &Base,
    root: &ImageRoot,
) -> Option<UsernsMode> {
    let options = &request.options;
    let is_free = options.userns.is_none()
        && options.userns() == UsernsMode::Host
        && options.uidmap.is_empty()
        && options.gidmap.is_empty()
        && options.user.is_none()
        && options.root_emulation == RootEmulation::Auto
        && RootEmulation::is_needed(&base.maps);
    let user = is_free
        .then(|| spec::image_user(&root.searched(), root.whiteouts, &root.defaults))
        .flatten();
    let (uid, gid) = user.filter(|ids| *ids != (0, 0))?;
    Some(UsernsMode::KeepId { uid: Some(uid), gid: Some(gid), size: None })
}

/// Returns the maps that the container gets; claims no range.
pub fn maps(
    request: &ContainerRequest,
    base: &Base,
    root: &ImageRoot,
    store: &Path,
) -> Result<IdMaps<ContainerIds, HostIds>> {
    let options = &request.options;
    let userns = of_image_user(request, base, root).unwrap_or_else(|| options.userns());
    let room = || {
        let user = options.user.as_ref();
        let needs = spec::ids_needed(&root.searched(), root.whiteouts, user, &root.defaults)?;
        Ok(Room { others: others(store), needs })
    };
    base.container_maps(&userns, &options.uidmap, &options.gidmap, room)
}

fn write(path: &Path, maps: &IdMaps<ContainerIds, HostIds>) -> Result<Claim> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    // On a file system without locks the next claim removes the file, unless a container with that ID exists.
    if let Err(error) = file.lock() {
        log::debug!("{}: {error}", path.display());
    }
    file.write_all(&serde_json::to_vec(maps).map_err(Error::new)?)?;
    Ok(Claim { _lock: file })
}

/// Returns the maps of all valid claims. An unreadable file is ignored, with a warning.
fn others(store: &Path) -> Vec<IdMaps<ContainerIds, HostIds>> {
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .inspect_err(|error| log::warn!("{}: {error}", path.display()))
            .ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            None
        }
    };
    let folder = store.join(FOLDER);
    entries(&folder).filter(|path| is_alive(store, path)).filter_map(read).collect()
}

/// Removes the files of invalid claims.
fn sweep(store: &Path, folder: &Path) {
    for path in entries(folder).filter(|path| !is_alive(store, path)) {
        let _ = std::fs::remove_file(path);
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn is_alive(store: &Path, path: &Path) -> bool {
    let there =
        |name| store.join("containers").join(name).symlink_metadata().is_ok_and(|at| at.is_dir());
    if path.file_name().is_some_and(there) {
        return true;
    }
    !matches!(files::grip(path), Ok(LockAttempt::Ours(_) | LockAttempt::Gone))
}
