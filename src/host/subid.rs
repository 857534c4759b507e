//! Subordinate IDs: further user and group IDs that the calling user may map (subuid(5), subgid(5)).
//!
//! usnea reads the files without libsubid: three small files in the usual case. Where nsswitch.conf names another
//! source, shadow's own `getsubids` reads that source, as newuidmap will.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::hint::Hint;
use super::{account, program, userns};
use crate::error::{Context, Result};

/// Range of `count` IDs from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubidRange {
    /// First ID.
    pub first: u32,
    /// Number of IDs; never 0, and `first + count` never overflows.
    pub count: u32,
}

/// Subordinate IDs of a user, in the order of the grants. Files on disk belong to the n-th of these IDs: the order must
/// not change between two runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubidRanges {
    /// User IDs.
    pub uids: Vec<SubidRange>,
    /// Group IDs.
    pub gids: Vec<SubidRange>,
}

/// Kind of subordinate IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubidKind {
    /// subuid(5)
    Users,
    /// subgid(5)
    Groups,
}

impl SubidKind {
    /// Returns the file that grants IDs of this kind.
    pub fn file(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }
}

impl SubidRange {
    /// Returns a range that is not empty and ends before 4294967295, which is "no ID" to the system calls.
    pub fn new(first: u32, count: u32) -> Option<Self> {
        (count > 0 && first.checked_add(count).is_some()).then_some(Self { first, count })
    }

    /// Returns the first ID behind the range.
    pub fn end(self) -> u32 {
        self.first + self.count
    }

    /// Returns the IDs in both ranges.
    pub fn common(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        Self::new(first, self.end().min(other.end()).saturating_sub(first))
    }

    /// Returns the IDs of this range before and behind `taken`.
    pub fn without(self, taken: Self) -> impl Iterator<Item = Self> {
        let before = Self::new(self.first, taken.first.clamp(self.first, self.end()) - self.first);
        let behind_first = taken.end().clamp(self.first, self.end());
        let behind = Self::new(behind_first, self.end() - behind_first);
        // Where the ranges do not meet, one of the two is the whole range and the other is empty.
        before.into_iter().chain(behind)
    }
}

/// Returns the number of IDs in all ranges.
pub fn total(ranges: &[SubidRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

/// Returns the subordinate IDs of the calling user that can be mapped here. `None` without both user and group IDs: an
/// image's files need both. Errors: an existing file cannot be read.
pub fn of_user() -> Result<Option<SubidRanges>> {
    let ranges = granted()?;
    if ranges.uids.is_empty() != ranges.gids.is_empty() {
        log::debug!("subordinate IDs of one kind alone are of no use: {ranges:?}");
    }
    Ok((!ranges.uids.is_empty() && !ranges.gids.is_empty()).then_some(ranges))
}

/// Returns the IDs as [`of_user`] does, also when IDs of one kind are missing.
pub fn granted() -> Result<SubidRanges> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let raw = match other_source() {
        Some(source) => ask_getsubids(&source, uid),
        None => {
            let (subuid, subgid) =
                (read_if_there(SubidKind::Users.file())?, read_if_there(SubidKind::Groups.file())?);
            // Empty files need no names: this avoids a query to a directory server.
            let names = if subuid.is_empty() && subgid.is_empty() {
                vec![]
            } else {
                account::names_of(uid)
            };
            SubidRanges {
                uids: ranges_in(&subuid, &names, uid),
                gids: ranges_in(&subgid, &names, uid),
            }
        }
    };
    let outermost = userns::in_initial_namespace();
    let mappable = |file: &str| {
        // In the initial namespace every ID exists: one readlink(2) instead of reading two files.
        let map = if outermost { Ok(String::new()) } else { std::fs::read_to_string(file) };
        parse_mapped(&map.unwrap_or_default())
    };
    Ok(SubidRanges {
        uids: usable(&raw.uids, uid, &mappable("/proc/self/uid_map")),
        gids: usable(&raw.gids, gid, &mappable("/proc/self/gid_map")),
    })
}

/// Returns the subordinate IDs of an account by name, as the two files grant them. Errors: a file that cannot be read.
pub fn granted_to(name: &str) -> Result<SubidRanges> {
    let in_file = |kind: SubidKind| -> Result<Vec<SubidRange>> {
        let text = read_if_there(kind.file())?;
        let lines = text.lines().filter_map(parse_line);
        Ok(lines.filter(|(owner, _)| *owner == name).map(|(_, range)| range).collect())
    };
    Ok(SubidRanges { uids: in_file(SubidKind::Users)?, gids: in_file(SubidKind::Groups)? })
}

fn read_if_there(path: &str) -> Result<String> {
    match std::fs::read(path) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).context(|| format!("cannot read subordinate IDs: open {path}")),
    }
}

