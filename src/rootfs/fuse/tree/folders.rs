//! Descriptors of folders: opened from their parents when needed, and limited in number.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::node::{Layer, Node, Opened};
use super::{Answer, Tree};

/// Flags for opening every folder of a layer.
pub const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Open folders, in the order in which they are considered for closing.
pub struct Folders {
    most: usize,
    open: Mutex<VecDeque<(Weak<Node>, Layer)>>,
}

impl Folders {
    /// Makes a list of at most `most` open folders, the roots not counted.
    pub fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Keeps the roots of the layers open for ever.
    pub fn keep_roots(&self, root: &Node, roots: Vec<(Layer, OwnedFd)>) {
        if let Some(folder) = &root.folder {
            folder.open.lock().extend(roots.into_iter().map(|(layer, fd)| Opened {
                layer,
                fd: Arc::new(fd),
                used: AtomicBool::new(true),
            }));
        }
    }

    /// Notes that a folder was opened. Above the limit, closes a folder that was not used lately.
    fn note(&self, node: &Arc<Node>, layer: Layer) {
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
fn was_used(node: &Node, layer: Layer) -> bool {
    let Some(folder) = &node.folder else { return false };
    let mut open = folder.open.lock();
    let Some(place) = open.iter().position(|opened| opened.layer == layer) else { return false };
    let used = open[place].used.swap(false, Ordering::Relaxed);
    if !used {
        open.swap_remove(place);
    }
    used
}

/// Returns the descriptor of a folder in a layer, if open. Errors: ENOTDIR.
fn open_already(node: &Node, layer: Layer) -> Answer<Option<Arc<OwnedFd>>> {
    let folder = node.folder.as_ref().ok_or(Errno::NOTDIR)?;
    let open = folder.open.lock();
    let opened = open.iter().find(|opened| opened.layer == layer);
    Ok(opened.map(|opened| {
        opened.used.store(true, Ordering::Relaxed);
        opened.fd.clone()
    }))
}

impl Tree {
    /// Returns a descriptor of a folder in a layer that holds it. Errors: ENOENT when the folder vanished from the
    /// layer.
    pub(super) fn folder_fd(&self, node: &Arc<Node>, layer: Layer) -> Answer<Arc<OwnedFd>> {
        match open_already(node, layer)? {
            Some(fd) => Ok(fd),
            None => self.open_from_above(node, layer),
        }
    }

    /// Opens a folder, and the closed ones above it: in a loop, as a tree may be deeper than a stack.
    fn open_from_above(&self, node: &Arc<Node>, layer: Layer) -> Answer<Arc<OwnedFd>> {
        let mut closed = Vec::new();
        let mut folder = node.clone();
        let mut fd = loop {
            let (parent, name) = {
                let place = folder.place.read();
                if let Some(held) = place.rare.as_ref().and_then(|rare| rare.held.clone()) {
                    break held;
                }
                (place.parent.clone().ok_or(Errno::STALE)?, place.name.clone())
            };
            closed.push((std::mem::replace(&mut folder, parent), name));
            if let Some(fd) = open_already(&folder, layer)? {
                break fd;
            }
        };
        for (folder, name) in closed.iter().rev() {
            let opened = self.retrying(|| rustix::fs::openat(&*fd, &**name, FOLDER, Mode::empty()));
            fd = self.keep_open(folder, layer, opened?);
        }
        Ok(fd)
    }

    /// Keeps the descriptor of a folder that was just opened.
    pub(super) fn keep_open(&self, node: &Arc<Node>, layer: Layer, fd: OwnedFd) -> Arc<OwnedFd> {
        let fd = Arc::new(fd);
        if let Some(folder) = &node.folder {
            let mut open = folder.open.lock();
            if let Some(other) = open.iter().find(|opened| opened.layer == layer) {
                return other.fd.clone(); // another thread was faster
            }
            open.push(Opened { layer, fd: fd.clone(), used: AtomicBool::new(true) });
            drop(open);
            self.folders.note(node, layer);
        }
        fd
    }

    /// Calls `open`, and once more with fewer folders open when descriptors have run out.
    pub(super) fn retrying<T>(&self, open: impl Fn() -> Answer<T>) -> Answer<T> {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.folders.close_all();
                open()
            }
            answer => answer,
        }
    }
}
