//! Removes files: from the upper layer, and by a whiteout over a lower one.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::layers::{FsResult, stat_at};
use super::node::{LayerIndex, Node, NodePlace, UPPER};
use super::number::RealFile;
use super::overlay::OverlayTree;
use crate::layer::DiskFolder;

/// File under a name before a change.
pub(super) struct PresentFile {
    /// Attributes of the topmost file, from stat(2).
    pub stat: Stat,
    /// Layer of the topmost file.
    pub layer: LayerIndex,
    /// True if lower layers have a file of that name: a whiteout must then hide it.
    pub below: bool,
}

impl PresentFile {
    /// Returns the bits of S_IFMT.
    pub fn kind(&self) -> u32 {
        self.stat.st_mode & libc::S_IFMT
    }
}

impl OverlayTree {
    /// Removes a file. Errors: EISDIR, ENOENT.
    pub fn unlink(&self, parent: u64, name: &OsStr) -> FsResult<()> {
        let parent = self.writable_folder(parent, name)?;
        let _moves = self.moves.read();
        let there = self.present(&parent, name)?.ok_or(Errno::NOENT)?;
        if there.kind() == libc::S_IFDIR {
            return Err(Errno::ISDIR);
        }
        let folder = self.upper_folder(&parent)?;
        let node = self.node_of(&there);
        let mut place = node.as_ref().map(|node| node.place.write());
        let held = match (&node, &mut place) {
            (Some(node), Some(place)) => {
                self.hold_if_last(node, place, &parent, &folder, name, &there)?
            }
            _ => None,
        };
        self.remove_found(&folder, name, &there)?;
        if let (Some(node), Some(mut place)) = (&node, place) {
            let released = self.lose_name(node, &mut place, &parent, name, held);
            drop(place);
            released.iter().for_each(|folder| self.nodes.release(folder));
        }
        self.forget_removed(&there);
        Ok(())
    }

