//! Renames: one rename in the upper layer, with whiteouts over lower files. Folders of lower layers are not moved
//! (EXDEV, as in the kernel's overlay without `redirect_dir`): mv(1) and its like copy them then.

use std::ffi::OsStr;
use std::sync::Arc;

use parking_lot::RwLockWriteGuard;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::copyup::CopyContent;
use super::layers::{FsResult, stat_at};
use super::node::{Node, NodePlace, Nodes, UPPER};
use super::overlay::OverlayTree;
use super::remove::PresentFile;
use super::work::WhiteoutForm;
use crate::layer::DiskFolder;

/// Treatment of a file that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace the file.
    Replace,
    /// Fail with EEXIST.
    Keep,
    /// Give the file the old name.
    Exchange,
}

/// Old or new name of a rename, with its file.
struct RenameEnd {
    parent: Arc<Node>,
    folder: DiskFolder,
    name: Box<OsStr>,
    there: Option<PresentFile>,
    node: Option<Arc<Node>>,
}

impl OverlayTree {
    /// Renames the file `name` in `parent`.
    pub fn rename(
        &self,
        parent: u64,
        name: &OsStr,
        new_parent: u64,
        new_name: &OsStr,
        mode: RenameMode,
    ) -> FsResult<()> {
        let parent = self.writable_folder(parent, name)?;
        let new_parent = self.writable_folder(new_parent, new_name)?;
        let (moved_kind, target_kind) = self.lift(&parent, name, &new_parent, new_name, mode)?;
        let folders = moved_kind == libc::S_IFDIR
            || (mode == RenameMode::Exchange && target_kind == Some(libc::S_IFDIR));
        // Files below a folder are found through it: no operation may be on the way while the folder moves.
        let (alone, together) = match folders {
            true => (Some(self.moves.write()), None),
            false => (None, Some(self.moves.read())),
        };
        let from = self.end(&parent, name)?;
        let to = self.end(&new_parent, new_name)?;
        let answer = match mode {
            RenameMode::Exchange => self.exchange(&from, &to),
            RenameMode::Keep if to.there.is_some() => Err(Errno::EXIST),
            _ => self.replace(&from, &to),
        };
        drop((alone, together));
        answer
    }

    /// Copies up the files to move; returns the types of both. Errors: EXDEV for folders of lower layers.
    fn lift(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
        new_parent: &Arc<Node>,
        new_name: &OsStr,
        mode: RenameMode,
    ) -> FsResult<(u32, Option<u32>)> {
        let (node, target) = {
            let _moves = self.moves.read();
            (self.node_at(parent, name)?.ok_or(Errno::NOENT)?, self.node_at(new_parent, new_name)?)
        };
        let movable = |node: &Arc<Node>| match node.kind == libc::S_IFDIR && node.is_merged() {
            true => Err(Errno::XDEV),
            false => Ok(()),
        };
        movable(&node)?;
        match (mode, &target) {
            (RenameMode::Exchange, None) => return Err(Errno::NOENT),
            (RenameMode::Exchange, Some(target)) => movable(target)?,
            (RenameMode::Keep, Some(_)) => return Err(Errno::EXIST),
            _ => {}
        }
        self.copy_up(&node, CopyContent::Whole)?;
        if let (RenameMode::Exchange, Some(target)) = (mode, &target) {
            self.copy_up(target, CopyContent::Whole)?;
        }
        Ok((node.kind, target.map(|target| target.kind)))
    }

    fn node_at(&self, parent: &Arc<Node>, name: &OsStr) -> FsResult<Option<Arc<Node>>> {
        Ok(match self.present(parent, name)? {
            // The kernel has looked the file up before it sends this request.
            Some(there) => Some(self.node_of(&there).ok_or(Errno::STALE)?),
            None => None,
        })
    }

    fn end(&self, parent: &Arc<Node>, name: &OsStr) -> FsResult<RenameEnd> {
        let folder = self.upper_folder(parent)?;
        let mut there = self.present(parent, name)?;
        let node = there.as_ref().and_then(|there| self.node_of(there));
        if let (Some(node), Some(present)) = (&node, &mut there)
            && present.layer != UPPER
            && node.layer() == UPPER
        {
            // Copied up under another name.
            self.link_copy(node, &folder, name)?;
            present.stat = stat_at(&folder, name)?;
            present.layer = UPPER;
        }
        Ok(RenameEnd { parent: parent.clone(), folder, name: name.into(), there, node })
    }

    fn replace(&self, from: &RenameEnd, to: &RenameEnd) -> FsResult<()> {
        let (Some(moved), Some(node)) = (&from.there, &from.node) else {
            return Err(Errno::NOENT);
        };
        let moves_folder = moved.kind() == libc::S_IFDIR;
        if let (Some(there), Some(target)) = (&to.there, &to.node) {
            if Arc::ptr_eq(node, target) {
                return Ok(()); // both are names of one file (rename(2))
            }
            if there.kind() == libc::S_IFDIR && !self.is_empty(target)? {
                return Err(Errno::NOTEMPTY);
            }
        }
        if moves_folder && to.parent.is_merged() {
            self.set_opaque(&from.folder, &from.name)?;
        }
        let held_folder = match (&to.there, &to.node) {
            (Some(there), Some(target)) if there.kind() == libc::S_IFDIR => {
                let folder = self.layer_folder(target, target.layer())?;
                folder.on_disk().map(|folder| folder.descriptor().clone())
            }
            _ => None,
        };
        let (mut place, mut replaced) = both(node, to.node.as_ref());
        let mut held = held_folder;
        if let (Some(there), Some(target), Some(replaced)) = (&to.there, &to.node, &replaced)
            && there.kind() != libc::S_IFDIR
        {
            held = self.hold_if_last(target, replaced, &to.parent, &to.folder, &to.name, there)?;
        }
        self.move_file(from, to, moved)?;
        let mut released = Vec::new();
        if let (Some(there), Some(target), Some(replaced)) = (&to.there, &to.node, &mut replaced) {
            if there.kind() == libc::S_IFDIR {
                replaced.rare().held = held;
                target.set_removed();
            } else {
                released.extend(self.lose_name(target, replaced, &to.parent, &to.name, held));
            }
        }
        released.extend(rename_place(&mut place, from, to));
        drop((place, replaced));
        if let Some(there) = &to.there {
            self.forget_removed(there);
        }
        released.iter().for_each(|folder| self.nodes.release(folder));
        Ok(())
    }

