//! User and group IDs and the maps between them. Vocabulary only: `userns` chooses the map, `host::subid` knows the IDs
//! granted to a user.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Line of `/proc/PID/uid_map`: maps `count` IDs from `inside` (in the namespace) to those from `outside` (in its
/// parent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdMap {
    /// First ID inside the namespace.
    pub inside: u32,
    /// First ID outside the namespace.
    pub outside: u32,
    /// Number of IDs.
    pub count: u32,
}

impl IdMap {
    /// Maps `count` IDs from `inside` to those from `outside`.
    pub const fn new(inside: u32, outside: u32, count: u32) -> Self {
        Self { inside, outside, count }
    }

    /// Returns the outer ID of an inner one, if this line covers it.
    pub fn outside_of(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.inside)?;
        (offset < self.count).then(|| self.outside + offset)
    }

    /// Returns the inner ID of an outer one, if this line covers it.
    pub fn inside_of(&self, outside: u32) -> Option<u32> {
        let offset = outside.checked_sub(self.outside)?;
        (offset < self.count).then(|| self.inside + offset)
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// Numbering of IDs. Each level numbers its users and groups for itself, so an ID says little without its level.
pub trait IdLevel: Copy + fmt::Debug + Eq {}

/// IDs as the container's processes see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerIds {}

/// IDs as processes in the base user namespace see them: 0 is the user, their subordinate IDs follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseIds {}

/// IDs as the process that started usnea sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostIds {}

/// IDs on disk of a layer or volume that a mount or a copy shows as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileIds {}

impl IdLevel for ContainerIds {}
impl IdLevel for BaseIds {}
impl IdLevel for HostIds {}
impl IdLevel for FileIds {}

/// User or group ID of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<Level> {
    number: u32,
    level: PhantomData<Level>,
}

impl<Level> Id<Level> {
    /// First user and first group: root, if the namespace has one.
    pub const ROOT: Self = Self::new(0);

    /// Takes a number that is known to be of this level.
    pub const fn new(number: u32) -> Self {
        Self { number, level: PhantomData }
    }

    /// Number, for system calls and texts of this level.
    pub fn number(self) -> u32 {
        self.number
    }
}

/// User and group of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPair<Level> {
    /// User.
    pub uid: Id<Level>,
    /// Group.
    pub gid: Id<Level>,
}

impl<Level> IdPair<Level> {
    /// Takes numbers that are known to be of this level.
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self { uid: Id::new(uid), gid: Id::new(gid) }
    }
}

/// Map from the IDs of a level to those of another one: lines of uid_map or gid_map, or of both in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Map<Inner: IdLevel, Outer: IdLevel> {
    lines: Vec<IdMap>,
    levels: PhantomData<(Inner, Outer)>,
}

impl<Inner: IdLevel, Outer: IdLevel> Map<Inner, Outer> {
    /// Takes lines that are known to be between these levels.
    pub const fn new(lines: Vec<IdMap>) -> Self {
        Self { lines, levels: PhantomData }
    }

    /// Returns the outer ID of an inner one.
    pub fn outside_of(&self, inside: Id<Inner>) -> Option<Id<Outer>> {
        self.lines.iter().find_map(|line| line.outside_of(inside.number)).map(Id::new)
    }

    /// Returns the inner ID of an outer one.
    pub fn inside_of(&self, outside: Id<Outer>) -> Option<Id<Inner>> {
        self.lines.iter().find_map(|line| line.inside_of(outside.number)).map(Id::new)
    }

    /// True if the inner level has this ID.
    pub fn has(&self, inside: Id<Inner>) -> bool {
        self.outside_of(inside).is_some()
    }

    /// Composes this map and `next`. `None` if an ID is missing in `next`. The result is split like `next`: a line
    /// across two of the parent's lines is EPERM to the kernel.
    pub fn through<Outmost: IdLevel>(
        &self,
        next: &Map<Outer, Outmost>,
    ) -> Option<Map<Inner, Outmost>> {
        let mut result = Vec::new();
        for line in &self.lines {
            let mut done = 0;
            while done < line.count {
                let at = line.outside + done;
                let step = next.lines.iter().find(|step| step.outside_of(at).is_some())?;
                let offset = at - step.inside;
                let count = (step.count - offset).min(line.count - done);
                result.push(IdMap::new(line.inside + done, step.outside + offset, count));
                done += count;
            }
        }
        Some(Map::new(result))
    }

