//! Extended attributes: the overlay's own, which are hidden, and those of the files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::layers::FsResult;
use super::overlay::OverlayTree;
use crate::ids::Id;
use crate::layer::acl::{is_acl, map_ids, without_unmapped};
use crate::layer::override_stat::{OVERRIDE_STAT, Records};
use crate::layer::{escaped, read_names, read_value, unescaped};

/// Returns the names of all attributes of a file by its path, which is followed.
pub fn list_of(path: &Path) -> FsResult<Vec<u8>> {
    read_names(|room| rustix::fs::listxattr(path, room))
}

/// Returns the value of an attribute of a file by its path, which is followed. Errors: ENODATA for a missing one.
pub fn value_of(path: &Path, name: &[u8]) -> FsResult<Vec<u8>> {
    read_value(|room| rustix::fs::getxattr(path, name, room))
}

/// True if an attribute is copied with its file. Others are the file system's own, such as `system.nfs4_acl`, or labels
/// that the machine assigns.
pub fn is_copied_up(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted."].iter().any(|prefix| name.starts_with(prefix))
        || name == b"security.capability"
        || is_acl(name)
}

impl OverlayTree {
    /// Refuses ACLs where owners and modes are records: the kernel would store them beside the real owners, which mean
    /// nothing there. Errors: EOPNOTSUPP, as for a file system without ACLs.
    pub(super) fn refuse_acl(&self, name: &[u8]) -> FsResult<()> {
        match self.records_changes() && is_acl(name) {
            true => Err(Errno::OPNOTSUPP),
            false => Ok(()),
        }
    }

    /// Returns the shown value of an attribute, from the one on disk. Leaves out an ACL's users and groups without an
    /// ID here. No process can have such an ID, and the kernel would refuse the whole ACL.
    pub(super) fn shown_value(&self, name: &[u8], value: Vec<u8>) -> FsResult<Vec<u8>> {
        match (is_acl(name), &self.rules.ids.0) {
            (false, _) => Ok(value),
            (true, None) => without_unmapped(&value),
            (true, Some(maps)) => map_ids(
                &without_unmapped(&value)?,
                |user| Ok(maps.uids.outside_of(Id::new(user)).map(Id::number)),
                |group| Ok(maps.gids.outside_of(Id::new(group)).map(Id::number)),
            ),
        }
    }

    /// Returns the value of an attribute on disk, from the caller's. Errors: EOVERFLOW for an ID without a counterpart
    /// on disk.
    pub(super) fn disk_value(&self, name: &[u8], value: &[u8]) -> FsResult<Vec<u8>> {
        let ids = &self.rules.ids;
        match is_acl(name) {
            false => Ok(value.to_vec()),
            true => map_ids(
                value,
                |user| ids.disk_user(user).map(Some),
                |group| ids.disk_group(group).map(Some),
            ),
        }
    }
}

impl OverlayTree {
    /// Returns the value of an attribute. Errors: ENODATA, also for an ACL that a layer cannot hold. The kernel asks
    /// for the ACL before it lets any user but the owner in, and would return every other error to that user.
    pub fn xattr(&self, id: u64, name: &OsStr) -> FsResult<Vec<u8>> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        if node.has_no_capabilities() && name == "security.capability" {
            return Err(Errno::NODATA);
        }
        let disk_name = self.disk_name(name)?;
        let value = self.refuse_acl(&disk_name).and_then(|()| {
            self.shown_value(&disk_name, self.with(&node, |reach| reach.attribute(&disk_name))?)
        });
        match value {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if is_acl(&disk_name) => Err(Errno::NODATA),
            answer => answer,
        }
    }

    /// Returns the names of all attributes, a zero after each.
    pub fn xattrs(&self, id: u64) -> FsResult<Vec<u8>> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        let disk_name = self.with(&node, |reach| reach.attributes())?;
        let names = disk_name.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut shown_names = Vec::with_capacity(disk_name.len());
        for name in names
            .filter(|name| !self.is_record(name) && self.refuse_acl(name).is_ok())
            .filter_map(unescaped)
        {
            shown_names.extend_from_slice(&name);
            shown_names.push(0);
        }
        Ok(shown_names)
    }

    /// True if the attribute is the record of owner and mode. With one ID the attribute is an ordinary one: root
    /// emulation keeps its own records there.
    pub(super) fn is_record(&self, name: &[u8]) -> bool {
        let is_read = match self.rules.records {
            Records::Nowhere => false,
            Records::InLowers => !self.rules.has_one_id,
            Records::Everywhere => true,
        };
        is_read && name == OVERRIDE_STAT.as_bytes()
    }

    /// Returns the name of an attribute on disk. Errors: ENODATA for a hidden one.
    pub(super) fn disk_name(&self, name: &OsStr) -> FsResult<Vec<u8>> {
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

    /// An NFS 4 mount lists `system.nfs4_acl` of every file, and no other file system accepts that attribute.
    #[test]
    fn attributes_that_are_the_file_system_s_own_stay_behind() {
        for name in
            ["user.mine", "user.containers.override_stat", "trusted.x", "security.capability"]
        {
            assert!(is_copied_up(name.as_bytes()), "{name}");
        }
        assert!(
            is_copied_up(b"system.posix_acl_access") && is_copied_up(b"system.posix_acl_default")
        );
        for name in [
            "system.nfs4_acl",
            "system.cifs_acl",
            "security.selinux",
            "btrfs.compression",
            "users.x",
        ] {
            assert!(!is_copied_up(name.as_bytes()), "{name}");
        }
    }
}
