//! Arithmetic of map lines: sequences, inverses and overlaps. No policy.

use crate::error::{Context, Result};
use crate::fail;
use crate::ids::{BaseIds, ContainerIds, HostIds, IdLevel, IdMap, IdMaps, Map};

/// Maps every ID of this process's own namespace to itself.
pub fn identity() -> Result<IdMaps<BaseIds, HostIds>> {
    // Line by line: a line across two of the kernel's is EPERM.
    let same = |map: Vec<IdMap>| {
        map.iter().map(|line| IdMap::new(line.inside, line.inside, line.count)).collect()
    };
    Ok(IdMaps::new(same(read(USERS)?), same(read(GROUPS)?)))
}

/// Returns the maps of this process's own namespace, which is a base.
pub fn of_base() -> Result<IdMaps<BaseIds, HostIds>> {
    Ok(IdMaps::new(read(USERS)?, read(GROUPS)?))
}

const USERS: &str = "/proc/self/uid_map";
const GROUPS: &str = "/proc/self/gid_map";

fn read(path: &str) -> Result<Vec<IdMap>> {
    let text = std::fs::read_to_string(path).context(|| format!("cannot read {path}"))?;
    let mut map = Vec::new();
    for line in text.lines() {
        let numbers: Vec<u32> =
            line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [inside, outside, count] => map.push(IdMap::new(inside, outside, count)),
            _ => fail!("{path}: cannot understand '{line}'"),
        }
    }
    Ok(map)
}

/// Appends `ranges` of outer IDs to `map`, each following the last inner ID.
pub fn append(mut map: Vec<IdMap>, ranges: impl Iterator<Item = (u32, u32)>) -> Vec<IdMap> {
    for (first, count) in ranges {
        let inside = map.last().map_or(0, |line| line.inside + line.count);
        map.push(IdMap::new(inside, first, count.min(u32::MAX - inside)));
    }
    map
}

/// Number of IDs in a map.
pub fn count(map: &[IdMap]) -> u32 {
    map.iter().fold(0, |sum: u32, line| sum.saturating_add(line.count))
}

/// Returns the map to base in which base's first ID (the user) is `own`. The others follow from 0, skipping `own`; at
/// most `size` IDs in total.
pub fn keep(
    base: &Map<BaseIds, HostIds>,
    own: u32,
    size: Option<u32>,
) -> Map<ContainerIds, BaseIds> {
    let others = size.map_or(u32::MAX, |size| size.max(1)).min(count(base)) - 1;
    let below = others.min(own);
    let lines = [
        IdMap::new(0, 1, below),
        IdMap::new(own, 0, 1),
        IdMap::new(own.saturating_add(1), own.saturating_add(1), others - below),
    ];
    Map::new(lines.into_iter().filter(|line| line.count > 0).collect())
}

/// Returns the map to base without the user: base's second ID is 0.
pub fn without_first(base: &Map<BaseIds, HostIds>) -> Map<ContainerIds, BaseIds> {
    let others = count(base) - 1;
    Map::new(if others == 0 { Vec::new() } else { vec![IdMap::new(0, 1, others)] })
}

/// Formats the lines as typed.
pub fn shown(map: &[IdMap]) -> String {
    let line = |line: &IdMap| format!("{}:{}:{}", line.inside, line.outside, line.count);
    map.iter().map(line).collect::<Vec<_>>().join(" ")
}

/// Fails if an ID is mapped twice: the kernel would refuse with a bare EINVAL.
pub fn check_disjoint(map: &[IdMap]) -> Result<()> {
    let overlap = |a: (u32, u32), b: (u32, u32)| a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
    for (index, a) in map.iter().enumerate() {
        for b in &map[..index] {
            if overlap((a.inside, a.count), (b.inside, b.count))
                || overlap((a.outside, a.count), (b.outside, b.count))
            {
                fail!(Invalid: "{}:{}:{} and {}:{}:{} overlap",
                    b.inside,
                    b.outside,
                    b.count,
                    a.inside,
                    a.outside,
                    a.count
                );
            }
        }
    }
    Ok(())
}

/// Normalises maps, so that equal maps compare equal: sorted, with adjacent lines merged.
pub fn normalise<Inner: IdLevel, Outer: IdLevel>(
    maps: &IdMaps<Inner, Outer>,
) -> IdMaps<Inner, Outer> {
    IdMaps::new(merged(maps.uids.to_vec()), merged(maps.gids.to_vec()))
}

fn merged(mut map: Vec<IdMap>) -> Vec<IdMap> {
    map.sort();
    let mut result: Vec<IdMap> = Vec::new();
    for line in map {
        match result.last_mut() {
            Some(last)
                if last.inside + last.count == line.inside
                    && last.outside + last.count == line.outside =>
            {
                last.count += line.count;
            }
            _ => result.push(line),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;
    use proptest::prelude::*;

    const LINES: [IdMap; 3] =
        [IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, 10), IdMap::new(11, 200_000, 10)];

    fn base() -> Map<BaseIds, HostIds> {
        Map::new(LINES.to_vec())
    }

    #[test]
    fn keep_id_gives_the_user_their_own_number_and_fills_the_rest() {
        let keep = |own, size| keep(&base(), own, size).to_vec();
        assert_eq!(keep(5, None), [IdMap::new(0, 1, 5), IdMap::new(5, 0, 1), IdMap::new(6, 6, 15)]);
        assert_eq!(keep(1000, None), [IdMap::new(0, 1, 20), IdMap::new(1000, 0, 1)]);
        let one = Map::new(LINES[..1].to_vec());
        assert_eq!(super::keep(&one, 1000, None).to_vec(), [IdMap::new(1000, 0, 1)]);
        assert_eq!(keep(1000, Some(3)), [IdMap::new(0, 1, 2), IdMap::new(1000, 0, 1)]);
        assert_eq!(keep(0, None), [IdMap::new(0, 0, 1), IdMap::new(1, 1, 20)]);
    }

    #[test]
    fn overlaps_are_found_on_both_sides() {
        assert!(check_disjoint(&[IdMap::new(0, 0, 2), IdMap::new(1, 5, 1)]).is_err());
        assert!(check_disjoint(&[IdMap::new(0, 0, 2), IdMap::new(5, 1, 1)]).is_err());
        assert!(check_disjoint(&[IdMap::new(0, 0, 2), IdMap::new(2, 2, 1)]).is_ok());
    }

    proptest! {
        #[test]
        fn through_and_back_changes_nothing(inside in 0u32..100_000, first in 0u32..15, size in 1u32..6, own in 0u32..30) {
            for map in [Map::new(vec![IdMap::new(inside, first, size)]), keep(&base(), own, None)] {
                let host = map.through(&base()).unwrap();
                prop_assert_eq!(count(&host), count(&map));
                let back = host.through(&base().inverse()).unwrap();
                prop_assert_eq!(merged(back.to_vec()), merged(map.to_vec()));
                for id in (0..50).map(Id::new) {
                    let two_steps = map.outside_of(id).and_then(|id| base().outside_of(id));
                    prop_assert_eq!(host.outside_of(id), two_steps);
                }
                prop_assert_eq!(host.inside_of(Id::new(999)), None);
            }
        }
    }
}