    /// Removes an empty folder. Errors: ENOTDIR, ENOENT, ENOTEMPTY.
    pub fn remove_folder(&self, parent: u64, name: &OsStr) -> FsResult<()> {
        let parent = self.writable_folder(parent, name)?;
        let _moves = self.moves.read();
        let there = self.present(&parent, name)?.ok_or(Errno::NOENT)?;
        if there.kind() != libc::S_IFDIR {
            return Err(Errno::NOTDIR);
        }
        let folder = self.upper_folder(&parent)?;
        // The kernel has looked the folder up before it sends this request.
        let node = self.node_of(&there).ok_or(Errno::STALE)?;
        let held = self.layer_folder(&node, node.layer())?;
        // For a folder of the upper layer alone, rmdir(2) decides. A merged folder may contain whiteouts.
        let alone = there.layer == UPPER && !there.below && !node.is_merged();
        let mut place = node.place.write();
        let removed = match alone {
            true => rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR),
            false => Err(Errno::NOTEMPTY),
        };
        match removed {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                drop(place);
                if !self.is_empty(&node)? {
                    return Err(Errno::NOTEMPTY);
                }
                place = node.place.write();
                self.remove_found(&folder, name, &there)?;
            }
            answer => answer?,
        }
        // The node of a folder in an image has its location there.
        place.rare().held = held.on_disk().map(|held| held.descriptor().clone());
        node.set_removed();
        drop(place);
        self.forget_removed(&there);
        Ok(())
    }

    /// Finds the file under a name, and whether lower layers have the name too.
    pub(super) fn present(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
    ) -> FsResult<Option<PresentFile>> {
        let folder = self.upper_folder(parent)?;
        let upper = match stat_at(&folder, name) {
            Ok(stat) if self.is_whiteout(parent, UPPER, &folder, name, &stat)? => return Ok(None),
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) if self.is_hidden_by_name(parent, UPPER, &folder, name)? => {
                return Ok(None);
            }
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        let lower = match parent.is_merged() {
            true => self.search(parent, name, 1)?,
            false => None,
        };
        let below = lower.is_some();
        Ok(match (upper, lower) {
            (Some(stat), _) => Some(PresentFile { stat, layer: UPPER, below }),
            (None, Some(found)) => {
                Some(PresentFile { stat: found.stat, layer: found.layer, below })
            }
            (None, None) => None,
        })
    }

    /// Returns the node of a found file, if the kernel knows it.
    pub(super) fn node_of(&self, there: &PresentFile) -> Option<Arc<Node>> {
        let real = RealFile { dev: there.stat.st_dev, ino: there.stat.st_ino };
        self.nodes.find(self.numbers.of(real)).filter(|node| !node.is_removed())
    }

    /// Removes a found file from the tree.
    pub(super) fn remove_found(
        &self,
        folder: &DiskFolder,
        name: &OsStr,
        there: &PresentFile,
    ) -> FsResult<()> {
        match (there.layer, there.below) {
            (UPPER, false) if there.kind() == libc::S_IFDIR => {
                match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
                    // Whiteouts of files that are gone below, or of an opaque folder.
                    Err(Errno::NOTEMPTY | Errno::EXIST) => {
                        let work = self.work()?;
                        let old = work.new_name();
                        rustix::fs::renameat(folder, name, &work.fd, &old)?;
                        work.discard(&old);
                        Ok(())
                    }
                    answer => answer,
                }
            }
            (UPPER, false) => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
            (UPPER, true) => self.replace_by_whiteout(folder, name, there.kind()),
            _ => self.make_whiteout(folder, name, folder),
        }
    }

    /// True if a folder shows no entries.
    pub(super) fn is_empty(&self, node: &Arc<Node>) -> FsResult<bool> {
        Ok(self.list(node)?.len() <= 2)
    }

    /// Opens a file of the upper layer whose last known name is about to go: a process may have it open.
    pub(super) fn hold_if_last(
        &self,
        node: &Arc<Node>,
        place: &NodePlace,
        parent: &Arc<Node>,
        folder: &DiskFolder,
        name: &OsStr,
        there: &PresentFile,
    ) -> FsResult<Option<Arc<OwnedFd>>> {
        let rare = place.rare.as_deref();
        let more = rare.is_some_and(|rare| !rare.names.is_empty() || rare.held.is_some());
        if there.layer != UPPER || node.layer() != UPPER || more || !place.is(parent, name) {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            self.retry_with_fewer_open(|| rustix::fs::openat(folder, name, flags, Mode::empty()))?;
        Ok(Some(Arc::new(fd)))
    }

    /// Notes that a node has lost a name; returns a folder that the node does not keep any longer.
    #[must_use]
    pub(super) fn lose_name(
        &self,
        node: &Arc<Node>,
        place: &mut NodePlace,
        parent: &Arc<Node>,
        name: &OsStr,
        held: Option<Arc<OwnedFd>>,
    ) -> Option<Arc<Node>> {
        if !place.is(parent, name) {
            let rare = place.rare.as_mut()?;
            let index = rare
                .names
                .iter()
                .position(|(folder, other)| folder.id == parent.id && other == name)?;
            return Some(rare.names.swap_remove(index).0);
        }
        let next = place.rare.as_mut().and_then(|rare| rare.names.pop());
        if let Some((folder, other)) = next {
            place.name = other.into_boxed_os_str();
            return place.parent.replace(folder);
        }
        if place.rare.as_ref().is_some_and(|rare| rare.linked)
            && self.links.count(node.id) > Some(1)
        {
            return None; // the link in the work folder stands for names that no process has used yet
        }
        if held.is_some() {
            place.rare().held = held;
        }
        node.set_removed();
        None
    }

    /// Forgets a removed file's number, and removes the link that stands for its names, after the last name.
    pub(super) fn forget_removed(&self, there: &PresentFile) {
        let real = RealFile { dev: there.stat.st_dev, ino: there.stat.st_ino };
        let number = self.numbers.of(real);
        if let Some(link) = self.links.remove(number)
            && let Ok(work) = self.work()
        {
            let _ = rustix::fs::unlinkat(&work.links, &link, AtFlags::empty());
        }
        if there.layer == UPPER && (there.kind() == libc::S_IFDIR || there.stat.st_nlink == 1) {
            self.numbers.release(real);
        }
    }
}
