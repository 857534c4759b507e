//! Folders of the layers: opened from their parents when needed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::io::Errno;

use super::layers::FsResult;
use super::node::{LayerIndex, Node, OpenFolder, UPPER};
use super::open_folders::open_already;
use super::overlay::OverlayTree;
use crate::layer::{DiskFolder, LayerFolder, LowerFolder};

impl OverlayTree {
    /// Returns a folder in a layer that holds it. Errors: ENOENT when the folder vanished from the layer.
    pub(super) fn layer_folder(
        &self,
        node: &Arc<Node>,
        layer: LayerIndex,
    ) -> FsResult<LowerFolder> {
        match open_already(node, layer)? {
            Some(folder) => Ok(folder),
            None => self.open_from_above(node, layer),
        }
    }

    /// Returns a folder in the upper layer, which holds it. Errors: as [`OverlayTree::layer_folder`].
    pub(super) fn upper_folder(&self, node: &Arc<Node>) -> FsResult<DiskFolder> {
        match self.layer_folder(node, UPPER)? {
            LowerFolder::Disk(folder) => Ok(folder),
            LowerFolder::Squashfs(_) => Err(Errno::ROFS),
        }
    }

    /// Opens a folder, and the closed ones above it: in a loop, as a tree may be deeper than a stack.
    fn open_from_above(&self, node: &Arc<Node>, layer: LayerIndex) -> FsResult<LowerFolder> {
        let mut closed = Vec::new();
        let mut folder = node.clone();
        let mut opened = loop {
            let (parent, name) = {
                let place = folder.place.read();
                if let Some(held) = place.rare.as_ref().and_then(|rare| rare.held.clone()) {
                    break DiskFolder::from(held).into();
                }
                (place.parent.clone().ok_or(Errno::STALE)?, place.name.clone())
            };
            closed.push((std::mem::replace(&mut folder, parent), name));
            if let Some(folder) = open_already(&folder, layer)? {
                break folder;
            }
        };
        for (folder, name) in closed.iter().rev() {
            let inner = self.retry_with_fewer_open(|| opened.open_folder(name))?;
            opened = self.keep_open(folder, layer, inner);
        }
        Ok(opened)
    }

    /// Keeps a folder that was just opened.
    pub(super) fn keep_open(
        &self,
        node: &Arc<Node>,
        layer: LayerIndex,
        folder: LowerFolder,
    ) -> LowerFolder {
        if let Some(state) = &node.folder {
            let mut open = state.open.lock();
            if let Some(other) = open.iter().find(|opened| opened.layer == layer) {
                return other.folder.clone(); // another thread was faster
            }
            open.push(OpenFolder { layer, folder: folder.clone(), used: AtomicBool::new(true) });
            drop(open);
            self.folders.note(node, layer);
        }
        folder
    }

    /// Calls `open`, and once more with fewer folders open when descriptors have run out.
    pub(super) fn retry_with_fewer_open<T>(&self, open: impl Fn() -> FsResult<T>) -> FsResult<T> {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.folders.close_all();
                open()
            }
            answer => answer,
        }
    }
}
