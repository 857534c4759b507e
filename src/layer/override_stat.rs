//! Intended owner, mode and type of a file, in an extended attribute. Used where a user has a single ID, so that all
//! files belong to this user.
//!
//! The attribute is that of containers/storage and fuse-overlayfs, so that their tools read our layers and vice versa.
//! Its form is `uid:gid:mode[:type]`, the mode in octal (their `idtools.FormatContainersOverrideXattrDevice`).

use std::fmt;
use std::str::FromStr;

use rustix::fs::Stat;

use crate::error::{Error, Result};

/// Extended attribute with the intended owner, mode and type of a file.
pub const OVERRIDE_STAT: &str = "user.containers.override_stat";

/// Type of a file.
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

/// Parsed value of [`OVERRIDE_STAT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverrideStat {
    /// Owner in the container's IDs.
    pub uid: u32,
    /// Group in the container's IDs.
    pub gid: u32,
    /// Permissions with setuid, setgid and sticky: at most 07777.
    pub mode: u32,
    /// Type of the file; `None` (the older form): the type on disk.
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

/// Layers in which [`OVERRIDE_STAT`] holds the real owner and mode of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// No layers: the attribute has no special meaning.
    #[default]
    Nowhere,
    /// Lower layers: their creator had a single ID, and files without the attribute are root's.
    InLowers,
    /// All layers; changes are recorded too.
    Everywhere,
}

impl Records {
    /// Returns the intended stat(2) of a file in a layer with records, from the attribute's value if the file has one.
    /// Errors: a malformed value.
    pub fn recorded_stat(self, mut stat: Stat, value: Option<&[u8]>) -> Result<Stat> {
        match value.map(OverrideStat::parse).transpose()? {
            _ if self == Self::Nowhere => {}
            Some(record) => {
                (stat.st_uid, stat.st_gid) = (record.uid, record.gid);
                stat.st_mode = (stat.st_mode & libc::S_IFMT) | record.mode;
                record.file_type.inspect(|file_type| file_type.put_into(&mut stat));
            }
            None if self == Self::InLowers => (stat.st_uid, stat.st_gid) = (0, 0),
            None => {}
        }
        Ok(stat)
    }
}

impl FileType {
    /// Sets the type of a file that is a regular one on disk.
    fn put_into(self, stat: &mut Stat) {
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return;
        }
        let (kind, device) = match self {
            Self::Pipe => (libc::S_IFIFO, None),
            Self::Socket => (libc::S_IFSOCK, None),
            Self::Symlink => (libc::S_IFLNK, None),
            Self::Block(major, minor) => (libc::S_IFBLK, Some((major, minor))),
            Self::Character(major, minor) => (libc::S_IFCHR, Some((major, minor))),
            Self::File | Self::Folder => return,
        };
        stat.st_mode = kind | (stat.st_mode & 0o7777);
        if let Some((major, minor)) = device {
            stat.st_rdev = rustix::fs::makedev(major, minor);
        }
    }
}

impl OverrideStat {
    /// Parses the attribute's value from the disk. Errors: anything but the two forms.
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

/// Parses digits alone: `from_str_radix` would accept "+5".
fn number(text: &str, radix: u32) -> Option<u32> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| u32::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
