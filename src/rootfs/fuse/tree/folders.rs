//! Descriptors of folders: opened from their parents when needed, and limited in number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::node::{LayerIndex, Node, OpenFolder};
use super::{FsResult, OverlayTree};
use crate::layer::{DiskFolder, LayerFolder};

/// Open folders, in the order in which they are considered for closing.
pub struct OpenFolders {
    most: usize,
    open: Mutex<VecDeque<(Weak<Node>, LayerIndex)>>,
}

impl OpenFolders {
    /// Makes a list of at most `most` open folders, the roots not counted.
    pub fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Keeps the roots of the layers open for ever.
    pub fn keep_roots(&self, root: &Node, roots: Vec<(LayerIndex, DiskFolder)>) {
        if let Some(folder) = &root.folder {
            folder.open.lock().extend(roots.into_iter().map(|(layer, root)| OpenFolder {
                layer,
                folder: root,
                used: AtomicBool::new(true),
            }));
        }
    }

    /// Notes that a folder was opened. Above the limit, closes a folder that was not used lately.
    fn note(&self, node: &Arc<Node>, layer: LayerIndex) {
        let mut open = self.open.lock();
        open.push_back((Arc::downgrade(node), layer));
        let mut considered = 0;
        while open.len() > self.most && considered < self.most * 2 {
            considered += 1;
            let Some((node, layer)) = open.pop_front() else { return };
            if let Some(node) = node.upgrade()
                && was_used(&node, layer)
            {
                open.push_back((Arc::downgrade(&node), layer));
            }
        }
    }

    /// Closes all folders but the roots: descriptors have run out.
    pub fn close_all(&self) {
        for (node, layer) in self.open.lock().drain(..) {
            if let Some(folder) = node.upgrade().as_ref().and_then(|node| node.folder.as_ref()) {
                folder.open.lock().retain(|opened| opened.layer != layer);
            }
        }
    }
}

/// True if the folder was used since the last call; closes an unused folder.
fn was_used(node: &Node, layer: LayerIndex) -> bool {
    let Some(folder) = &node.folder else { return false };
    let mut open = folder.open.lock();
    let Some(place) = open.iter().position(|opened| opened.layer == layer) else { return false };
    let used = open[place].used.swap(false, Ordering::Relaxed);
    if !used {
        open.swap_remove(place);
    }
    used
}

/// Returns a folder in a layer, if open. Errors: ENOTDIR.
fn open_already(node: &Node, layer: LayerIndex) -> FsResult<Option<DiskFolder>> {
    let folder = node.folder.as_ref().ok_or(Errno::NOTDIR)?;
    let open = folder.open.lock();
    let opened = open.iter().find(|opened| opened.layer == layer);
    Ok(opened.map(|opened| {
        opened.used.store(true, Ordering::Relaxed);
        opened.folder.clone()
    }))
}

impl OverlayTree {
    /// Returns a folder in a layer that holds it. Errors: ENOENT when the folder vanished from the layer.
    pub(super) fn layer_folder(&self, node: &Arc<Node>, layer: LayerIndex) -> FsResult<DiskFolder> {
        match open_already(node, layer)? {
            Some(folder) => Ok(folder),
            None => self.open_from_above(node, layer),
        }
    }

    /// Opens a folder, and the closed ones above it: in a loop, as a tree may be deeper than a stack.
    fn open_from_above(&self, node: &Arc<Node>, layer: LayerIndex) -> FsResult<DiskFolder> {
        let mut closed = Vec::new();
        let mut folder = node.clone();
        let mut opened = loop {
            let (parent, name) = {
                let place = folder.place.read();
                if let Some(held) = place.rare.as_ref().and_then(|rare| rare.held.clone()) {
                    break held.into();
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
        folder: DiskFolder,
    ) -> DiskFolder {
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
