//! Copied-up files of several names: the copy stays one file under all of them. This includes names that no process has
//! used yet, which still lead to the lower file. A link in the work folder stands for the copy.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::copied_links::CopiedLink;
use super::copyup::{CopyContent, times_of};
use super::layers::{FsResult, stat_at};
use super::node::{Node, NodePlace};
use super::number::RealFile;
use super::overlay::OverlayTree;
use super::work::WorkFolder;

impl OverlayTree {
    /// Keeps a copy that has other, lower names. Its folder and name are those of `place`.
    pub(super) fn keep_link(
        &self,
        work: &WorkFolder,
        node: &Arc<Node>,
        folder: BorrowedFd<'_>,
        place: &mut NodePlace,
        source: &Stat,
    ) -> FsResult<()> {
        let name = OsString::from(format!("{:x}-{:x}", source.st_dev, source.st_ino));
        rustix::fs::linkat(folder, &*place.name, &work.links, &name, AtFlags::empty())?;
        place.rare().linked = true;
        let count = source.st_nlink as u32;
        self.links.insert(node.id, CopiedLink { name, count });
        Ok(())
    }

    /// True if a lower file was copied up under another of its names.
    pub(super) fn is_copied_under_another_name(&self, stat: &Stat) -> bool {
        stat.st_nlink > 1
            && self.work.is_some()
            && self
                .links
                .count(self.numbers.of(RealFile { dev: stat.st_dev, ino: stat.st_ino }))
                .is_some()
    }

    /// Gives a copied file the name that still leads to the lower one.
    pub(super) fn link_copy(
        &self,
        node: &Arc<Node>,
        folder: impl AsFd,
        name: &OsStr,
    ) -> FsResult<()> {
        let Some(link) = self.links.name(node.id) else { return Ok(()) };
        match rustix::fs::linkat(&self.work()?.links, &link, folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts a copied file into the upper layer under all its known names. The server cannot tell which name the next
    /// change uses, and the upper layer alone must show the change.
    pub(super) fn link_under_all_names(&self, node: &Arc<Node>) -> FsResult<()> {
        if self.links.is_empty() {
            return Ok(());
        }
        let names: Vec<(Arc<Node>, OsString)> = {
            let place = node.place.read();
            match (&place.rare, &place.parent) {
                (Some(rare), Some(parent)) if rare.linked => {
                    let first = (parent.clone(), place.name.to_os_string());
                    rare.names.iter().cloned().chain([first]).collect()
                }
                _ => return Ok(()),
            }
        };
        for (parent, name) in names {
            self.copy_up(&parent, CopyContent::Whole)?;
            let _moves = self.moves.read();
            let folder = self.upper_folder(&parent)?;
            let times = rustix::fs::fstat(&folder)?;
            if matches!(stat_at(&folder, &name), Err(Errno::NOENT)) {
                self.link_copy(node, &folder, &name)?;
                rustix::fs::futimens(&folder, &times_of(&times))?;
            }
        }
        Ok(())
    }

    /// Returns the place of a copied file whose name still leads to the lower one.
    pub(super) fn linked_place(parent: &Arc<Node>, name: &OsStr) -> NodePlace {
        let mut place = NodePlace::of(parent, name);
        place.rare().linked = true;
        place
    }
}
