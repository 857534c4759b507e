//! Nodes: what the kernel knows of the tree, by number, and for how long. Where a node's file lies is a [`Place`]; a
//! folder keeps besides which layers hold it.
//!
//! A node stays while the kernel holds lookups of it, or while one of its children stays: a folder's children find
//! their files through it. Locks are taken from a node to its parents, never the other way.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

/// The number of the root, as FUSE has it.
pub const ROOT: u64 = 1;

/// Which layer: 0 is the upper one, 1 the topmost lower one.
pub type Layer = u16;

/// The upper layer.
pub const UPPER: Layer = 0;

/// A file or folder of the merged tree.
pub struct Node {
    /// Its number, which is also its inode number.
    pub id: u64,
    /// The bits of S_IFMT.
    pub kind: u32,
    /// Tells two files apart that had the same number one after the other.
    pub generation: u32,
    /// The topmost layer that has it.
    layer: AtomicU16,
    /// No name of the merged tree leads to it any more.
    gone: AtomicBool,
    /// Made here, and no attribute was set since: it can have no capabilities.
    plain: AtomicBool,
    lookups: AtomicU64,
    children: AtomicU32,
    /// Open files through which it can be written.
    writers: AtomicU32,
    /// Where it is found.
    pub place: RwLock<Place>,
    /// What only folders have.
    pub folder: Option<Box<Folder>>,
}

/// Where the file of a node is: under which name of which folder, in the topmost layer that has it.
#[derive(Default)]
pub struct Place {
    /// The folder; none for the root and for what was removed.
    pub parent: Option<Arc<Node>>,
    /// The name in it.
    pub name: Box<OsStr>,
    /// What few files have.
    pub rare: Option<Box<Rare>>,
}

/// What few files have.
#[derive(Default)]
pub struct Rare {
    /// The file itself, when no name leads to it.
    pub held: Option<Arc<OwnedFd>>,
    /// More names of the same file in the upper layer.
    pub names: Vec<(Arc<Node>, OsString)>,
    /// The hard link in the work folder that keeps the names of a copied file one.
    pub linked: bool,
}

/// What only folders have.
pub struct Folder {
    /// The layers that hold it, the topmost first.
    pub layers: RwLock<Vec<Layer>>,
    /// Open descriptors of it, by layer.
    pub open: Mutex<Vec<Opened>>,
    /// Whether it has a default ACL: 0 unknown, 1 no, 2 yes.
    pub default_acl: AtomicU8,
    /// Layers in which it holds whiteouts that are attributes or names (`.wh.`), as far as it was looked.
    pub odd: Mutex<Vec<(Layer, Odd)>>,
}

/// Whiteouts of a folder in one layer that are not devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Some regular files are whiteouts, by their attribute.
    pub attributes: bool,
    /// Some names begin with `.wh.`.
    pub names: bool,
}

/// An open descriptor of a folder.
pub struct Opened {
    /// In which layer.
    pub layer: Layer,
    /// The descriptor.
    pub fd: Arc<OwnedFd>,
    /// Used since it was last considered for closing.
    pub used: AtomicBool,
}

