//! POSIX ACLs, whose values contain users and groups: converted as owners are, both when shown and when stored.

use super::layers::FsResult;

/// Length of the header, in bytes: the version, 2 (linux/posix_acl_xattr.h).
const HEADER: usize = 4;
/// Length of an entry, in bytes: tag, permissions, ID.
const ENTRY: usize = 8;
/// Tag of an entry for one user (linux/posix_acl.h).
const USER: u16 = 0x02;
/// Tag of an entry for one group.
const GROUP: u16 = 0x08;

/// Attribute that holds the ACL of a file.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// Attribute that holds the ACL for new files in a folder.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// True if an attribute holds an ACL.
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

/// Returns an ACL without users and groups that have no ID in this user namespace. The kernel reports -1 for those, and
/// would not accept that value back.
pub fn without_unmapped(value: &[u8]) -> FsResult<Vec<u8>> {
    let known = |id: u32| Ok((id != u32::MAX).then_some(id));
    map_ids(value, known, known)
}

/// Moves the IDs of an ACL; drops entries without an ID. Returns a malformed ACL unchanged: the file system below
/// refuses it.
pub fn map_ids(
    value: &[u8],
    user: impl Fn(u32) -> FsResult<Option<u32>>,
    group: impl Fn(u32) -> FsResult<Option<u32>>,
) -> FsResult<Vec<u8>> {
    let Some((header, rest)) = value.split_at_checked(HEADER) else { return Ok(value.to_vec()) };
    let (entries, remainder) = rest.as_chunks::<ENTRY>();
    if !remainder.is_empty() {
        return Ok(value.to_vec());
    }
    let mut answer = header.to_vec();
    for entry in entries {
        let [tag0, tag1, _, _, id @ ..] = entry;
        let old_id = u32::from_le_bytes(*id);
        let map_ids = match u16::from_le_bytes([*tag0, *tag1]) {
            USER => user(old_id)?,
            GROUP => group(old_id)?,
            _ => Some(old_id),
        };
        if let Some(map_ids) = map_ids {
            answer.extend_from_slice(&entry[..4]);
            answer.extend_from_slice(&map_ids.to_le_bytes());
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

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
        let more = |id: u32| if id == 9 { Err(Errno::OVERFLOW) } else { Ok(Some(id + 1000)) };
        assert_eq!(map_ids(&acl(3, 4), more, more), Ok(acl(1003, 1004)));
        assert_eq!(map_ids(&acl(9, 4), more, more), Err(Errno::OVERFLOW));
        for length in [0, 3, 4, 9] {
            let cut = &acl(3, 4)[..length];
            assert_eq!(map_ids(cut, more, more).as_deref(), Ok(cut));
        }
    }

    #[test]
    fn who_has_no_id_here_is_left_out() {
        let without = without_unmapped(&acl(u32::MAX, 4)).expect("an ACL");
        assert_eq!(without.len(), acl(1, 4).len() - ENTRY);
        assert_eq!(without_unmapped(&acl(1, 4)), Ok(acl(1, 4)));
    }
}
