//! Marks of a layer about the layers below: whiteouts (device 0:0, attribute, `.wh.` name) and opaque folders. Also the
//! marks of a kernel overlay that moves folders or copies attributes alone.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use rustix::fs::{AtFlags, RawDir, Stat};
use rustix::io::Errno;

use super::access::below;
use super::node::{Layer, Node, Odd, UPPER};
use super::work::{Form, Work};
use super::{Answer, Tree, xattr};

/// Prefix of a whiteout's name where whiteouts are names.
pub const PREFIX: &[u8] = b".wh.";

/// Name of the file that makes a folder opaque where whiteouts are names.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";

/// Visibility of the layers below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Lower content is visible too.
    Seen,
    /// Lower content is hidden.
    Hidden,
}

/// True if a file is the device 0:0, a whiteout.
pub fn is_device(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == 0
}

/// True if the root of a layer declares whiteouts by attribute in the layer.
pub fn attribute_whiteouts(root: BorrowedFd<'_>) -> bool {
    opaque_value(root).as_deref() == Some(b"x")
}

fn opaque_value(folder: BorrowedFd<'_>) -> Option<Vec<u8>> {
    xattr::overlay(folder, "opaque")
}

/// Returns the visibility of the layers below a folder. Errors: EPERM for a folder that a kernel overlay with
/// `redirect_dir` moved: its content lies elsewhere, and showing half of it would be wrong.
pub fn below_of(folder: BorrowedFd<'_>) -> Answer<Below> {
    let mut answer = Below::Seen;
    for name in xattr::list(folder)?.split(|byte| *byte == 0) {
        match overlay_attribute(name) {
            Some(b"opaque") if opaque_value(folder).as_deref() == Some(b"y") => {
                answer = Below::Hidden;
            }
            Some(b"redirect") => {
                log::warn!("a folder was moved by an overlay with redirect_dir: not shown");
                return Err(Errno::PERM);
            }
            _ => {}
        }
    }
    Ok(answer)
}

/// Returns the overlay's own name of an attribute.
fn overlay_attribute(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"user.overlay.").or_else(|| name.strip_prefix(b"trusted.overlay."))
}

/// True if a regular file's data may lie in a lower layer (`metacopy`). Such a file is a hole, beside a few blocks of
/// attributes.
pub fn may_be_metacopy(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
        && stat.st_size > 0
        && stat.st_blocks <= 16
        && stat.st_blocks * 512 < stat.st_size
}

impl Tree {
    /// True if the file found under `name` is a whiteout.
    pub(super) fn is_whiteout(
        &self,
        parent: &Arc<Node>,
        layer: Layer,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
    ) -> Answer<bool> {
        if is_device(stat) {
            return Ok(true);
        }
        let empty = stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_size == 0;
        Ok(empty
            && self.odd(parent, layer, folder)?.attributes
            && xattr::overlay_at(&below(folder, name), "whiteout"))
    }

    /// True if the name itself is a whiteout.
    pub(super) fn is_whiteout_name(&self, name: &OsStr) -> bool {
        (self.reading.whiteout_names || self.upper_has_names())
            && name.as_bytes().starts_with(PREFIX)
    }

    fn upper_has_names(&self) -> bool {
        self.work.as_ref().is_some_and(Work::has_names)
    }

    /// True if empty files of the upper layer may be whiteouts: the layer declared them when opened, or this server
    /// writes them.
    pub(super) fn upper_has_attributes(&self) -> bool {
        self.layers[usize::from(UPPER)].attribute_whiteouts
            || self.work.as_ref().is_some_and(|work| work.form == Form::Attribute)
    }

    /// True if a layer has whiteouts by name.
    fn has_names(&self, layer: Layer) -> bool {
        self.reading.whiteout_names || layer == UPPER && self.upper_has_names()
    }

    /// True if a whiteout by name hides `name` in the layers below.
    pub(super) fn is_whited_out_by_name(
        &self,
        parent: &Arc<Node>,
        layer: Layer,
        folder: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Answer<bool> {
        Ok(self.has_names(layer)
            && self.odd(parent, layer, folder)?.names
            && exists(folder, &whiteout_name(name)))
    }

    /// True if the folder hides the layers below, by attribute or by name.
    pub(super) fn below_of(&self, layer: Layer, folder: BorrowedFd<'_>) -> Answer<Below> {
        match below_of(folder)? {
            Below::Seen if self.has_names(layer) && exists(folder, OPAQUE_NAME.as_ref()) => {
                Ok(Below::Hidden)
            }
            answer => Ok(answer),
        }
    }

    /// Returns the kinds of whiteouts, other than devices, that a folder may have in one layer.
    pub(super) fn odd(&self, node: &Arc<Node>, layer: Layer, fd: BorrowedFd<'_>) -> Answer<Odd> {
        let mut odd = self.odd_before(node, layer, fd)?;
        if let (UPPER, Some(work)) = (layer, &self.work) {
            // The server itself may write another whiteout at any time.
            odd.attributes |= work.form == Form::Attribute;
            odd.names |= work.has_names();
        }
        Ok(odd)
    }

    /// Returns the kinds of whiteouts at the first check of the folder.
    fn odd_before(&self, node: &Arc<Node>, layer: Layer, fd: BorrowedFd<'_>) -> Answer<Odd> {
        let facts = self.layers[usize::from(layer)];
        if !facts.attribute_whiteouts && !self.reading.whiteout_names {
            return Ok(Odd::default());
        }
        let Some(folder) = &node.folder else { return Ok(Odd::default()) };
        if let Some((_, odd)) = folder.odd.lock().iter().find(|(known, _)| *known == layer) {
            return Ok(*odd);
        }
        let odd = Odd {
            attributes: facts.attribute_whiteouts && opaque_value(fd).as_deref() == Some(b"x"),
            names: self.reading.whiteout_names && has_whiteout_names(fd)?,
        };
        folder.odd.lock().push((layer, odd));
        Ok(odd)
    }
}

/// Returns the name of the whiteout for `name`.
pub fn whiteout_name(name: &OsStr) -> OsString {
    OsString::from_vec([PREFIX, name.as_bytes()].concat())
}

fn exists(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn has_whiteout_names(folder: BorrowedFd<'_>) -> Answer<bool> {
    let mut found = false;
    each_entry(folder, |name, _, _| found |= name.to_bytes().starts_with(PREFIX))?;
    Ok(found)
}

/// Calls `tell` for all entries of a folder but `.` and `..`: name, inode number, type (DT_*).
pub fn each_entry(
    folder: impl AsFd,
    mut tell: impl FnMut(&CStr, u64, rustix::fs::FileType),
) -> Answer<()> {
    // A separate descriptor: a folder's position belongs to the open file.
    let fd = rustix::fs::openat(folder, ".", super::folders::FOLDER, rustix::fs::Mode::empty())?;
    let mut room = Vec::with_capacity(64 << 10);
    let mut entries = RawDir::new(fd, room.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            tell(entry.file_name(), entry.ino(), entry.file_type());
        }
    }
    Ok(())
}
