//! ID maps: flags, lines of subuid(5), and maps composed and inverted: each ID comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::host::subid;
use usnea::ids::{BaseIds, ContainerIds, HostIds, Id, IdMap, Map, UsernsMode};
use usnea::userns;

/// Reads the maps of `-m` and `-n` lines; all other lines are modes and grants.
fn maps(text: &str) -> [Vec<IdMap>; 2] {
    let mut maps = [Vec::new(), Vec::new()];
    for line in text.lines() {
        if let Some((owner, range)) = subid::parse_line(line) {
            assert!(!owner.is_empty() && range.count > 0 && range.end() > range.first);
        }
        let _ = line.parse::<UsernsMode>();
        let (list, line) = match line.strip_prefix('n') {
            Some(rest) => (1, rest),
            None => (0, line),
        };
        maps[list].extend(line.parse::<IdMap>());
    }
    maps
}

fuzz_target!(|text: &str| {
    let [inner, outer] = maps(text);
    if userns::check_disjoint(&inner).is_err() || userns::check_disjoint(&outer).is_err() {
        return;
    }
    let inner: Map<ContainerIds, BaseIds> = Map::new(inner);
    let outer: Map<BaseIds, HostIds> = Map::new(outer);
    assert_eq!(inner.inverse().inverse(), inner);
    let ends = |line: &IdMap| [line.inside, line.inside + (line.count - 1)];
    for id in inner.iter().flat_map(ends).map(Id::new) {
        let outside = inner.outside_of(id).expect("an ID of the map");
        assert_eq!(inner.inside_of(outside), Some(id));
    }
    if let Some(both) = inner.through(&outer) {
        for id in inner.iter().flat_map(ends).map(Id::new) {
            let expected = inner.outside_of(id).and_then(|id| outer.outside_of(id));
            assert_eq!(both.outside_of(id), expected);
        }
        assert_eq!(both.kernel_lines().lines().count(), both.len());
    }
});