    /// Inverts the map.
    pub fn inverse(&self) -> Map<Outer, Inner> {
        let inverse = |line: &IdMap| IdMap::new(line.outside, line.inside, line.count);
        Map::new(self.lines.iter().map(inverse).collect())
    }

    /// Formats the map for the kernel, with each line on a line of its own.
    pub fn kernel_lines(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl<Inner: IdLevel, Outer: IdLevel> Default for Map<Inner, Outer> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// The lines, as bare numbers.
impl<Inner: IdLevel, Outer: IdLevel> Deref for Map<Inner, Outer> {
    type Target = [IdMap];

    fn deref(&self) -> &[IdMap] {
        &self.lines
    }
}

/// User and group maps between two levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct IdMaps<Inner: IdLevel, Outer: IdLevel> {
    /// Lines of uid_map.
    pub uids: Map<Inner, Outer>,
    /// Lines of gid_map.
    pub gids: Map<Inner, Outer>,
}

impl<Inner: IdLevel, Outer: IdLevel> IdMaps<Inner, Outer> {
    /// Takes lines that are known to be between these levels.
    pub const fn new(uids: Vec<IdMap>, gids: Vec<IdMap>) -> Self {
        Self { uids: Map::new(uids), gids: Map::new(gids) }
    }

    /// Returns the outer user and group of inner ones.
    pub fn outside_of(&self, inside: IdPair<Inner>) -> Option<IdPair<Outer>> {
        let (uid, gid) = (self.uids.outside_of(inside.uid)?, self.gids.outside_of(inside.gid)?);
        Some(IdPair { uid, gid })
    }

    /// Composes these maps and `next`, like [`Map::through`].
    pub fn through<Outmost: IdLevel>(
        &self,
        next: &IdMaps<Outer, Outmost>,
    ) -> Option<IdMaps<Inner, Outmost>> {
        let (uids, gids) = (self.uids.through(&next.uids)?, self.gids.through(&next.gids)?);
        Some(IdMaps { uids, gids })
    }

    /// Inverts the maps.
    pub fn inverse(&self) -> IdMaps<Outer, Inner> {
        IdMaps { uids: self.uids.inverse(), gids: self.gids.inverse() }
    }

    /// The same lines between other levels.
    fn relabelled<I: IdLevel, O: IdLevel>(self) -> IdMaps<I, O> {
        IdMaps::new(self.uids.lines, self.gids.lines)
    }
}

impl<Inner: IdLevel, Outer: IdLevel> Default for IdMaps<Inner, Outer> {
    fn default() -> Self {
        Self { uids: Map::default(), gids: Map::default() }
    }
}

impl IdMaps<BaseIds, HostIds> {
    /// Maps of a container whose user namespace is base itself.
    pub fn as_containers(self) -> IdMaps<ContainerIds, HostIds> {
        self.relabelled()
    }
}

impl IdMaps<ContainerIds, HostIds> {
    /// Maps of a base that is the user namespace of the container.
    pub fn as_bases(self) -> IdMaps<BaseIds, HostIds> {
        self.relabelled()
    }
}

impl<Outer: IdLevel> IdMaps<ContainerIds, Outer> {
    /// Maps for files whose IDs on disk are those that the container is to see.
    pub fn as_files(self) -> IdMaps<FileIds, Outer> {
        self.relabelled()
    }
}

/// Mapping of the container's IDs to the user's (`--userns`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UsernsMode {
    /// Root inside is the user outside, the subordinate IDs follow (podman's `host` without root).
    #[default]
    Host,
    /// The user keeps their IDs inside, or gets these.
    KeepId {
        /// The user's ID inside; null: the same as outside.
        uid: Option<u32>,
        /// The group's ID inside; null: the same as outside.
        gid: Option<u32>,
        /// Number of IDs inside; null: all of the user's.
        size: Option<u32>,
    },
    /// The user has no ID inside: subordinate IDs alone.
    NoMap,
    /// Subordinate IDs that no other container has.
    Auto(OwnRange),
}

