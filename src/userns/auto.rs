//! `--userns auto`: a range of IDs for a container alone, out of all available ones.

use super::lines;
use crate::host::subid::{SubidRange, total};
use crate::ids::{BaseIds, ContainerIds, HostIds, IdMap, IdMaps, Map};

/// Smallest number of IDs of a container (podman's).
pub const LEAST: u32 = 1024;

/// Requirements for a container's own range.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Maps of the other containers with ranges of their own, to the host.
    pub others: Vec<IdMaps<ContainerIds, HostIds>>,
    /// Number of IDs that the container needs if no size is requested.
    pub needs: u32,
}

/// Shortage of IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    /// Number of IDs needed.
    pub needed: u64,
    /// Number of free IDs.
    pub free: u64,
    /// Number of all IDs, taken ones included.
    pub all: u64,
}

/// Maps the IDs `0..size` to base: `fixed` lines unchanged, the others to IDs of `granted` (in base's numbers). IDs of
/// the `taken` maps are avoided.
pub(super) fn map<'a>(
    granted: &[SubidRange],
    base: &Map<BaseIds, HostIds>,
    taken: impl Iterator<Item = &'a Map<ContainerIds, HostIds>>,
    fixed: &Map<ContainerIds, BaseIds>,
    size: u32,
) -> Result<Map<ContainerIds, BaseIds>, Shortage> {
    let outer = |line: &IdMap| SubidRange::new(line.outside, line.count);
    let inner = |line: &IdMap| SubidRange::new(line.inside, line.count);
    let taken =
        taken.flat_map(|map| map.iter()).filter_map(outer).flat_map(|range| in_base(range, base));
    let free = without(granted.to_vec(), taken.chain(fixed.iter().filter_map(outer)));
    let inside =
        without(SubidRange::new(0, size).into_iter().collect(), fixed.iter().filter_map(inner));
    let needed = total(&inside);
    if total(&free) < needed {
        return Err(Shortage { needed, free: total(&free), all: total(granted) });
    }
    // In a single piece if possible: a map of few lines.
    let whole = free.iter().find(|range| u64::from(range.count) >= needed);
    let pieces = whole.map_or(free.as_slice(), std::slice::from_ref);
    Ok(Map::new([zipped(&inside, pieces), fixed.to_vec()].concat()))
}

/// Returns the part of a host range that is in base, in base's numbers.
fn in_base(range: SubidRange, base: &Map<BaseIds, HostIds>) -> Vec<SubidRange> {
    let part = |line: &IdMap| {
        let common = SubidRange::new(line.outside, line.count)?.common(range)?;
        SubidRange::new(common.first - line.outside + line.inside, common.count)
    };
    base.iter().filter_map(part).collect()
}

fn without(ranges: Vec<SubidRange>, taken: impl Iterator<Item = SubidRange>) -> Vec<SubidRange> {
    taken.fold(ranges, |ranges, taken| {
        ranges.into_iter().flat_map(|range| range.without(taken)).collect()
    })
}

/// Maps the IDs of `inside`, in order, to those of `outside`.
fn zipped(inside: &[SubidRange], outside: &[SubidRange]) -> Vec<IdMap> {
    let mut map = Vec::new();
    let mut left = outside.iter().copied();
    let mut piece = left.next();
    for range in inside {
        let mut done = 0;
        while let Some(at) = piece.filter(|_| done < range.count) {
            let count = at.count.min(range.count - done);
            map.push(IdMap::new(range.first + done, at.first, count));
            done += count;
            piece = SubidRange::new(at.first + count, at.count - count).or_else(|| left.next());
        }
    }
    map
}

/// All IDs of base but the user's.
pub(super) fn all_but_first(base: &Map<BaseIds, HostIds>) -> Vec<SubidRange> {
    SubidRange::new(1, lines::count(base).saturating_sub(1)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::ids::Id;

    fn base() -> Map<BaseIds, HostIds> {
        Map::new(vec![IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, 100)])
    }

    fn chosen(taken: &[IdMap], fixed: &[IdMap], size: u32) -> Result<Vec<IdMap>, Shortage> {
        let taken = Map::new(taken.to_vec());
        let fixed = Map::new(fixed.to_vec());
        map(&all_but_first(&base()), &base(), [&taken].into_iter(), &fixed, size)
            .map(|map| map.to_vec())
    }

    #[test]
    fn the_first_free_range_is_taken() {
        assert_eq!(chosen(&[], &[], 10), Ok(vec![IdMap::new(0, 1, 10)]));
        let taken = [IdMap::new(0, 100_000, 10), IdMap::new(0, 100_015, 10)];
        assert_eq!(chosen(&taken, &[], 5), Ok(vec![IdMap::new(0, 11, 5)]));
        assert_eq!(chosen(&taken, &[], 6), Ok(vec![IdMap::new(0, 26, 6)]));
        // A range outside base takes no ID from it.
        assert_eq!(chosen(&[IdMap::new(0, 5, 1000)], &[], 5), Ok(vec![IdMap::new(0, 1, 5)]));
    }

    #[test]
    fn a_range_is_in_pieces_where_there_is_no_whole_one() {
        let taken = [IdMap::new(0, 100_010, 80)];
        assert_eq!(chosen(&taken, &[], 15), Ok(vec![IdMap::new(0, 1, 10), IdMap::new(10, 91, 5)]));
        let short = Shortage { needed: 21, free: 20, all: 100 };
        assert_eq!(chosen(&taken, &[], 21), Err(short));
    }

    #[test]
    fn fixed_mappings_stay_and_are_given_to_no_other_container() {
        let fixed = [IdMap::new(3, 0, 1), IdMap::new(5, 1, 1)];
        let map = chosen(&[], &fixed, 7).unwrap();
        let own = [IdMap::new(0, 2, 3), IdMap::new(4, 5, 1), IdMap::new(6, 6, 1)];
        assert_eq!(map, [&own[..], &fixed].concat());
    }

    proptest! {
        #[test]
        fn no_id_is_given_twice_and_all_are_mapped(
            taken in prop::collection::vec((100_000u32..100_100, 1u32..20), 0..8),
            size in 1u32..60,
        ) {
            let taken: Vec<IdMap> = taken.iter().map(|(first, count)| IdMap::new(0, *first, *count)).collect();
            let Ok(map) = chosen(&taken, &[], size) else { return Ok(()) };
            let whole = Map::<ContainerIds, BaseIds>::new(map.clone()).through(&base()).unwrap();
            for id in 0..size {
                let host = whole.outside_of(Id::new(id)).unwrap().number();
                prop_assert!(host != 1000 && taken.iter().all(|line| line.inside_of(host).is_none()));
            }
            prop_assert_eq!(lines::count(&map), size);
            prop_assert!(lines::check_disjoint(&map).is_ok());
        }
    }
}
