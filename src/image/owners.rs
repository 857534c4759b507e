//! Owners of a layer's files, and their form on disk. Either real owners in the range of the base user namespace. Or,
//! where the user has a single ID, owners recorded in an extended attribute of files that all belong to the user
//! ([`crate::layer::override_stat`]).

use crate::digest::Digest;
use crate::ids::{BaseIds, HostIds, IdMaps, IdPair};
pub use crate::layer::override_stat::{FileType, OVERRIDE_STAT, OverrideStat};

/// Form in which the owners of a layer's files are stored on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Real owners, through the maps of the base user namespace: a layer's uid is the uid inside base.
    Mapped(IdMaps<BaseIds, HostIds>),
    /// All files belong to the user; real owner and mode are in [`OVERRIDE_STAT`].
    Recorded,
    /// Recorded, in a store that other users may read: those users can read every file, and write to none.
    Shared,
}

impl Owners {
    /// Suffix that distinguishes the folders of one layer unpacked for several users or maps: `recorded`, `shared`, or
    /// eight hexadecimal digits of the maps' digest.
    pub fn suffix(&self) -> String {
        match self {
            Self::Recorded => "recorded".into(),
            Self::Shared => "shared".into(),
            Self::Mapped(maps) => {
                let lines = format!("{}\n{}", maps.uids.kernel_lines(), maps.gids.kernel_lines());
                Digest::of(lines.as_bytes()).hex().chars().take(8).collect()
            }
        }
    }

    /// True if real owners are in [`OVERRIDE_STAT`].
    pub fn are_recorded(&self) -> bool {
        matches!(self, Self::Recorded | Self::Shared)
    }

    /// True if a file on disk can really belong to this user and group of the layer.
    pub fn has(&self, uid: u32, gid: u32) -> bool {
        match self {
            Self::Recorded | Self::Shared => (uid, gid) == (0, 0),
            Self::Mapped(maps) => maps.outside_of(IdPair::new(uid, gid)).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdMap;

    #[test]
    fn other_maps_are_other_folders() {
        let maps = |count| {
            let line = vec![IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, count)];
            Owners::Mapped(IdMaps::new(line.clone(), line))
        };
        let (one, two) = (maps(65536).suffix(), maps(65535).suffix());
        assert_eq!(one.len(), 8);
        assert_ne!(one, two);
        assert_eq!(Owners::Recorded.suffix(), "recorded");
        assert_eq!(Owners::Shared.suffix(), "shared");
        // The maps of users and groups are not one list.
        let line = vec![IdMap::new(0, 1000, 1)];
        let users = Owners::Mapped(IdMaps::new(line.clone(), vec![]));
        let groups = Owners::Mapped(IdMaps::new(vec![], line));
        assert_ne!(users.suffix(), groups.suffix());
    }

    #[test]
    fn an_owner_is_had_when_both_ids_are() {
        let maps = IdMaps::new(vec![IdMap::new(0, 5, 10)], vec![IdMap::new(0, 5, 3)]);
        let owners = Owners::Mapped(maps);
        assert!(owners.has(9, 2) && !owners.has(10, 0) && !owners.has(0, 3));
        assert!(Owners::Recorded.has(0, 0) && !Owners::Recorded.has(0, 1));
    }
}
