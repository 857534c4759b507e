//! Whose files are: the IDs on disk and those that are shown.

use rustix::io::Errno;

use super::Answer;
use crate::ids::{self, IdMaps};

/// What IDs on disk are shown as: `inside` is on disk, `outside` shown. Without maps they are the same.
#[derive(Clone, Debug, Default)]
pub struct Ids(pub Option<IdMaps>);

/// What IDs without a name are shown as (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

impl Ids {
    /// The user and group shown for those on disk.
    pub fn shown(&self, uid: u32, gid: u32) -> (u32, u32) {
        let Some(maps) = &self.0 else { return (uid, gid) };
        let shown = |map, id| ids::outside_of(map, id).unwrap_or(NOBODY);
        (shown(&maps.uids, uid), shown(&maps.gids, gid))
    }

    /// The user on disk for one that is shown. Errors: EOVERFLOW when there is none.
    pub fn disk_user(&self, uid: u32) -> Answer<u32> {
        self.0
            .as_ref()
            .map_or(Ok(uid), |maps| ids::inside_of(&maps.uids, uid).ok_or(Errno::OVERFLOW))
    }

    /// The group on disk for one that is shown. Errors: EOVERFLOW when there is none.
    pub fn disk_group(&self, gid: u32) -> Answer<u32> {
        self.0
            .as_ref()
            .map_or(Ok(gid), |maps| ids::inside_of(&maps.gids, gid).ok_or(Errno::OVERFLOW))
    }
}
