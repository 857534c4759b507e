//! Copied-up files of several names: the copy stays one file under all of them. This includes names that no process has
//! used yet, which still lead to the lower file. A link in the work folder stands for the copy.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::copyup::{CopyContent, times_of};
use super::node::{Node, NodePlace, UPPER};
use super::number::{InodeNumbers, RealFile};
use super::work::WorkFolder;
use super::{FsResult, OverlayTree, stat_at};
use crate::layer::for_each_entry;

/// Copied files of several names, by number.
#[derive(Default)]
pub struct CopiedLinks(Mutex<HashMap<u64, CopiedLink>>);

#[derive(Clone)]
struct CopiedLink {
    /// Name in the work folder.
    name: OsString,
    /// Number of names in the merged tree.
    count: u32,
}

impl CopiedLinks {
    /// Loads the files that an earlier mount of the upper layer copied.
    pub fn load(work: &WorkFolder, numbers: &InodeNumbers) -> FsResult<Self> {
        let mut names = Vec::new();
        for_each_entry(&work.links, |name, _, _| {
            names.extend(name.to_str().ok().map(str::to_owned));
        })?;
        let mut links = HashMap::new();
        for name in names {
            let Some(lower) = parse(&name) else { continue };
            let stat = stat_at(&work.links, name.as_ref())?;
            let number = numbers.of(lower);
            numbers.keep(RealFile { dev: stat.st_dev, ino: stat.st_ino }, number);
            // Names that still lead to the lower file are not counted: their number is unknown.
            let count = (stat.st_nlink as u32).max(2);
            links.insert(number, CopiedLink { name: name.into(), count });
        }
        Ok(Self(Mutex::new(links)))
    }

    fn find(&self, number: u64) -> Option<CopiedLink> {
        self.0.lock().get(&number).cloned()
    }

    /// Returns the number of names of a file, if it is one of these.
    pub fn count(&self, number: u64) -> Option<u32> {
        self.0.lock().get(&number).map(|link| link.count)
    }

    /// Returns the name of a file in the work folder.
    pub fn name(&self, number: u64) -> Option<OsString> {
        self.find(number).map(|link| link.name)
    }

    /// Counts one name more.
    pub fn add(&self, number: u64) {
        if let Some(link) = self.0.lock().get_mut(&number) {
            link.count += 1;
        }
    }

    /// Counts one name less. After the last, returns the name in the work folder, for removal.
    pub fn remove(&self, number: u64) -> Option<OsString> {
        let mut links = self.0.lock();
        let link = links.get_mut(&number)?;
        link.count -= 1;
        (link.count == 0).then(|| links.remove(&number).map(|link| link.name)).flatten()
    }
}

fn parse(name: &str) -> Option<RealFile> {
    let (dev, ino) = name.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(RealFile { dev: number(dev)?, ino: number(ino)? })
}

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
        self.links.0.lock().insert(node.id, CopiedLink { name, count });
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
        if self.links.0.lock().is_empty() {
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
            let folder = self.layer_folder(&parent, UPPER)?;
            let times = rustix::fs::fstat(&folder)?;
            if matches!(stat_at(&folder, &name), Err(Errno::NOENT)) {
                self.link_copy(node, &folder, &name)?;
                rustix::fs::futimens(&folder, &times_of(&times))?;
            }
        }
        Ok(())
    }

    /// Returns the place of a copied file whose name still leads to the lower one.
    pub(super) fn linked_place(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
    ) -> (NodePlace, super::LayerIndex) {
        let mut place = NodePlace::of(parent, name);
        place.rare().linked = true;
        (place, UPPER)
    }
}