/// Settings of a container's own range of IDs (`--userns auto`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRange {
    /// Number of IDs; null: as many as the image needs.
    pub size: Option<u32>,
    /// User IDs with explicit mappings.
    pub uids: Vec<AskedMap>,
    /// Group IDs with explicit mappings.
    pub gids: Vec<AskedMap>,
}

/// Requested line of a map (`--uidmap`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedMap {
    /// Range of IDs to map.
    pub line: IdMap,
    /// Meaning of the outer IDs.
    pub outside: Outside,
}

/// Meaning of the outer IDs in a requested line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// IDs of base: 0 is the user, 1 and following are their subordinate IDs.
    Base,
    /// IDs of the host (`@`).
    Host,
}

/// `container:base[:count]`, or `container:@host[:count]`.
impl std::str::FromStr for AskedMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (outside, line) = match text.split_once(":@") {
            Some((inside, rest)) => (Outside::Host, format!("{inside}:{rest}")),
            None => (Outside::Base, text.to_owned()),
        };
        Ok(Self { line: line.parse()?, outside })
    }
}

impl std::str::FromStr for UsernsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) =
            text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        match (name, options) {
            ("host", None) => Ok(Self::Host),
            ("nomap", None) => Ok(Self::NoMap),
            ("keep-id", options) => {
                let (mut uid, mut gid, mut size) = (None, None, None);
                for option in options.into_iter().flat_map(|options| options.split(',')) {
                    match option.split_once('=') {
                        Some(("uid", id)) => uid = Some(parse_id(id)?),
                        Some(("gid", id)) => gid = Some(parse_id(id)?),
                        Some(("size", count)) => size = Some(parse_size(count)?),
                        _ => return Err(format!("'{option}' is none of uid=N, gid=N and size=N")),
                    }
                }
                Ok(Self::KeepId { uid, gid, size })
            }
            ("auto", options) => {
                let mut range = OwnRange::default();
                for option in options.into_iter().flat_map(|options| options.split(',')) {
                    match option.split_once('=') {
                        Some(("size", count)) => range.size = Some(parse_size(count)?),
                        Some(("uidmapping", line)) => range.uids.push(line.parse()?),
                        Some(("gidmapping", line)) => range.gids.push(line.parse()?),
                        _ => {
                            return Err(format!(
                                "'{option}' is none of size=N, uidmapping=CONTAINER:BASE:COUNT and gidmapping=..."
                            ));
                        }
                    }
                }
                Ok(Self::Auto(range))
            }
            _ => Err("expected host, keep-id[:uid=N,gid=N], nomap or auto[:size=N]".into()),
        }
    }
}

/// `container:base[:count]` (`--uidmap`): base 0 is the user, 1 and following are their subordinate IDs.
impl std::str::FromStr for IdMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split(':').map(parse_id).collect::<Result<Vec<_>, _>>()?;
        let map = match numbers[..] {
            [inside, outside] => Self::new(inside, outside, 1),
            [inside, outside, count] => Self::new(inside, outside, count),
            _ => return Err("expected container:base[:count]".into()),
        };
        if map.count == 0 {
            return Err("a map of no IDs".into());
        }
        if inside_overflows(map) {
            return Err("the IDs go beyond 4294967294".into());
        }
        Ok(map)
    }
}

fn inside_overflows(map: IdMap) -> bool {
    // 4294967295 is (uid_t) -1: "no change" to the system calls, never an ID.
    map.inside.checked_add(map.count).is_none() || map.outside.checked_add(map.count).is_none()
}

fn parse_size(text: &str) -> Result<u32, String> {
    match parse_id(text)? {
        0 => Err("a user namespace without an ID".into()),
        size => Ok(size),
    }
}

