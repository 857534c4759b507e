//! `--root-emulation`.

use crate::ids::{HostIds, IdLevel, IdMap, IdMaps};

/// Emulation of IDs that the container does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RootEmulation {
    /// seccomp if the container has a single ID, root's; else off.
    #[default]
    Auto,
    /// Emulate IDs of processes; record owners of files for commit, but do not show them: stat(2) still returns root.
    Seccomp,
    /// As seccomp, and show the recorded owners of files; each stat(2) takes some microseconds more.
    Owners,
    /// No emulation.
    Off,
}

impl RootEmulation {
    /// True if `auto` enables the emulation for a container, or for one that is in base, with these IDs.
    pub fn is_needed<Inner: IdLevel>(maps: &IdMaps<Inner, HostIds>) -> bool {
        let is_root_alone =
            |map: &[IdMap]| matches!(map, [one] if one.count == 1 && one.inside == 0);
        is_root_alone(&maps.uids) && is_root_alone(&maps.gids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ContainerIds;

    #[test]
    fn only_a_root_without_others_needs_it() {
        let maps = |line: IdMap| IdMaps::<ContainerIds, _>::new(vec![line], vec![line]);
        assert!(RootEmulation::is_needed(&maps(IdMap::new(0, 1000, 1))));
        assert!(!RootEmulation::is_needed(&maps(IdMap::new(1000, 1000, 1))));
        assert!(!RootEmulation::is_needed(&maps(IdMap::new(0, 1000, 2))));
        let two = IdMaps::<ContainerIds, _>::new(
            vec![IdMap::new(0, 1000, 1)],
            vec![IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, 65536)],
        );
        assert!(!RootEmulation::is_needed(&two));
    }
}
