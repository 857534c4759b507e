//! Nodes: the files of the tree that the kernel knows, by number, and their lifetime. A [`NodePlace`] is the location of a
//! node's file; a folder also has the layers that hold it.
//!
//! A node stays while the kernel holds lookups of it, or while one of its children stays: a folder's children find
//! their files through it. Locks are taken from a node to its parents, never the other way.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::layer::squashfs::InodeRef;
use crate::layer::{LowerFolder, WhiteoutForms};

/// Number of the root in FUSE.
pub const ROOT: u64 = 1;

/// Index of a layer: 0 is the upper one, 1 the topmost lower one.
pub type LayerIndex = u16;

/// The upper layer.
pub const UPPER: LayerIndex = 0;

/// File or folder of the merged tree.
pub struct Node {
    /// Number of the node, which is also its inode number.
    pub id: u64,
    /// Bits of S_IFMT.
    pub kind: u32,
    /// Generation: tells apart two files that used the same number one after the other.
    pub generation: u32,
    /// Topmost layer with this file.
    layer: AtomicU16,
    /// Location of the file in that layer, if it is an image. Without meaning once the file is in the upper layer.
    pub location: Option<InodeRef>,
    /// True if no name of the merged tree leads to the file any more.
    removed: AtomicBool,
    /// True for a file made here, without a later attribute: it can have no capabilities.
    no_capabilities: AtomicBool,
    lookups: AtomicU64,
    children: AtomicU32,
    /// Number of open files that allow writing.
    writers: AtomicU32,
    /// Location of the file.
    pub place: RwLock<NodePlace>,
    /// State of a folder; `None` for other files.
    pub folder: Option<Box<FolderState>>,
}

/// Location of a node's file: name and folder, in the topmost layer with this file.
#[derive(Default)]
pub struct NodePlace {
    /// Folder of the file; `None` for the root and for removed files.
    pub parent: Option<Arc<Node>>,
    /// Name in the folder.
    pub name: Box<OsStr>,
    /// State that few files have.
    pub rare: Option<Box<RareState>>,
}

/// State that few files have.
#[derive(Default)]
pub struct RareState {
    /// Descriptor of a file without a name.
    pub held: Option<Arc<OwnedFd>>,
    /// More names of the same file in the upper layer.
    pub names: Vec<(Arc<Node>, OsString)>,
    /// True if a hard link in the work folder keeps the names of a copied file one.
    pub linked: bool,
}

/// State of a folder.
pub struct FolderState {
    /// Layers that hold the folder, the topmost first.
    pub layers: RwLock<Vec<LayerIndex>>,
    /// Open descriptors of the folder, by layer.
    pub open: Mutex<Vec<OpenFolder>>,
    /// Default ACL of the folder: 0 unknown, 1 none, 2 present.
    pub default_acl: AtomicU8,
    /// Forms of whiteouts that the folder may have in a layer, for the layers checked.
    pub forms: Mutex<Vec<(LayerIndex, WhiteoutForms)>>,
}

/// Open folder of one layer.
pub struct OpenFolder {
    /// Layer of the folder.
    pub layer: LayerIndex,
    /// The folder.
    pub folder: LowerFolder,
    /// True if used since it was last considered for closing.
    pub used: AtomicBool,
}

/// Origin of a new node: its file in the layers. The default is a file of the upper layer.
#[derive(Default)]
pub struct NodeOrigin {
    /// Topmost layer with the file.
    pub layer: LayerIndex,
    /// All layers of a folder, the topmost first; empty for other files.
    pub layers: Vec<LayerIndex>,
    /// [`Node::location`].
    pub location: Option<InodeRef>,
}

impl Node {
    /// Makes a node that is not in the table yet.
    pub fn new(id: u64, kind: u32, place: NodePlace, origin: NodeOrigin) -> Self {
        let NodeOrigin { layer, layers, location } = origin;
        let folder = (kind == libc::S_IFDIR).then(|| {
            Box::new(FolderState {
                layers: RwLock::new(layers),
                open: Mutex::default(),
                default_acl: AtomicU8::new(0),
                forms: Mutex::default(),
            })
        });
        if let Some(parent) = &place.parent {
            parent.children.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            id,
            kind,
            generation: 0,
            layer: AtomicU16::new(layer),
            location,
            removed: AtomicBool::new(false),
            no_capabilities: AtomicBool::new(false),
            lookups: AtomicU64::new(0),
            children: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            place: RwLock::new(place),
            folder,
        }
    }

    /// Returns the topmost layer with this file.
    pub fn layer(&self) -> LayerIndex {
        self.layer.load(Ordering::Acquire)
    }

    /// Moves the node to the upper layer.
    pub fn set_upper(&self) {
        self.layer.store(UPPER, Ordering::Release);
    }

    /// True if no name leads to the file.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Notes that the last name was removed.
    pub fn set_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// True if the file has no capabilities for certain. The kernel asks for them before it changes any file.
    pub fn has_no_capabilities(&self) -> bool {
        self.no_capabilities.load(Ordering::Acquire)
    }

    /// Notes that the file was made just now.
    pub fn set_no_capabilities(&self) {
        self.no_capabilities.store(true, Ordering::Release);
    }

    /// Notes that an attribute is about to be set.
    pub fn clear_no_capabilities(&self) {
        self.no_capabilities.store(false, Ordering::Release);
    }