/// Returns the remedy for a user without subordinate IDs, or with too few.
pub fn missing_hint() -> Hint {
    Hint::SubordinateIds { user: account::own_name(), first: first_free() }
}

/// Returns the first ID from 100000 on (as useradd(8) counts) behind all grants: a new range may begin there.
pub fn first_free() -> u32 {
    let files = [SubidKind::Users, SubidKind::Groups]
        .map(|kind| read_if_there(kind.file()).unwrap_or_default());
    let ends = files
        .iter()
        .flat_map(|file| file.lines().filter_map(parse_line))
        .map(|(_, range)| range.end());
    // A range at the very top leaves no room behind it; usermod then refuses, and the administrator sees that.
    ends.filter(|end| *end < u32::MAX - 65536).max().unwrap_or(0).max(100_000)
}

/// Parses a line of subuid(5) into owner and range. `None`: malformed or a comment.
pub fn parse_line(line: &str) -> Option<(&str, SubidRange)> {
    let mut fields = line.trim().split(':');
    let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
    if owner.is_empty() || owner.starts_with('#') || fields.next().is_some() {
        return None;
    }
    Some((owner, SubidRange::new(number(first)?, number(count)?)?))
}

fn number(text: &str) -> Option<u32> {
    // u32::from_str accepts "+5", which shadow's tools refuse.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn ranges_in(file: &str, names: &[String], uid: u32) -> Vec<SubidRange> {
    let mut ranges = Vec::new();
    for line in file.lines().filter(|line| !line.trim().is_empty()) {
        match parse_line(line) {
            Some((owner, range)) if is_owner(owner, names, uid) => ranges.push(range),
            Some(_) => {}
            None => log::debug!("skipping a line of the subordinate IDs: {line:?}"),
        }
    }
    ranges
}

fn is_owner(owner: &str, names: &[String], uid: u32) -> bool {
    names.iter().any(|name| name == owner) || number(owner) == Some(uid)
}

/// Returns the granted ranges that one map can hold. The kernel refuses a map with an ID twice (user_namespaces(7)),
/// and the caller's own ID is always in it. Inside another container most IDs do not exist.
fn usable(granted: &[SubidRange], own: u32, mappable: &[SubidRange]) -> Vec<SubidRange> {
    let mut taken: Vec<SubidRange> = SubidRange::new(own, 1).into_iter().collect();
    let mut usable = Vec::new();
    for range in granted {
        let there = mappable.iter().filter_map(|mapped| range.common(*mapped)).collect::<Vec<_>>();
        let free = taken.iter().fold(there, |pieces, taken| {
            pieces.into_iter().flat_map(|piece| piece.without(*taken)).collect()
        });
        if free != [*range] {
            log::debug!("of the subordinate IDs {range:?} only {free:?} can be mapped");
        }
        taken.extend(&free);
        usable.extend(free);
    }
    usable
}

/// Returns the inner IDs of a `/proc/PID/uid_map`; an empty map counts as that of the initial namespace.
fn parse_mapped(map: &str) -> Vec<SubidRange> {
    let of_line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(number);
        let (first, _, count) = (fields.next()??, fields.next()??, fields.next()??);
        SubidRange::new(first, count)
    };
    let ranges: Vec<SubidRange> = map.lines().filter_map(of_line).collect();
    if ranges.is_empty() { vec![SubidRange { first: 0, count: u32::MAX }] } else { ranges }
}

/// Returns the source of subordinate IDs where nsswitch.conf names one other than the files.
pub fn other_source() -> Option<String> {
    let switch = std::fs::read("/etc/nsswitch.conf").ok()?;
    source_in(&String::from_utf8_lossy(&switch))
}

fn source_in(switch: &str) -> Option<String> {
    // shadow takes the first word alone (lib/nss.c), and only where the keyword starts the line.
    let sources = switch.lines().find_map(|line| line.strip_prefix("subid:"))?;
    let first = sources.split('#').next()?.split_ascii_whitespace().next()?;
    (first != "files").then(|| first.to_owned())
}

/// Returns the path of shadow's program that asks the source in nsswitch.conf.
pub fn getsubids() -> Option<PathBuf> {
    program::find("getsubids", Path::is_file)
}

