//! ACLs in layers, in the kernel's format (acl(5)): version 2, then entries of tag, permissions and ID.
//!
//! The group bits of a file with an ACL are its mask. If the ACL is not stored, the mode must have the group's own
//! bits. Else the group would get the rights that the mask allows to others.

/// Name of the attribute.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";

const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

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
pub(super) fn is_possible(acl: &[u8], is_there: impl Fn(u32) -> bool) -> bool {
    let named = |entry: &AclEntry| matches!(entry.tag, USER | GROUP);
    entries(acl).is_some_and(|all| all.iter().filter(|one| named(one)).all(|one| is_there(one.id)))
}

/// The mode of the file without its ACL.
pub(super) fn mode_without(acl: &[u8], mode: u32) -> u32 {
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
}