    /// Counts an open file that allows writing.
    pub fn add_writer(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts the end of an open file that allowed writing.
    pub fn remove_writer(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// True if the kernel may hold pages that are newer than the file. The kernel writes these pages back at close(2)
    /// at the latest.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// Returns the layers of a folder, the topmost first; empty for other files.
    pub fn layers(&self) -> Vec<LayerIndex> {
        self.folder.as_ref().map(|folder| folder.layers.read().clone()).unwrap_or_default()
    }

    /// True if lower layers hold the folder too.
    pub fn is_merged(&self) -> bool {
        let folder = self.folder.as_ref();
        folder.is_some_and(|folder| folder.layers.read().iter().any(|layer| *layer != UPPER))
    }
}

/// Drops the folders above one by one: their chain is as long as the tree is deep, which may exceed the stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut folder) = next {
            next = Arc::get_mut(&mut folder).and_then(|last| last.place.get_mut().parent.take());
        }
    }
}

impl NodePlace {
    /// Makes the place `name` in `parent`.
    pub fn of(parent: &Arc<Node>, name: &OsStr) -> Self {
        Self { parent: Some(parent.clone()), name: name.into(), rare: None }
    }

    /// True if the place is `name` in `parent`.
    pub fn is(&self, parent: &Node, name: &OsStr) -> bool {
        self.parent.as_ref().is_some_and(|own| own.id == parent.id) && *self.name == *name
    }

    /// Returns the state that few files have, and makes it where it is missing.
    pub fn rare(&mut self) -> &mut RareState {
        self.rare.get_or_insert_default()
    }
}

const SHARDS: usize = 64;

/// All nodes that the kernel knows.
pub struct Nodes {
    shards: Vec<Mutex<HashMap<u64, Arc<Node>, NumberHasher>>>,
}

/// Hasher of node numbers: a multiplication spreads them well enough.
type NumberHasher = std::hash::BuildHasherDefault<SpreadingHasher>;

/// Hasher of a single `u64`.
#[derive(Default)]
pub struct SpreadingHasher(u64);

impl std::hash::Hasher for SpreadingHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Nodes {
    /// Makes a table with only the root.
    pub fn new(root: Node) -> Self {
        let nodes = Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() };
        root.lookups.store(1, Ordering::Relaxed);
        nodes.shard(root.id).lock().insert(root.id, Arc::new(root));
        nodes
    }

    fn shard(&self, id: u64) -> &Mutex<HashMap<u64, Arc<Node>, NumberHasher>> {
        &self.shards[(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % SHARDS]
    }

    /// Returns the node of this number.
    pub fn find(&self, id: u64) -> Option<Arc<Node>> {
        self.shard(id).lock().get(&id).cloned()
    }

    /// Returns the node of this number, with one more lookup; `make` makes a missing one. True: the node was known.
    pub fn look_up(&self, id: u64, kind: u32, make: impl FnOnce() -> Node) -> (Arc<Node>, bool) {
        use std::collections::hash_map::Entry;
        let mut shard = self.shard(id).lock();
        match shard.entry(id) {
            Entry::Occupied(mut known) => {
                let old = known.get().clone();
                if old.is_removed() || old.kind != kind {
                    // Another file has this number now. The kernel's lookups are counted by number.
                    let mut node = make();
                    node.generation = old.generation.wrapping_add(1);
                    node.lookups = AtomicU64::new(old.lookups.load(Ordering::Relaxed) + 1);
                    let node = Arc::new(node);
                    known.insert(node.clone());
                    return (node, false);
                }
                old.lookups.fetch_add(1, Ordering::Relaxed);
                (old, true)
            }
            Entry::Vacant(free) => {
                let node = make();
                node.lookups.store(1, Ordering::Relaxed);
                (free.insert(Arc::new(node)).clone(), false)
            }
        }
    }

    /// Takes back `count` lookups, on the kernel's request.
    pub fn forget(&self, id: u64, count: u64) {
        let Some(node) = self.find(id) else { return };
        let before = node.lookups.load(Ordering::Relaxed);
        // The kernel never takes back more than it has; a hostile one would only lose its node early.
        let _ = node.lookups.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |lookups| {
            Some(lookups.saturating_sub(count))
        });
        if before <= count {
            self.drop_unused(&node);
        }
    }

    /// Removes an unused node from the table, then its folder if the node was the folder's last user.
    pub fn drop_unused(&self, node: &Arc<Node>) {
        let mut node = node.clone();
        loop {
            {
                let mut shard = self.shard(node.id).lock();
                let unused = node.lookups.load(Ordering::Acquire) == 0
                    && node.children.load(Ordering::Acquire) == 0
                    && shard.get(&node.id).is_some_and(|known| Arc::ptr_eq(known, &node));
                if !unused || node.id == ROOT {
                    return;
                }
                shard.remove(&node.id);
            }
            let mut place = node.place.write();
            let others = place.rare.take().map(|rare| rare.names).unwrap_or_default();
            let parent = place.parent.take();
            drop(place);
            for (folder, _) in others {
                self.release(&folder);
            }
            let Some(parent) = parent else { return };
            parent.children.fetch_sub(1, Ordering::AcqRel);
            node = parent;
        }
    }

    /// Counts one child or name less that keeps `folder`.
    pub fn release(&self, folder: &Arc<Node>) {
        folder.children.fetch_sub(1, Ordering::AcqRel);
        self.drop_unused(folder);
    }

    /// Counts one child or name more that keeps `folder`.
    pub fn keep(folder: &Arc<Node>) {
        folder.children.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
