//! Open folders, limited in number: each on disk has a descriptor, each in an image takes memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::layers::FsResult;
use super::node::{LayerIndex, Node, OpenFolder};
use crate::layer::LowerFolder;

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
    pub fn keep_roots(&self, root: &Node, roots: Vec<(LayerIndex, LowerFolder)>) {
        if let Some(folder) = &root.folder {
            folder.open.lock().extend(roots.into_iter().map(|(layer, root)| OpenFolder {
                layer,
                folder: root,
                used: AtomicBool::new(true),
            }));
        }
    }

    /// Notes that a folder was opened. Above the limit, closes a folder that was not used lately.
    pub fn note(&self, node: &Arc<Node>, layer: LayerIndex) {
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
pub fn open_already(node: &Node, layer: LayerIndex) -> FsResult<Option<LowerFolder>> {
    let folder = node.folder.as_ref().ok_or(Errno::NOTDIR)?;
    let open = folder.open.lock();
    let opened = open.iter().find(|opened| opened.layer == layer);
    Ok(opened.map(|opened| {
        opened.used.store(true, Ordering::Relaxed);
        opened.folder.clone()
    }))
}