fn parse_id(text: &str) -> Result<u32, String> {
    // u32::from_str accepts "+5"; an ID is digits alone.
    match text.parse() {
        Ok(id) if text.bytes().all(|byte| byte.is_ascii_digit()) && id != u32::MAX => Ok(id),
        _ => Err(format!("'{text}' is not an ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userns_modes_are_podmans() {
        assert_eq!("host".parse(), Ok(UsernsMode::Host));
        assert_eq!("nomap".parse(), Ok(UsernsMode::NoMap));
        assert_eq!("keep-id".parse(), Ok(UsernsMode::KeepId { uid: None, gid: None, size: None }));
        assert_eq!(
            "keep-id:uid=5,gid=6".parse(),
            Ok(UsernsMode::KeepId { uid: Some(5), gid: Some(6), size: None })
        );
        assert_eq!("auto".parse(), Ok(UsernsMode::Auto(OwnRange::default())));
        let line = |line, outside| AskedMap { line, outside };
        assert_eq!(
            "auto:size=9,uidmapping=0:@1000:1,gidmapping=3:7:2,gidmapping=0:0".parse(),
            Ok(UsernsMode::Auto(OwnRange {
                size: Some(9),
                uids: vec![line(IdMap::new(0, 1000, 1), Outside::Host)],
                gids: vec![
                    line(IdMap::new(3, 7, 2), Outside::Base),
                    line(IdMap::new(0, 0, 1), Outside::Base)
                ],
            }))
        );
        for wrong in [
            "",
            "keep-id:",
            "keep-id:uid",
            "keep-id:uid=x",
            "nomap:1",
            "private",
            "host:",
            "auto:",
            "auto:size=0",
            "auto:size=-1",
            "auto:uid=1",
            "auto:uidmapping=1",
            "keep-id:size=0",
        ] {
            assert!(wrong.parse::<UsernsMode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_map_line_is_two_or_three_ids_that_fit() {
        assert_eq!("0:1:10".parse(), Ok(IdMap::new(0, 1, 10)));
        assert_eq!("7:0".parse(), Ok(IdMap::new(7, 0, 1)));
        for wrong in [
            "",
            "0",
            "0:1:0",
            "0:1:2:3",
            "a:b:c",
            "-1:0:1",
            "+1:0:1",
            "4294967295:0:1",
            "1:0:4294967294:",
        ] {
            assert!(wrong.parse::<IdMap>().is_err(), "{wrong}");
        }
        assert!("2:0:4294967294".parse::<IdMap>().is_err());
    }

    #[test]
    fn maps_translate_both_ways() {
        let lines = vec![IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, 65536)];
        let map = Map::<BaseIds, HostIds>::new(lines);
        assert_eq!(map.outside_of(Id::ROOT), Some(Id::new(1000)));
        assert_eq!(map.outside_of(Id::new(33)), Some(Id::new(100_032)));
        assert_eq!(map.outside_of(Id::new(65537)), None);
        assert_eq!(map.inside_of(Id::new(100_032)), Some(Id::new(33)));
        assert_eq!(map.inside_of(Id::new(999)), None);
    }

    #[test]
    fn a_map_through_another_is_split_where_that_is() {
        let next = Map::<BaseIds, HostIds>::new(vec![
            IdMap::new(0, 1000, 1),
            IdMap::new(1, 100_000, 10),
            IdMap::new(11, 200_000, 10),
        ]);
        let map = |outside| Map::<ContainerIds, BaseIds>::new(vec![IdMap::new(0, outside, 10)]);
        let host = vec![IdMap::new(0, 100_004, 6), IdMap::new(6, 200_000, 4)];
        assert_eq!(map(5).through(&next), Some(Map::new(host)));
        assert_eq!(map(15).through(&next), None);
    }

    #[test]
    fn maps_are_written_as_lists_of_lines() {
        let maps = IdMaps::<ContainerIds, HostIds>::new(vec![IdMap::new(0, 5, 1)], Vec::new());
        let text = r#"{"uids":[{"inside":0,"outside":5,"count":1}],"gids":[]}"#;
        assert_eq!(serde_json::to_string(&maps).unwrap(), text);
        assert_eq!(serde_json::from_str::<IdMaps<_, _>>(text).unwrap(), maps);
    }
}
