//! Extended attributes: the overlay's own, which are hidden, and those of the files.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

use super::acl::is_acl;
use super::{Answer, Tree};
use crate::layer::override_stat::{OVERRIDE_STAT, Records};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Prefixes of the overlay's own attributes; the second needs real root.
const OWN: [&str; 2] = ["user.overlay.", "trusted.overlay."];

/// Returns the value of one of the overlay's own attributes, at most 256 bytes.
pub fn overlay(fd: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let mut room = [0; 256];
    OWN.iter().find_map(|prefix| {
        let size = rustix::fs::fgetxattr(fd, format!("{prefix}{name}"), &mut room).ok()?;
        room.get(..size).map(<[u8]>::to_vec)
    })
}

/// True if a file has one of the overlay's own attributes.
pub fn overlay_at(path: &Path, name: &str) -> bool {
    OWN.iter().any(|prefix| rustix::fs::lgetxattr_query(path, format!("{prefix}{name}")).is_ok())
}

/// Returns the names of all attributes, each with a zero at its end; empty for a file system without attributes.
pub fn list(fd: BorrowedFd<'_>) -> Answer<Vec<u8>> {
    sized(|room| rustix::fs::flistxattr(fd, room))
}

/// Returns [`list`] of a file by its path, which is not followed at its end.
pub fn list_at(path: &Path) -> Answer<Vec<u8>> {
    sized(|room| rustix::fs::llistxattr(path, room))
}

/// Returns the value of an attribute of a file by its path. Errors: ENODATA for a missing one.
pub fn value_at(path: &Path, name: &[u8]) -> Answer<Vec<u8>> {
    answered(|room| rustix::fs::lgetxattr(path, name, room))
}

/// Returns [`list_at`], with the path followed.
pub fn list_of(path: &Path) -> Answer<Vec<u8>> {
    sized(|room| rustix::fs::listxattr(path, room))
}

/// Returns [`value_at`], with the path followed.
pub fn value_of(path: &Path, name: &[u8]) -> Answer<Vec<u8>> {
    answered(|room| rustix::fs::getxattr(path, name, room))
}

/// Reads a value of unknown size; empty for a file system without attributes.
fn sized(read: impl Fn(&mut [u8]) -> Answer<usize>) -> Answer<Vec<u8>> {
    match answered(read) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
        answer => answer,
    }
}

fn answered(read: impl Fn(&mut [u8]) -> Answer<usize>) -> Answer<Vec<u8>> {
    let mut room = vec![0; 512];
    loop {
        match read(&mut room) {
            Ok(size) => {
                room.truncate(size);
                return Ok(room);
            }
            // 64 KiB is the kernel's own limit (XATTR_SIZE_MAX, XATTR_LIST_MAX).
            Err(Errno::RANGE) if room.len() < 1 << 16 => room.resize(1 << 16, 0),
            Err(error) => return Err(error),
        }
    }
}

/// Returns the name on disk for an attribute that a process names. Names of the overlay's own attributes are stored one
/// level deeper, as in the kernel's overlay (6.7). `None`: unchanged.
pub fn escaped(name: &[u8]) -> Option<Vec<u8>> {
    OWN.iter().find_map(|own| {
        let rest = name.strip_prefix(own.as_bytes())?;
        Some([own.as_bytes(), b"overlay.", rest].concat())
    })
}

/// Returns the name that a process sees of an attribute on disk. `None`: it is the overlay's own.
pub fn shown(name: &[u8]) -> Option<Vec<u8>> {
    for own in OWN {
        if let Some(rest) = name.strip_prefix(own.as_bytes()) {
            let rest = rest.strip_prefix(b"overlay.")?;
            return Some([own.as_bytes(), rest].concat());
        }
    }
    Some(name.to_vec())
}

/// True if an attribute is copied with its file. Others are the file system's own, such as `system.nfs4_acl`, or labels
/// that the machine assigns.
pub fn goes_along(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted."].iter().any(|prefix| name.starts_with(prefix))
        || name == b"security.capability"
        || is_acl(name)
}

impl Tree {
    /// Returns the value of an attribute. Errors: ENODATA, also for an ACL that a layer cannot hold. The kernel asks
    /// for the ACL before it lets any user but the owner in, and would return every other error to that user.
    pub fn xattr(&self, id: u64, name: &OsStr) -> Answer<Vec<u8>> {
        let _still = self.moves.read();
        let node = self.node(id)?;
        if node.is_plain() && name == "security.capability" {
            return Err(Errno::NODATA);
        }
        let kept = self.kept_name(name)?;
        let value = self.refuse_acl(&kept).and_then(|()| {
            self.shown_value(&kept, self.with(&node, |reach| reach.attribute(&kept))?)
        });
        match value {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if is_acl(&kept) => Err(Errno::NODATA),
            answer => answer,
        }
    }

    /// Returns the names of all attributes, a zero after each.
    pub fn xattrs(&self, id: u64) -> Answer<Vec<u8>> {
        let _still = self.moves.read();
        let node = self.node(id)?;
        let kept = self.with(&node, |reach| reach.attributes())?;
        let names = kept.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut seen = Vec::with_capacity(kept.len());
        for name in names
            .filter(|name| !self.is_record(name) && self.refuse_acl(name).is_ok())
            .filter_map(shown)
        {
            seen.extend_from_slice(&name);
            seen.push(0);
        }
        Ok(seen)
    }

    /// True if the attribute is the record of owner and mode. With one ID the attribute is an ordinary one: root
    /// emulation keeps its own records there.
    pub(super) fn is_record(&self, name: &[u8]) -> bool {
        let is_read = match self.reading.records {
            Records::Nowhere => false,
            Records::InLowers => !self.reading.one_id,
            Records::Everywhere => true,
        };
        is_read && name == OVERRIDE_STAT.as_bytes()
    }

    /// Returns the name of an attribute on disk. Errors: ENODATA for a hidden one.
    pub(super) fn kept_name(&self, name: &OsStr) -> Answer<Vec<u8>> {
        let name = name.as_bytes();
        match self.is_record(name) {
            true => Err(Errno::NODATA),
            false => Ok(escaped(name).unwrap_or_else(|| name.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlays_own_attributes_are_hidden_and_others_of_their_name_kept_deeper() {
        assert_eq!(shown(b"user.overlay.opaque"), None);
        assert_eq!(shown(b"user.mine").as_deref(), Some(&b"user.mine"[..]));
        let kept = escaped(b"user.overlay.opaque").expect("escaped");
        assert_eq!(kept, b"user.overlay.overlay.opaque");
        assert_eq!(shown(&kept).as_deref(), Some(&b"user.overlay.opaque"[..]));
        let twice = escaped(&kept).expect("escaped");
        assert_eq!(shown(&twice), Some(kept));
        assert_eq!(escaped(b"user.mine"), None);
    }

    /// An NFS 4 mount lists `system.nfs4_acl` of every file, and no other file system accepts that attribute.
    #[test]
    fn attributes_that_are_the_file_system_s_own_stay_behind() {
        for name in
            ["user.mine", "user.containers.override_stat", "trusted.x", "security.capability"]
        {
            assert!(goes_along(name.as_bytes()), "{name}");
        }
        assert!(goes_along(b"system.posix_acl_access") && goes_along(b"system.posix_acl_default"));
        for name in [
            "system.nfs4_acl",
            "system.cifs_acl",
            "security.selinux",
            "btrfs.compression",
            "users.x",
        ] {
            assert!(!goes_along(name.as_bytes()), "{name}");
        }
    }
}
