//! Whose the files of a layer are, and how that is kept on disk: by real owners in the range of the base user
//! namespace, or, where the user has a single ID, in an extended attribute beside files that are all the user's.
//!
//! The attribute is the one of containers/storage and fuse-overlayfs, so that their tools read our layers and the other
//! way round: `uid:gid:mode[:type]`, the mode in octal (their `idtools.FormatContainersOverrideXattrDevice`).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ids::{self, IdMaps};

/// The extended attribute that says what a file would be, were its owner free to say.
pub const OVERRIDE_STAT: &str = "user.containers.override_stat";

/// How the owners of a layer's files are kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// They are real, through the maps of the base user namespace: a layer's uid is the uid inside base.
    Mapped(IdMaps),
    /// Every file is ours; real owner and mode are in [`OVERRIDE_STAT`].
    Recorded,
}

impl Owners {
    /// What tells apart the folders of one layer unpacked for several users or maps: `recorded`, or eight hexadecimal
    /// digits that stand for the maps.
    pub fn suffix(&self) -> String {
        match self {
            Self::Recorded => "recorded".into(),
            Self::Mapped(maps) => {
                let lines = format!("{}\n{}", ids::lines(&maps.uids), ids::lines(&maps.gids));
                Digest::of(lines.as_bytes()).hex().chars().take(8).collect()
            }
        }
    }

    /// Whether a file on disk can really belong to this user and group of the layer.
    pub fn has(&self, uid: u32, gid: u32) -> bool {
        match self {
            Self::Recorded => (uid, gid) == (0, 0),
            Self::Mapped(maps) => {
                ids::outside_of(&maps.uids, uid).is_some()
                    && ids::outside_of(&maps.gids, gid).is_some()
            }
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A character device: major and minor number.
    Character(u32, u32),
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Folder => f.write_str("dir"),
            Self::Symlink => f.write_str("symlink"),
            Self::Pipe => f.write_str("pipe"),
            Self::Socket => f.write_str("socket"),
            Self::Block(major, minor) => write!(f, "block-{major}-{minor}"),
            Self::Character(major, minor) => write!(f, "char-{major}-{minor}"),
        }
    }
}

impl FileType {
    fn parse(text: &str) -> Option<Self> {
        let device = |numbers: &str| {
            let (major, minor) = numbers.split_once('-')?;
            Some((number(major, 10)?, number(minor, 10)?))
        };
        match text {
            "file" => Some(Self::File),
            "dir" => Some(Self::Folder),
            "symlink" => Some(Self::Symlink),
            "pipe" => Some(Self::Pipe),
            "socket" => Some(Self::Socket),
            _ => match text.split_once('-')? {
                ("block", numbers) => {
                    device(numbers).map(|(major, minor)| Self::Block(major, minor))
                }
                ("char", numbers) => {
                    device(numbers).map(|(major, minor)| Self::Character(major, minor))
                }
                _ => None,
            },
        }
    }
}

/// The value of [`OVERRIDE_STAT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverrideStat {
    /// The owner, as the container sees it.
    pub uid: u32,
    /// The group, as the container sees it.
    pub gid: u32,
    /// Permissions with setuid, setgid and sticky: at most 07777.
    pub mode: u32,
    /// What the file is; `None` (the older form): what it is on disk.
    pub file_type: Option<FileType>,
}

impl fmt::Display for OverrideStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:04o}", self.uid, self.gid, self.mode)?;
        self.file_type.map_or(Ok(()), |file_type| write!(f, ":{file_type}"))
    }
}

impl FromStr for OverrideStat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text.as_bytes())
    }
}

impl OverrideStat {
    /// Reads the attribute's value as it is on disk. Errors: anything but the two forms.
    pub fn parse(value: &[u8]) -> Result<Self> {
        Self::fields(value).ok_or_else(|| {
            let text = String::from_utf8_lossy(&value[..value.len().min(80)]);
            Error::new(format!("{OVERRIDE_STAT}: '{}' is malformed", text.escape_debug()))
        })
    }

    fn fields(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut fields = text.split(':');
        // 4294967295 is (uid_t) -1, never an ID.
        let mut id = || number(fields.next()?, 10).filter(|id| *id != u32::MAX);
        let (uid, gid) = (id()?, id()?);
        let mode = number(fields.next()?, 8).filter(|mode| *mode <= 0o7777)?;
        let file_type = match fields.next() {
            Some(name) => Some(FileType::parse(name)?),
            None => None,
        };
        fields.next().is_none().then_some(Self { uid, gid, mode, file_type })
    }
}