impl Node {
    /// A node that is not in the table yet.
    pub fn new(id: u64, kind: u32, layer: Layer, place: Place, layers: Vec<Layer>) -> Self {
        let folder = (kind == libc::S_IFDIR).then(|| {
            Box::new(Folder {
                layers: RwLock::new(layers),
                open: Mutex::default(),
                default_acl: AtomicU8::new(0),
                odd: Mutex::default(),
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
            gone: AtomicBool::new(false),
            plain: AtomicBool::new(false),
            lookups: AtomicU64::new(0),
            children: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            place: RwLock::new(place),
            folder,
        }
    }

    /// The topmost layer that has it.
    pub fn layer(&self) -> Layer {
        self.layer.load(Ordering::Acquire)
    }

    /// From here on it is in the upper layer.
    pub fn set_upper(&self) {
        self.layer.store(UPPER, Ordering::Release);
    }

    /// Whether no name leads to it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Its last name was removed.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether it is known to have no capabilities, for which the kernel asks before it changes any file.
    pub fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    /// It was made just now.
    pub fn set_plain(&self) {
        self.plain.store(true, Ordering::Release);
    }

    /// An attribute is about to be set.
    pub fn set_not_plain(&self) {
        self.plain.store(false, Ordering::Release);
    }

    /// Notes an open file through which it can be written.
    pub fn add_writer(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes the end of an open file through which it could be written.
    pub fn remove_writer(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the kernel may hold pages that are newer than the file: it writes them back at the latest close(2).
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// The layers of a folder, the topmost first; none of anything else.
    pub fn layers(&self) -> Vec<Layer> {
        self.folder.as_ref().map(|folder| folder.layers.read().clone()).unwrap_or_default()
    }

    /// Whether lower layers hold the folder too.
    pub fn is_merged(&self) -> bool {
        let folder = self.folder.as_ref();
        folder.is_some_and(|folder| folder.layers.read().iter().any(|layer| *layer != UPPER))
    }
}

/// Takes its folders with it one by one: a chain of them is as long as a tree is deep, and longer than a stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut folder) = next {
            next = Arc::get_mut(&mut folder).and_then(|last| last.place.get_mut().parent.take());
        }
    }
}

impl Place {
    /// Under `name` in `parent`.
    pub fn of(parent: &Arc<Node>, name: &OsStr) -> Self {
        Self { parent: Some(parent.clone()), name: name.into(), rare: None }
    }

    /// Whether this is the name.
    pub fn is(&self, parent: &Node, name: &OsStr) -> bool {
        self.parent.as_ref().is_some_and(|own| own.id == parent.id) && *self.name == *name
    }

    /// What few files have, made when it was not there.
    pub fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

const SHARDS: usize = 64;

/// All nodes that the kernel knows.
pub struct Nodes {
    shards: Vec<Mutex<HashMap<u64, Arc<Node>, Spread>>>,
}

/// Node numbers are spread well enough by a multiplication.
type Spread = std::hash::BuildHasherDefault<Spreader>;

/// Hashes one `u64`.
#[derive(Default)]
pub struct Spreader(u64);

impl std::hash::Hasher for Spreader {
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
    /// A table of the root alone.
    pub fn new(root: Node) -> Self {
        let nodes = Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() };
        root.lookups.store(1, Ordering::Relaxed);
        nodes.shard(root.id).lock().insert(root.id, Arc::new(root));
        nodes
    }

    fn shard(&self, id: u64) -> &Mutex<HashMap<u64, Arc<Node>, Spread>> {
        &self.shards[(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % SHARDS]
    }

    /// The node of this number.
    pub fn find(&self, id: u64) -> Option<Arc<Node>> {
        self.shard(id).lock().get(&id).cloned()
    }

    /// The node of this number, with one more lookup; made by `make` when it is not known. True: it was known.
    pub fn look_up(&self, id: u64, kind: u32, make: impl FnOnce() -> Node) -> (Arc<Node>, bool) {
        use std::collections::hash_map::Entry;
        let mut shard = self.shard(id).lock();
        match shard.entry(id) {
            Entry::Occupied(mut known) => {
                let old = known.get().clone();
                if old.is_gone() || old.kind != kind {
                    // The number came back for another file. What the kernel takes back is counted by number.
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

    /// The kernel takes back `count` lookups.
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

    /// Takes a node that nobody needs out of the table, then its folder if that was the last to need it.
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

    /// One child or name less keeps `folder`.
    pub fn release(&self, folder: &Arc<Node>) {
        folder.children.fetch_sub(1, Ordering::AcqRel);
        self.drop_unused(folder);
    }

    /// One child or name more keeps `folder`.
    pub fn keep(folder: &Arc<Node>) {
        folder.children.fetch_add(1, Ordering::AcqRel);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