    /// Moves the file. Leaves a whiteout at the old name where a lower layer has that name.
    fn move_file(&self, from: &RenameEnd, to: &RenameEnd, moved: &PresentFile) -> FsResult<()> {
        let work = self.work()?;
        let over = stat_at(&to.folder, &to.name).ok();
        let moves_folder = moved.kind() == libc::S_IFDIR;
        let is_folder = |stat: &rustix::fs::Stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if let Some(over) = over.filter(|over| moves_folder || is_folder(over)) {
            // A folder over a whiteout, or over a folder of whiteouts: the two are exchanged, to hide lower files at
            // every moment.
            let exchange = RenameFlags::EXCHANGE;
            let names = (&*from.name, &*to.name);
            rustix::fs::renameat_with(&from.folder, names.0, &to.folder, names.1, exchange)?;
            if moved.below && self.is_whiteout(&from.parent, UPPER, &from.folder, names.0, &over)? {
                return Ok(());
            }
            if moved.below {
                let kind = over.st_mode & libc::S_IFMT;
                return self.replace_by_whiteout(&from.folder, names.0, kind);
            }
            let old = work.new_name();
            rustix::fs::renameat(&from.folder, names.0, &work.fd, &old)?;
            work.discard(&old);
            return Ok(());
        }
        if !moved.below {
            return rustix::fs::renameat(&from.folder, &*from.name, &to.folder, &*to.name);
        }
        if work.form == WhiteoutForm::Name {
            self.make_whiteout(&from.folder, &from.name, &from.folder)?;
            return rustix::fs::renameat(&from.folder, &*from.name, &to.folder, &*to.name);
        }
        // The kernel makes a device.
        let renamed = match work.form {
            WhiteoutForm::Device => rustix::fs::renameat_with(
                &from.folder,
                &*from.name,
                &to.folder,
                &*to.name,
                RenameFlags::WHITEOUT,
            ),
            _ => Err(Errno::OPNOTSUPP),
        };
        match renamed {
            // Without such a rename on this file system, a lower file is visible under the old name for an instant.
            Err(Errno::INVAL | Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::renameat(&from.folder, &*from.name, &to.folder, &*to.name)?;
                self.make_whiteout(&from.folder, &from.name, &from.folder)
            }
            answer => answer,
        }
    }

    fn exchange(&self, from: &RenameEnd, to: &RenameEnd) -> FsResult<()> {
        let (Some(one), Some(other)) = (&from.node, &to.node) else { return Err(Errno::NOENT) };
        if Arc::ptr_eq(one, other) {
            return Ok(());
        }
        for (moved, end, target) in [(one, from, to), (other, to, from)] {
            if moved.kind == libc::S_IFDIR && target.parent.is_merged() {
                self.set_opaque(&end.folder, &end.name)?;
            }
        }
        let (mut place, mut other_place) = both(one, Some(other));
        let exchange = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&from.folder, &*from.name, &to.folder, &*to.name, exchange)?;
        let mut released = Vec::new();
        released.extend(rename_place(&mut place, from, to));
        if let Some(other_place) = &mut other_place {
            released.extend(rename_place(other_place, to, from));
        }
        drop((place, other_place));
        released.iter().for_each(|folder| self.nodes.release(folder));
        Ok(())
    }
}

type Guard<'a> = RwLockWriteGuard<'a, NodePlace>;

/// Locks the places of two nodes, in the order of their numbers.
fn both<'a>(one: &'a Arc<Node>, other: Option<&'a Arc<Node>>) -> (Guard<'a>, Option<Guard<'a>>) {
    match other {
        None => (one.place.write(), None),
        Some(other) if other.id < one.id => {
            let second = other.place.write();
            (one.place.write(), Some(second))
        }
        Some(other) => {
            let first = one.place.write();
            (first, Some(other.place.write()))
        }
    }
}

/// Notes that a file moved from `from` to `to`; returns the folder that is not kept any longer.
fn rename_place(place: &mut NodePlace, from: &RenameEnd, to: &RenameEnd) -> Option<Arc<Node>> {
    Nodes::keep(&to.parent);
    if place.is(&from.parent, &from.name) || place.parent.is_none() {
        place.name = to.name.clone();
        return place.parent.replace(to.parent.clone());
    }
    let rare = place.rare();
    let known = rare
        .names
        .iter_mut()
        .find(|(folder, name)| folder.id == from.parent.id && **name == *from.name);
    match known {
        Some(known) => {
            known.1 = to.name.to_os_string();
            Some(std::mem::replace(&mut known.0, to.parent.clone()))
        }
        None => {
            rare.names.push((to.parent.clone(), to.name.to_os_string()));
            None
        }
    }
}