/// Digits alone: `from_str_radix` would take "+5".
fn number(text: &str, radix: u32) -> Option<u32> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| u32::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::IdMap;

    fn parsed(text: &str) -> OverrideStat {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_are_read() {
        let old = OverrideStat { uid: 1000, gid: 33, mode: 0o4755, file_type: None };
        assert_eq!(parsed("1000:33:4755"), old);
        assert_eq!(parsed("1000:33:04755"), old);
        let device = FileType::Character(1, 3);
        assert_eq!(
            parsed("0:0:0666:char-1-3"),
            OverrideStat { uid: 0, gid: 0, mode: 0o666, file_type: Some(device) }
        );
        assert_eq!(parsed("0:0:0:dir").to_string(), "0:0:0000:dir");
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for wrong in [
            "",
            "0",
            "0:0",
            "::",
            "0:0:",
            "0:0:0755:",
            "0:0:0755:folder",
            "0:0:0755:file:",
            "0:0:0755:file:0",
            "-1:0:0755",
            "+1:0:0755",
            " 1:0:0755",
            "4294967295:0:0755",
            "0:4294967295:0755",
            "4294967296:0:0755",
            "0:0:0800",
            "0:0:10000",
            "0:0:0100755",
            "0:0:0755:char",
            "0:0:0755:char-1",
            "0:0:0755:char-1-",
            "0:0:0755:char-1-2-3",
            "0:0:0755:block--1-2",
            "0:0:0755\n",
            "0:0:0755\0",
            "0:0:rwx",
        ] {
            assert!(wrong.parse::<OverrideStat>().is_err(), "{wrong:?}");
        }
        assert!(OverrideStat::parse(b"0:0:0755:\xff").is_err());
        assert!(OverrideStat::parse(&[b'\x1b'; 4096]).unwrap_err().to_string().len() < 600);
    }

    #[test]
    fn other_maps_are_other_folders() {
        let maps = |count| {
            let line = vec![IdMap::new(0, 1000, 1), IdMap::new(1, 100_000, count)];
            Owners::Mapped(IdMaps { uids: line.clone(), gids: line })
        };
        let (one, two) = (maps(65536).suffix(), maps(65535).suffix());
        assert_eq!(one.len(), 8);
        assert_ne!(one, two);
        assert_eq!(Owners::Recorded.suffix(), "recorded");
        // The maps of users and groups are not one list.
        let line = vec![IdMap::new(0, 1000, 1)];
        let users = Owners::Mapped(IdMaps { uids: line.clone(), gids: vec![] });
        let groups = Owners::Mapped(IdMaps { uids: vec![], gids: line });
        assert_ne!(users.suffix(), groups.suffix());
    }

    #[test]
    fn an_owner_is_had_when_both_ids_are() {
        let maps = IdMaps { uids: vec![IdMap::new(0, 5, 10)], gids: vec![IdMap::new(0, 5, 3)] };
        let owners = Owners::Mapped(maps);
        assert!(owners.has(9, 2) && !owners.has(10, 0) && !owners.has(0, 3));
        assert!(Owners::Recorded.has(0, 0) && !Owners::Recorded.has(0, 1));
    }

    fn file_types() -> impl Strategy<Value = FileType> {
        prop_oneof![
            Just(FileType::File),
            Just(FileType::Folder),
            Just(FileType::Symlink),
            Just(FileType::Pipe),
            Just(FileType::Socket),
            any::<(u32, u32)>().prop_map(|(major, minor)| FileType::Block(major, minor)),
            any::<(u32, u32)>().prop_map(|(major, minor)| FileType::Character(major, minor)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            uid in 0..u32::MAX,
            gid in 0..u32::MAX,
            mode in 0..=0o7777u32,
            file_type in proptest::option::of(file_types()),
        ) {
            let stat = OverrideStat { uid, gid, mode, file_type };
            prop_assert_eq!(OverrideStat::parse(stat.to_string().as_bytes()).unwrap(), stat);
        }

        #[test]
        fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(stat) = OverrideStat::parse(&value) {
                prop_assert_eq!(parsed(&stat.to_string()), stat);
            }
        }
    }
}
