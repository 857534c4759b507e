//! POSIX ACLs in the kernel's format (linux/posix_acl_xattr.h): version 2, then entries of tag, permissions and ID.
//!
//! The group bits of a file with an ACL are its mask. If the ACL is not stored, the mode must have the group's own
//! bits. Else the group would get the rights that the mask allows to others.

use rustix::io::Errno;

/// Attribute that holds the ACL of a file.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// Attribute that holds the ACL for new files in a folder.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Length of the header, in bytes.
const HEADER: usize = 4;
/// Length of an entry, in bytes.
const ENTRY: usize = 8;

// Tags (linux/posix_acl.h).
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// Parses the entries. `None`: not an ACL.
fn entries(acl: &[u8]) -> Option<Vec<AclEntry>> {
    let rest = acl.strip_prefix(&[2, 0, 0, 0])?;
    let mut chunks = rest.chunks_exact(8);
    let entries = chunks.by_ref().map(|chunk| match *chunk {
        [a, b, c, d, e, f, g, h] => Some(AclEntry {
            tag: u16::from_le_bytes([a, b]),
            permissions: u16::from_le_bytes([c, d]),
            id: u32::from_le_bytes([e, f, g, h]),
        }),
        _ => None,
    });
    let entries = entries.collect();
    if chunks.remainder().is_empty() { entries } else { None }
}

/// True for a valid ACL whose users and groups all exist.
pub fn is_possible(acl: &[u8], is_there: impl Fn(u32) -> bool) -> bool {
    let named = |entry: &AclEntry| matches!(entry.tag, USER | GROUP);
    entries(acl).is_some_and(|all| all.iter().filter(|one| named(one)).all(|one| is_there(one.id)))
}

/// The mode of the file without its ACL.
pub fn mode_without(acl: &[u8], mode: u32) -> u32 {
    let entries = entries(acl).unwrap_or_default();
    let of = |tag| entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.permissions);
    match of(OWNING_GROUP) {
        Some(group) => {
            let group = u32::from(group & of(MASK).unwrap_or(7) & 7);
            (mode & !0o070) | (group << 3)
        }
        None => mode,
    }
}

/// True if an attribute holds an ACL.
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

/// Returns an ACL without users and groups that have no ID in this user namespace. The kernel reports -1 for those, and
/// would not accept that value back.
pub fn without_unmapped(value: &[u8]) -> Result<Vec<u8>, Errno> {
    let known = |id: u32| Ok((id != u32::MAX).then_some(id));
    map_ids(value, known, known)
}

/// Moves the IDs of an ACL; drops entries without an ID. Returns a malformed ACL unchanged: the file system below
/// refuses it.
pub fn map_ids(
    value: &[u8],
    user: impl Fn(u32) -> Result<Option<u32>, Errno>,
    group: impl Fn(u32) -> Result<Option<u32>, Errno>,
) -> Result<Vec<u8>, Errno> {
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

/// Parses the text form of tar archives, `user::rw-,user:12:r--,...` (star, GNU tar, libarchive; acl_to_text(3)). A user
/// or group given by a name alone gets an ID that no file system has. `None`: malformed.
pub fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for line in text.split([',', '\n']).map(|line| line.split('#').next().unwrap_or("").trim()) {
        if line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(':').collect();
        let (tag, name, letters, id) = match fields[..] {
            [tag, letters] => (tag, "", letters, None),
            [tag, name, letters] => (tag, name, letters, None),
            [tag, name, letters, id] => (tag, name, letters, Some(id)),
            _ => return None,
        };
        let tag = match (tag, name.is_empty()) {
            ("user" | "u", true) => OWNER,
            ("user" | "u", false) => USER,
            ("group" | "g", true) => OWNING_GROUP,
            ("group" | "g", false) => GROUP,
            ("mask" | "m", _) => MASK,
            ("other" | "o", _) => OTHERS,
            _ => return None,
        };
        let mut permissions = 0;
        for letter in letters.bytes() {
            permissions |= match letter {
                b'r' => 4,
                b'w' => 2,
                b'x' => 1,
                b'-' => 0,
                _ => return None,
            };
        }
        let is_named = matches!(tag, USER | GROUP);
        let number = id.unwrap_or(name).parse().ok().filter(|_| is_named);
        entries.push((tag, number.unwrap_or(u32::MAX), permissions));
    }
    // The kernel demands this order.
    entries.sort_unstable();
    let mut acl = vec![2, 0, 0, 0];
    for (tag, id, permissions) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(u16::to_le_bytes(permissions));
        acl.extend(id.to_le_bytes());
    }
    (acl.len() > HEADER).then_some(acl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn without_its_acl_a_file_gives_its_group_what_the_group_had() {
        let none = u32::MAX;
        let acl = acl(&[
            (1, 6, none),
            (USER, 6, 12),
            (OWNING_GROUP, 4, none),
            (MASK, 6, none),
            (32, 4, none),
        ]);
        assert_eq!(mode_without(&acl, 0o664), 0o644);
        assert_eq!(mode_without(&acl, 0o4775), 0o4745);
        assert!(is_possible(&acl, |id| id == 12) && !is_possible(&acl, |id| id != 12));
        for malformed in [&b""[..], b"x", &acl[..acl.len() - 1], &[1, 0, 0, 0], &acl[1..]] {
            assert_eq!(mode_without(malformed, 0o664), 0o664);
            assert!(!is_possible(&malformed[..malformed.len().min(3)], |_| true));
        }
    }

    fn acl_of(user: u32, group: u32) -> Vec<u8> {
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
        assert_eq!(map_ids(&acl_of(3, 4), more, more), Ok(acl_of(1003, 1004)));
        assert_eq!(map_ids(&acl_of(9, 4), more, more), Err(Errno::OVERFLOW));
        for length in [0, 3, 4, 9] {
            let cut = &acl_of(3, 4)[..length];
            assert_eq!(map_ids(cut, more, more).as_deref(), Ok(cut));
        }
    }

    #[test]
    fn acl_entries_without_an_id_here_are_left_out() {
        let without = without_unmapped(&acl_of(u32::MAX, 4)).expect("an ACL");
        assert_eq!(without.len(), acl_of(1, 4).len() - ENTRY);
        assert_eq!(without_unmapped(&acl_of(1, 4)), Ok(acl_of(1, 4)));
    }

    #[test]
    fn the_text_of_archives_is_parsed() {
        let none = u32::MAX;
        let expected = acl(&[
            (OWNER, 6, none),
            (USER, 6, 12),
            (OWNING_GROUP, 4, none),
            (MASK, 6, none),
            (OTHERS, 4, none),
        ]);
        for text in [
            "user::rw-,user:12:rw-,group::r--,mask::rw-,other::r--",
            "other::r--\nmask:rw-\ngroup::r--\nuser:daemon:rw-:12\nuser::rw-\t#effective:rw-\n",
        ] {
            assert_eq!(from_text(text.as_bytes()).as_deref(), Some(&expected[..]), "{text}");
        }
        let named =
            from_text(b"user::rw-,user:daemon:rw-,group::r--,mask::rw-,other::r--").unwrap();
        assert!(!is_possible(&named, |id| id < none));
        assert_eq!(mode_without(&named, 0o664), 0o644);
        for wrong in [&b""[..], b"x", b"user:1:rwz", b"owner::r", b"u:1:r:2:3", b"\xff"] {
            assert_eq!(from_text(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
