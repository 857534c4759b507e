//! `--user NAME|UID[:GROUP|GID]`, and its resolution in the image's accounts.

use std::fmt;
use std::str::FromStr;

use super::account::{GroupEntry, NameOrId, PasswdEntry};
use crate::error::{Error, Result};

/// Value of `--user`, or the user of an image: both have the same parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFlag {
    pub(super) user: NameOrId,
    pub(super) group: Option<NameOrId>,
}

impl UserFlag {
    /// Builds a user from IDs.
    pub(super) const fn of(uid: u32, gid: Option<u32>) -> Self {
        Self {
            user: NameOrId::Id(uid),
            group: match gid {
                Some(gid) => Some(NameOrId::Id(gid)),
                None => None,
            },
        }
    }
}

impl UserFlag {
    /// IDs that the value gives as numbers.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        let id = |who: &NameOrId| match who {
            NameOrId::Id(id) => Some(*id),
            NameOrId::Name(_) => None,
        };
        id(&self.user).into_iter().chain(self.group.as_ref().and_then(id))
    }
}

impl fmt::Display for UserFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => write!(f, "{}", self.user),
        }
    }
}

impl FromStr for UserFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        // docker: "root:" means no group, ":0" means no user.
        let group = group.filter(|group| !group.is_empty() || user.is_empty());
        let user = if user.is_empty() && group.is_some() { "0" } else { user };
        Ok(Self { user: user.parse()?, group: group.map(str::parse).transpose()? })
    }
}

/// Identity of the process inside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessIdentity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Groups that list the user. Empty if the flag has a group: then that is the only one (docker).
    pub(super) others: Vec<u32>,
    /// Home from the user's entry, if the user has one.
    pub(super) home: Option<String>,
}

/// Resolves `flag` in the image's accounts. Errors: a name without an entry.
pub(super) fn identify(
    flag: &UserFlag,
    users: &[PasswdEntry],
    groups: &[GroupEntry],
) -> Result<ProcessIdentity> {
    let entry = match &flag.user {
        NameOrId::Name(name) => {
            Some(users.iter().find(|user| user.name == *name).ok_or_else(|| {
                Error::invalid(format!("user {name}: not in the image's /etc/passwd"))
                    .hint("an ID needs no entry: -u UID")
            })?)
        }
        NameOrId::Id(uid) => users.iter().find(|user| user.uid == *uid),
    };
    let uid = match (&flag.user, entry) {
        (NameOrId::Id(uid), _) => *uid,
        (_, entry) => entry.map_or(0, |user| user.uid),
    };
    let gid = match &flag.group {
        Some(group) => find_group(group, groups)?,
        None => entry.map_or(0, |user| user.gid),
    };
    let lists = |group: &&GroupEntry| entry.is_some_and(|user| group.members.contains(&user.name));
    let others = match flag.group {
        Some(_) => Vec::new(),
        None => groups.iter().filter(lists).map(|group| group.gid).collect(),
    };
    Ok(ProcessIdentity {
        uid,
        gid,
        others,
        home: entry.map(|user| user.home.clone()).filter(|home| home.starts_with('/')),
    })
}

/// Returns the ID of a group. Errors: a name without an entry.
pub(super) fn find_group(group: &NameOrId, groups: &[GroupEntry]) -> Result<u32> {
    match group {
        NameOrId::Id(gid) => Ok(*gid),
        NameOrId::Name(name) => {
            groups.iter().find(|group| group.name == *name).map(|group| group.gid).ok_or_else(
                || {
                    Error::invalid(format!("group {name}: not in the image's /etc/group"))
                        .hint("an ID needs no entry")
                },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accounts() -> (Vec<PasswdEntry>, Vec<GroupEntry>) {
        let user = |name: &str, uid, gid, home: &str| PasswdEntry {
            name: name.into(),
            uid,
            gid,
            home: home.into(),
        };
        let group = |name: &str, gid, members: &[&str]| GroupEntry {
            name: name.into(),
            gid,
            members: members.iter().map(|member| (*member).into()).collect(),
        };
        (
            vec![
                user("root", 0, 0, "/root"),
                user("web", 33, 34, "/srv"),
                user("web", 0, 0, "/root"),
                user("1000", 0, 0, "/root"),
                user("odd", 7, 7, "relative"),
            ],
            vec![
                group("root", 0, &[]),
                group("www", 34, &[]),
                group("tape", 26, &["web", "x"]),
                group("video", 44, &["web"]),
                group("33", 0, &[]),
            ],
        )
    }

    fn who(text: &str) -> Result<ProcessIdentity> {
        let (users, groups) = accounts();
        identify(&text.parse::<UserFlag>().map_err(Error::new)?, &users, &groups)
    }

    #[test]
    fn users_and_groups_are_looked_up_as_docker_does() {
        for (text, uid, gid, others, home) in [
            ("root", 0, 0, vec![], Some("/root")),
            ("web", 33, 34, vec![26, 44], Some("/srv")),
            ("33", 33, 34, vec![26, 44], Some("/srv")),
            ("web:www", 33, 34, vec![], Some("/srv")),
            ("web:5", 33, 5, vec![], Some("/srv")),
            ("web:", 33, 34, vec![26, 44], Some("/srv")),
            (":www", 0, 34, vec![], Some("/root")),
            ("5000", 5000, 0, vec![], None),
            ("5000:5001", 5000, 5001, vec![], None),
            ("odd", 7, 7, vec![], None),
        ] {
            let identity = who(text).unwrap();
            assert_eq!((identity.uid, identity.gid), (uid, gid), "{text}");
            assert_eq!(identity.others, others, "{text}");
            assert_eq!(identity.home.as_deref(), home, "{text}");
        }
    }

    #[test]
    fn an_account_named_by_digits_never_stands_in_for_the_id() {
        assert_eq!(who("1000").unwrap().uid, 1000);
        assert_eq!(who("5000:33").unwrap().gid, 33);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_where_it_was_looked_for() {
        assert_eq!(who("foo").unwrap_err().to_string(), "user foo: not in the image's /etc/passwd");
        assert_eq!(
            who("web:foo").unwrap_err().to_string(),
            "group foo: not in the image's /etc/group"
        );
    }

    #[test]
    fn a_malformed_user_is_refused() {
        for wrong in ["", ":", "root::", "a:b:c", "-1", "4294967295", "0:4294967295", "a\nb"] {
            assert!(wrong.parse::<UserFlag>().is_err(), "{wrong}");
        }
    }

    proptest! {
        // CVE-2026-30892: a requested ID is the ID of the process, or an error.
        #[test]
        fn an_id_that_is_asked_for_is_the_id_that_it_gets(uid in 0..u32::MAX, gid in 0..u32::MAX) {
            let identity = who(&format!("{uid}:{gid}")).unwrap();
            prop_assert_eq!((identity.uid, identity.gid), (uid, gid));
            prop_assert_eq!(who(&uid.to_string()).unwrap().uid, uid);
        }

        #[test]
        fn what_is_read_is_printed_as_it_was(user in "[a-z]{1,5}|[1-9][0-9]{0,5}", group in "(:[a-z]{1,5})?") {
            let text = format!("{user}{group}");
            prop_assert_eq!(text.parse::<UserFlag>().unwrap().to_string(), text);
        }
    }
}
