//! Whose the files of a folder are seen to be: as an image has them.

use crate::ids::{IdMap, IdMaps, inside_of, outside_of};
use crate::image::owners::Owners;

/// How owners on disk are read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How they are kept.
    pub(super) owners: Owners,
    /// The maps of the container that owns the files, where their IDs are its own: both maps are to the host.
    pub(super) through: Option<IdMaps>,
}

impl Seen {
    /// Through a container's maps.
    pub fn through(owners: &Owners, maps: Option<IdMaps>) -> Self {
        Self { owners: owners.clone(), through: maps }
    }

    /// The IDs inside for those that base has. What the container has none for is not its own: it stays.
    pub(super) fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let (Some(container), Owners::Mapped(base)) = (&self.through, &self.owners) else {
            return (uid, gid);
        };
        let inside = |base: &[IdMap], container: &[IdMap], id: u32| {
            outside_of(base, id).and_then(|id| inside_of(container, id)).unwrap_or(id)
        };
        (inside(&base.uids, &container.uids, uid), inside(&base.gids, &container.gids, gid))
    }
}

impl From<&Owners> for Seen {
    fn from(owners: &Owners) -> Self {
        Self::through(owners, None)
    }
}

impl From<&Seen> for Seen {
    fn from(seen: &Seen) -> Self {
        seen.clone()
    }
}
