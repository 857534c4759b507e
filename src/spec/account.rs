//! Accounts of an image: its own /etc/passwd and /etc/group, as little to be trusted as the rest of the image.
//!
//! A line counts only if all its used fields are valid: docker's reader takes a missing number for 0, and a broken line
//! becomes root. The first of two lines with the same name counts (getpwnam(3)).

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Context, Result};
use crate::layer::Merged;

/// User or group in a flag. Digits alone are an ID, whatever an image calls its accounts. Otherwise an image could name
/// user 0 "1000", and a process that should be unprivileged would become root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOrId {
    /// Account name, to be resolved in the image.
    Name(String),
    /// Numeric ID, which needs no entry.
    Id(u32),
}

impl FromStr for NameOrId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                // (uid_t) -1 is "no change" to the system calls.
                Ok(id) if id != u32::MAX => Ok(Self::Id(id)),
                _ => Err(format!("'{text}' is larger than any ID")),
            };
        }
        let control = |character: char| character.is_control() || character == ':';
        if text.is_empty() || text.starts_with(['-', '+']) || text.contains(control) {
            return Err(format!("'{text}' is neither a name nor an ID"));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Entry of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PasswdEntry {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// Entry of /etc/group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupEntry {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// Size limit of an account file in bytes.
const LARGEST: u64 = 1 << 20;

/// Users of the root; None: no such file. Errors: the file cannot be read, is a FIFO or larger than 1 MiB.
pub(super) fn users(root: &Merged) -> Result<Option<Vec<PasswdEntry>>> {
    Ok(read(root, "etc/passwd")?.map(|text| text.lines().filter_map(user).collect()))
}

/// Groups of the root; returns and errors as [`users`].
pub(super) fn groups(root: &Merged) -> Result<Option<Vec<GroupEntry>>> {
    Ok(read(root, "etc/group")?.map(|text| text.lines().filter_map(group).collect()))
}

fn read(root: &Merged, path: &str) -> Result<Option<String>> {
    let content = root
        .read(Path::new(path), LARGEST)
        .context(|| format!("cannot read the image's /{path}"))?;
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

fn id(text: &str) -> Option<u32> {
    match text.parse() {
        Ok(NameOrId::Id(id)) => Some(id),
        _ => None,
    }
}

fn user(line: &str) -> Option<PasswdEntry> {
    let fields: Vec<&str> = line.split(':').collect();
    match fields[..] {
        [name, _, uid, gid, _, home, _] if !name.is_empty() => Some(PasswdEntry {
            name: name.to_owned(),
            uid: id(uid)?,
            gid: id(gid)?,
            home: home.to_owned(),
        }),
        _ => None,
    }
}

fn group(line: &str) -> Option<GroupEntry> {
    let fields: Vec<&str> = line.split(':').collect();
    match fields[..] {
        [name, _, gid, members] if !name.is_empty() => Some(GroupEntry {
            name: name.to_owned(),
            gid: id(gid)?,
            members: members
                .split(',')
                .filter(|member| !member.is_empty())
                .map(str::to_owned)
                .collect(),
        }),
        _ => None,
    }
}

/// Home of a user: from the accounts, or the usual one.
pub(super) fn home(uid: u32, listed: Option<&str>) -> &str {
    match (listed, uid) {
        (Some(home), _) => home,
        (None, 0) => "/root",
        (None, _) => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_alone_are_an_id() {
        assert_eq!("0".parse(), Ok(NameOrId::Id(0)));
        assert_eq!("007".parse(), Ok(NameOrId::Id(7)));
        assert_eq!("4294967294".parse(), Ok(NameOrId::Id(u32::MAX - 1)));
        assert_eq!("a1".parse(), Ok(NameOrId::Name("a1".into())));
        assert_eq!("1a".parse(), Ok(NameOrId::Name("1a".into())));
        for wrong in ["", "-1", "+1", "4294967295", "99999999999", "a:b", "a\nb"] {
            assert!(wrong.parse::<NameOrId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_broken_line_is_no_account() {
        assert_eq!(user("a:x:5:6:A:/home/a:/bin/sh").map(|user| user.uid), Some(5));
        for broken in [
            "",
            "a",
            "a:x",
            "a:x::",
            "a:x:::::",
            "a:x:b:c:::",
            ":x:0:0:::",
            "a:x:-1:0:::",
            "#a:x:0",
        ] {
            assert_eq!(user(broken), None, "{broken}");
        }
        assert_eq!(
            group("a:x:5:b,c").map(|group| group.members),
            Some(vec!["b".to_owned(), "c".to_owned()])
        );
        assert_eq!(group("a:x:5:").map(|group| group.members), Some(vec![]));
        for broken in ["", "a", "a:x:5", "a:x::b", "a:x:q:b", ":x:0:"] {
            assert_eq!(group(broken), None, "{broken}");
        }
    }

    #[test]
    fn account_files_are_read_inside_the_root_and_only_when_regular() {
        let root = tempfile::tempdir().unwrap();
        let open = || {
            Merged::of(
                [std::os::fd::OwnedFd::from(std::fs::File::open(root.path()).unwrap())],
                Default::default(),
            )
        };
        assert_eq!(users(&open()).unwrap(), None);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = root.path().join("etc/passwd");
        // CVE-2024-9676: a link out of the root is followed inside the root, and a FIFO is never waited for.
        std::os::unix::fs::symlink("/etc/group", &passwd).unwrap();
        assert_eq!(users(&open()).unwrap(), None);
        std::fs::write(root.path().join("etc/group"), "a:x:5:6::/h:").unwrap();
        assert_eq!(users(&open()).unwrap().unwrap()[0].home, "/h");
        std::fs::remove_file(&passwd).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &passwd,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(
            users(&open()).unwrap_err().to_string(),
            "cannot read the image's /etc/passwd: Invalid argument"
        );
        std::fs::remove_file(&passwd).unwrap();
        std::fs::write(&passwd, vec![b'\n'; LARGEST as usize + 1]).unwrap();
        assert!(users(&open()).is_err());
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in "\\PC*", colons in "[a0:,]{0,20}") {
            let _ = (user(&line), group(&line), user(&colons), group(&colons));
        }
    }
}
