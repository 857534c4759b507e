//! Shown owners of an image's files.

use crate::rootfs::fuse::tree::ShownIds;
use crate::sys::namespace;

/// Rules that make shown owners of stored ones.
#[derive(Debug, Default)]
pub struct ImageOwners {
    /// Map of stored IDs to the shown ones.
    pub ids: ShownIds,
    /// Owner of all files, in a namespace of one user and one group: no other ID exists there.
    sole: Option<(u32, u32)>,
}

impl ImageOwners {
    /// Makes the rules for a map of IDs.
    pub fn new(ids: ShownIds) -> Self {
        Self { ids, sole: None }
    }

    /// Reads from /proc whether this user namespace has one user and one group alone.
    pub fn look_at_namespace(&mut self) {
        let own = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.sole = namespace::has_one_id().then(own);
    }

    /// Returns the shown user and group for the stored ones.
    pub fn shown(&self, uid: u32, gid: u32) -> (u32, u32) {
        self.sole.unwrap_or_else(|| self.ids.shown(uid, gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdMap, IdMaps, Map};

    #[test]
    fn owners_are_the_stored_ones_unless_there_is_a_map_or_one_id_alone() {
        assert_eq!(ImageOwners::default().shown(5, 6), (5, 6));
        let maps = IdMaps {
            uids: Map::new(vec![IdMap::new(5, 105, 1)]),
            gids: Map::new(vec![IdMap::new(0, 200, 10)]),
        };
        let mapped = ImageOwners::new(ShownIds(Some(maps)));
        assert_eq!(mapped.shown(5, 6), (105, 206));
        assert_eq!(mapped.shown(4, 6), (65534, 206));
        let alone = ImageOwners { sole: Some((0, 0)), ..mapped };
        assert_eq!(alone.shown(5, 6), (0, 0));
    }
}
