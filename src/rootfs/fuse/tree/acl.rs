//! POSIX ACLs, whose values name users and groups: these are shown as owners are, and kept as owners are.

use rustix::io::Errno;

use super::owner::Ids;
use super::{Answer, Tree};

/// Bytes before the entries: the version, 2 (linux/posix_acl_xattr.h).
const HEADER: usize = 4;
/// Bytes of an entry: tag, permissions, ID.
const ENTRY: usize = 8;
/// An entry for one user (linux/posix_acl.h).
const USER: u16 = 0x02;
/// An entry for one group.
const GROUP: u16 = 0x08;

/// Whether an attribute holds an ACL.
pub fn is_acl(name: &[u8]) -> bool {
    matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
}

impl Tree {
    /// Refuses ACLs where owners and modes are records: the kernel would keep them beside the real ones, which stand for
    /// nothing. Errors: EOPNOTSUPP, as of a file system that has none.
    pub(super) fn refuse_acl(&self, name: &[u8]) -> Answer<()> {
        match self.reading.recorded_owners && is_acl(name) {
            true => Err(Errno::OPNOTSUPP),
            false => Ok(()),
        }
    }

    /// The value of an attribute as it is shown, for the one on disk.
    pub(super) fn shown_value(&self, name: &[u8], mut value: Vec<u8>) -> Answer<Vec<u8>> {
        if is_acl(name) {
            let ids = &self.reading.ids;
            move_ids(
                ids,
                &mut value,
                |user| Ok(ids.shown(user, 0).0),
                |group| Ok(ids.shown(0, group).1),
            )?;
        }
        Ok(value)
    }

    /// The value of an attribute on disk, for the one that was given. Errors: EOVERFLOW for an ID that has none there.
    pub(super) fn disk_value(&self, name: &[u8], value: &[u8]) -> Answer<Vec<u8>> {
        let mut value = value.to_vec();
        if is_acl(name) {
            let ids = &self.reading.ids;
            move_ids(ids, &mut value, |user| ids.disk_user(user), |group| ids.disk_group(group))?;
        }
        Ok(value)
    }
}

/// Moves the IDs of an ACL. One that is malformed stays as it is: the file system below refuses it.
fn move_ids(
    ids: &Ids,
    value: &mut [u8],
    user: impl Fn(u32) -> Answer<u32>,
    group: impl Fn(u32) -> Answer<u32>,
) -> Answer<()> {
    if ids.0.is_none() {
        return Ok(());
    }
    let (entries, _) = value.get_mut(HEADER..).unwrap_or_default().as_chunks_mut::<ENTRY>();
    for [tag0, tag1, _, _, id @ ..] in entries {
        let given = u32::from_le_bytes(*id);
        let moved = match u16::from_le_bytes([*tag0, *tag1]) {
            USER => user(given)?,
            GROUP => group(given)?,
            _ => continue,
        };
        *id = moved.to_le_bytes();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdMap, IdMaps};

    fn acl(user: u32, group: u32) -> Vec<u8> {
        let entry = |tag: u16, id: u32| {
            [&tag.to_le_bytes()[..], &6u16.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let entries =
            [(1, none), (USER, user), (4, none), (GROUP, group), (0x10, none), (0x20, none)];
        let entries = entries.iter().flat_map(|(tag, id)| entry(*tag, *id));
        2u32.to_le_bytes().into_iter().chain(entries).collect()
    }

    #[test]
    fn users_and_groups_alone_are_moved_and_what_is_malformed_is_left() {
        let maps =
            IdMaps { uids: vec![IdMap::new(0, 1000, 10)], gids: vec![IdMap::new(0, 2000, 10)] };
        let ids = Ids(Some(maps));
        let to_disk = |value: &mut [u8]| {
            move_ids(&ids, value, |user| ids.disk_user(user), |group| ids.disk_group(group))
        };
        let mut value = acl(1003, 2004);
        to_disk(&mut value).expect("moved");
        assert_eq!(value, acl(3, 4));
        assert_eq!(to_disk(&mut acl(1, 2004)), Err(Errno::OVERFLOW));
        for length in [0, 3, 4, 9] {
            let mut cut = acl(1003, 2004)[..length].to_vec();
            let before = cut.clone();
            to_disk(&mut cut).expect("left alone");
            assert_eq!(cut, before);
        }
    }
}
