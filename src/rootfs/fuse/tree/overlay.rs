//! State of an overlay, and its construction from layers.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use super::copied_links::CopiedLinks;
use super::layers::{FsResult, OpenLayers, in_one_mount, reopened};
use super::lists::FolderLists;
use super::node::{LayerIndex, Node, NodeOrigin, NodePlace, Nodes, ROOT, UPPER};
use super::number::{InodeNumbers, RealFile};
use super::open_folders::OpenFolders;
use super::rules::OverlayRules;
use super::work::WorkFolder;
use crate::layer::squashfs::SquashfsImage;
use crate::layer::{DiskFolder, FolderMarks, LayerFolder, LowerFolder};

/// Overlay of layers.
pub struct OverlayTree {
    pub(super) nodes: Nodes,
    pub(super) numbers: InodeNumbers,
    pub(super) folders: OpenFolders,
    pub(super) lists: FolderLists,
    pub(super) rules: OverlayRules,
    /// Facts of each layer; index 0 is the upper layer's, or unused without one.
    pub(super) layers: Vec<StackedLayer>,
    pub(super) work: Option<WorkFolder>,
    pub(super) links: CopiedLinks,
    /// User and group of the server's own files.
    pub(super) own: (u32, u32),
    pub(super) moves: RwLock<()>,
    /// Locks that are held while a node is copied up, chosen by the node's number.
    pub(super) copying: [Mutex<()>; 64],
}

/// Facts of a layer that hold for all of its files.
#[derive(Default)]
pub(super) struct StackedLayer {
    /// Marks of the root.
    pub marks: FolderMarks,
    /// Image that is the layer; `None`: a folder on disk.
    pub image: Option<Arc<SquashfsImage>>,
}

impl StackedLayer {
    fn of(root: &LowerFolder) -> FsResult<Self> {
        let image = match root {
            LowerFolder::Disk(_) => None,
            LowerFolder::Squashfs(folder) => Some(folder.image().clone()),
        };
        Ok(Self { marks: FolderMarks::read(root)?, image })
    }
}

impl OverlayTree {
    /// Makes an overlay of these layers. Errors: a layer cannot be read, EXDEV when upper and work are not in one
    /// mount.
    pub fn new(layers: OpenLayers, rules: OverlayRules) -> FsResult<Self> {
        let (upper, work) = layers.upper.unzip();
        let mut roots: Vec<(LayerIndex, LowerFolder)> = Vec::new();
        let mut facts = vec![StackedLayer::default()];
        let lowers = layers.lowers.into_iter().zip(1..).map(|(root, layer)| (layer, root));
        let upper = upper.map(|upper| (UPPER, LowerFolder::from(upper)));
        for (layer, root) in upper.into_iter().chain(lowers) {
            let root = match root {
                LowerFolder::Disk(folder) => DiskFolder::from(reopened(folder)?).into(),
                image @ LowerFolder::Squashfs(_) => image,
            };
            let known = StackedLayer::of(&root)?;
            match layer {
                UPPER => facts[0] = known,
                _ => facts.push(known),
            }
            roots.push((layer, root));
        }
        let numbers = InodeNumbers::default();
        let order: Vec<LayerIndex> = roots.iter().map(|(layer, _)| *layer).collect();
        let top = *order.first().ok_or(Errno::INVAL)?;
        if let (Some(work), Some((UPPER, LowerFolder::Disk(upper)))) = (&work, roots.first())
            && !in_one_mount(work, upper)?
        {
            return Err(Errno::XDEV);
        }
        let origin = NodeOrigin { layer: top, layers: order, location: None };
        let root = Node::new(ROOT, libc::S_IFDIR, NodePlace::default(), origin);
        // The first file system keeps its real numbers: start with the topmost layer's.
        for (_, root) in &roots {
            let stat = root.own_stat()?;
            numbers.of(RealFile { dev: stat.st_dev, ino: stat.st_ino });
        }
        let work = work.map(|given| WorkFolder::open(&given)).transpose()?;
        let links = work
            .as_ref()
            .map_or_else(|| Ok(CopiedLinks::default()), |w| CopiedLinks::load(w, &numbers))?;
        let folders = OpenFolders::new(rules.open_folders.max(8));
        folders.keep_roots(&root, roots);
        Ok(Self {
            nodes: Nodes::new(root),
            numbers,
            folders,
            lists: FolderLists::default(),
            rules,
            layers: facts,
            work,
            links,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            moves: RwLock::new(()),
            copying: [const { Mutex::new(()) }; 64],
        })
    }

    /// Returns the node of this number. Errors: ESTALE.
    pub(super) fn node(&self, id: u64) -> FsResult<Arc<Node>> {
        self.nodes.find(id).ok_or(Errno::STALE)
    }

    /// Takes back `count` lookups of a node, on the kernel's request.
    pub fn forget(&self, id: u64, count: u64) {
        self.nodes.forget(id, count);
    }

    /// Returns the number of nodes that the kernel holds.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}