fn ask_getsubids(source: &str, uid: u32) -> SubidRanges {
    let name = account::names_of(uid).into_iter().next();
    let (Some(program), Some(name)) = (getsubids(), name) else {
        log::warn!(
            "subordinate IDs come from '{source}' (nsswitch.conf), and getsubids, which asks it, is not here"
        );
        return SubidRanges::default();
    };
    let ask = |options: &[&str]| {
        let mut command = Command::new(&program);
        let answer = program::ask(command.args(options).arg(&name), account::PATIENCE);
        // getsubids fails for a user without IDs: the result is empty too.
        answer.map(|answer| parse_getsubids(&answer.output)).unwrap_or_default()
    };
    SubidRanges { uids: ask(&[]), gids: ask(&["-g"]) }
}

/// Parses `0: alice 100000 65536`, one line a range.
fn parse_getsubids(answer: &str) -> Vec<SubidRange> {
    let of_line = |line: &str| {
        let mut from_the_end = line.split_ascii_whitespace().rev().map(number);
        let (count, first) = (from_the_end.next()??, from_the_end.next()??);
        SubidRange::new(first, count)
    };
    answer.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [SubidRange; 1] = [SubidRange { first: 0, count: u32::MAX }];

    fn ranges(list: &[(u32, u32)]) -> Vec<SubidRange> {
        list.iter().map(|(first, count)| SubidRange::new(*first, *count).unwrap()).collect()
    }

    #[test]
    fn lines_count_by_name_and_by_number() {
        let file = "# comment\nalice:100000:65536\n\nbob:1:2\n1001:300000:10\nalicea:5:5\n";
        let names = ["alice".to_owned()];
        assert_eq!(ranges_in(file, &names, 1001), ranges(&[(100_000, 65536), (300_000, 10)]));
        assert_eq!(ranges_in(file, &[], 1002), []);
    }

    #[test]
    fn malformed_lines_are_skipped() {
        for wrong in [
            "",
            "alice",
            "alice:1",
            "alice:1:0",
            "alice:+1:5",
            "alice:1:2:3",
            ":1:2",
            "alice:x:2",
            "alice:-1:2",
            "alice:4294967295:1",
            "alice:4294967290:6",
            "alice:99999999999:1",
            "#alice:1:2",
        ] {
            assert_eq!(parse_line(wrong), None, "{wrong}");
        }
        assert_eq!(parse_line(" alice:7:8 "), Some(("alice", SubidRange { first: 7, count: 8 })));
    }

    #[test]
    fn no_id_is_mapped_twice() {
        let granted = ranges(&[(1000, 10), (1005, 10), (1000, 10), (2000, 1)]);
        assert_eq!(
            usable(&granted, 1003, &ALL),
            ranges(&[(1000, 3), (1004, 6), (1010, 5), (2000, 1)])
        );
    }

    #[test]
    fn inside_a_container_only_what_exists_there_counts() {
        let mapped =
            parse_mapped("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(usable(&ranges(&[(60_000, 10_000)]), 0, &mapped), ranges(&[(60_000, 5537)]));
        assert_eq!(usable(&ranges(&[(100_000, 65536)]), 0, &mapped), []);
        assert_eq!(parse_mapped("0 0 4294967295\n"), ALL);
    }

    #[test]
    fn nsswitch_is_read_as_shadow_reads_it() {
        assert_eq!(source_in("passwd: files sss\nsubid: sss\n").as_deref(), Some("sss"));
        assert_eq!(source_in("subid:\tsss files # both\n").as_deref(), Some("sss"));
        for files in
            ["", "passwd: sss\n", "subid: files\n", "#subid: sss\n", "subid:\n", "subid: # sss\n"]
        {
            assert_eq!(source_in(files), None, "{files}");
        }
    }

    #[test]
    fn the_answer_of_getsubids_is_read() {
        let answer = "0: alice 100000 65536\n1: alice 300000 10\n";
        assert_eq!(parse_getsubids(answer), ranges(&[(100_000, 65536), (300_000, 10)]));
        assert_eq!(parse_getsubids("Error fetching ranges\n"), []);
    }

    proptest! {
        #[test]
        fn usable_ranges_are_granted_and_disjoint(
            granted in prop::collection::vec((0u32..60, 1u32..20), 0..6),
            own in 0u32..80,
        ) {
            let granted = ranges(&granted);
            let usable = usable(&granted, own, &ALL);
            let times = |ranges: &[SubidRange], id| ranges.iter().filter(|r| r.first <= id && id < r.end()).count();
            for id in 0..100 {
                let expected = usize::from(times(&granted, id) > 0 && id != own);
                prop_assert_eq!(times(&usable, id), expected, "ID {}", id);
            }
        }

        #[test]
        fn no_line_makes_the_parser_panic(line in ".*") {
            if let Some((_, range)) = parse_line(&line) {
                prop_assert!(range.end() > range.first);
            }
        }
    }
}
