//! Owners of files: the IDs on disk and the shown ones.

use rustix::io::Errno;

use super::layers::FsResult;
use crate::ids::{BaseIds, FileIds, Id, IdMaps, Map};

/// Maps of IDs on disk to the shown ones. Without maps they are the same.
#[derive(Clone, Debug, Default)]
pub struct ShownIds(pub Option<IdMaps<FileIds, BaseIds>>);

/// Shown ID for IDs without a counterpart (/proc/sys/kernel/overflowuid).
pub const NOBODY: u32 = 65534;

impl ShownIds {
    /// Returns the shown user and group for those on disk.
    pub fn shown(&self, uid: u32, gid: u32) -> (u32, u32) {
        let Some(maps) = &self.0 else { return (uid, gid) };
        let shown = |map: &Map<FileIds, BaseIds>, disk| {
            map.outside_of(Id::new(disk)).map_or(NOBODY, Id::number)
        };
        (shown(&maps.uids, uid), shown(&maps.gids, gid))
    }

    /// Returns the user on disk for a shown one. Errors: EOVERFLOW for a user without a counterpart.
    pub fn disk_user(&self, uid: u32) -> FsResult<u32> {
        self.0.as_ref().map_or(Ok(uid), |maps| disk_id(&maps.uids, Id::new(uid)))
    }

    /// Returns the group on disk for a shown one. Errors: EOVERFLOW for a group without a counterpart.
    pub fn disk_group(&self, gid: u32) -> FsResult<u32> {
        self.0.as_ref().map_or(Ok(gid), |maps| disk_id(&maps.gids, Id::new(gid)))
    }
}

fn disk_id(map: &Map<FileIds, BaseIds>, shown: Id<BaseIds>) -> FsResult<u32> {
    map.inside_of(shown).map(Id::number).ok_or(Errno::OVERFLOW)
}
