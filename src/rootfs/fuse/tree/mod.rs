//! The overlay itself: the meaning of a name over several layers, and the effect of a change on the upper layer. Knows
//! nothing of FUSE: nodes are numbers, answers are plain values, errors are errnos.
//!
//! A file is always reached by a descriptor of its folder and its last name, which has no `/` in it and is never
//! followed. Folders are opened from their parents' descriptors. Therefore no path in a layer can lead out of it.
//!
//! Locks are taken in this order: `moves`, then a node's `place`, then its parents'. `moves` is shared by code that
//! finds a file by its place, and exclusive for renaming folders. Copy-up of data holds none of them.

mod access;
mod acl;
mod attributes;
mod change;
mod copyup;
mod data;
mod file;
mod folders;
mod links;
mod listing;
mod lookup;
mod make;
mod node;
mod number;
mod owner;
mod remove;
mod rename;
mod whiteout;
mod work;
mod xattr;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub use attributes::{AttributeChange, FileAttributes, FsSpace, NewTime, Time};
pub use file::{FilePosition, OpenFile, Synced, WritePrivileges};
pub use listing::{Detail, Item, ReplyRoom};
pub use lookup::NodeEntry;
pub use make::NewFile;
pub use node::ROOT;
pub use owner::ShownIds;
pub use rename::RenameMode;
pub use work::NAMES;

use folders::OpenFolders;
use links::CopiedLinks;
use listing::FolderLists;
use node::{LayerIndex, Node, NodePlace, Nodes, UPPER};
use number::{InodeNumbers, RealFile};
use work::WorkFolder;

use crate::layer::override_stat::Records;
use crate::layer::whiteout::Whiteouts;
use crate::layer::{DiskFolder, FolderMarks, LayerFolder};

/// Result of an operation.
pub type FsResult<T> = std::result::Result<T, Errno>;

/// Process that requests an operation.
#[derive(Clone, Copy, Debug)]
pub struct FsCaller {
    /// File system user.
    pub uid: u32,
    /// File system group.
    pub gid: u32,
    /// Mask for the mode of new files.
    pub umask: u32,
}

/// Layers of an overlay.
#[derive(Debug)]
pub struct OverlayLayers {
    /// Read-only layers, the topmost first.
    pub lowers: Vec<OwnedFd>,
    /// Writable layer and its work folder, on one file system.
    pub upper: Option<(OwnedFd, OwnedFd)>,
}

impl OverlayLayers {
    /// Returns the descriptors of all layers.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let written = self.upper.iter().flat_map(|(upper, work)| [upper, work]);
        self.lowers.iter().chain(written).map(AsFd::as_fd).collect()
    }
}

/// Rules to read and write layers.
#[derive(Clone, Debug, Default)]
pub struct OverlayRules {
    /// Map of IDs on disk to the shown ones.
    pub ids: ShownIds,
    /// Layers where `user.containers.override_stat` is the real owner and mode.
    pub records: Records,
    /// Number of lower layers, from the topmost on, with real owners in spite of [`Records::InLowers`].
    pub real_lowers: usize,
    /// True in a namespace of one user and one group: with [`Records::InLowers`] they own all files of lower layers.
    pub has_one_id: bool,
    /// Meaning of names that begin with `.wh.`, in all layers: other tools may have unpacked them.
    pub whiteouts: Whiteouts,
    /// True if the upper layer is disposable: copy-up then does not wait for the disk.
    pub is_disposable: bool,
    /// Largest number of folders open at once.
    pub open_folders: usize,
}

/// Overlay of layers.
pub struct OverlayTree {
    nodes: Nodes,
    numbers: InodeNumbers,
    folders: OpenFolders,
    lists: FolderLists,
    rules: OverlayRules,
    /// Marks of each layer's root; index 0 is the upper layer's, or unused without one.
    layers: Vec<FolderMarks>,
    work: Option<WorkFolder>,
    links: CopiedLinks,
    /// User and group of the server's own files.
    own: (u32, u32),
    moves: RwLock<()>,
    /// Locks that are held while a node is copied up, chosen by the node's number.
    copying: [Mutex<()>; 64],
}

impl OverlayTree {
    /// Makes an overlay of these layers. Errors: a layer cannot be read, EXDEV when upper and work are not in one
    /// mount.
    pub fn new(layers: OverlayLayers, rules: OverlayRules) -> FsResult<Self> {
        let (upper, work) = layers.upper.unzip();
        let mut roots: Vec<(LayerIndex, DiskFolder)> = Vec::new();
        let mut marks = vec![FolderMarks::default()];
        let lowers = layers.lowers.into_iter().zip(1..).map(|(fd, layer)| (layer, fd));
        for (layer, fd) in upper.map(|fd| (UPPER, fd)).into_iter().chain(lowers) {
            let root = DiskFolder::from(reopened(fd)?);
            let known = FolderMarks::read(&root)?;
            match layer {
                UPPER => marks[0] = known,
                _ => marks.push(known),
            }
            roots.push((layer, root));
        }
        let numbers = InodeNumbers::default();
        let order: Vec<LayerIndex> = roots.iter().map(|(layer, _)| *layer).collect();
        let top = *order.first().ok_or(Errno::INVAL)?;
        if let (Some(work), Some((UPPER, upper))) = (&work, roots.first())
            && !in_one_mount(work, upper)?
        {
            return Err(Errno::XDEV);
        }
        let root = Node::new(ROOT, libc::S_IFDIR, top, NodePlace::default(), order);
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
            layers: marks,
            work,
            links,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            moves: RwLock::new(()),
            copying: [const { Mutex::new(()) }; 64],
        })
    }

    /// Returns the node of this number. Errors: ESTALE.
    fn node(&self, id: u64) -> FsResult<Arc<Node>> {
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

    /// Returns the result of statfs(2) for the upper layer, or for the topmost.
    pub fn space(&self) -> FsResult<FsSpace> {
        let root = self.node(ROOT)?;
        let fd = self.layer_folder(&root, root.layer())?;
        let stat = rustix::fs::fstatvfs(fd)?;
        Ok(FsSpace {
            blocks: stat.f_blocks,
            free: stat.f_bfree,
            available: stat.f_bavail,
            files: stat.f_files,
            free_files: stat.f_ffree,
            block_size: stat.f_bsize as u32,
            name_max: stat.f_namemax as u32,
            fragment_size: stat.f_frsize as u32,
        })
    }
}

/// True if files can be moved from one folder to the other: not between file systems, nor between two mounts of one.
fn in_one_mount(one: impl AsFd, other: impl AsFd) -> FsResult<bool> {
    use rustix::fs::{StatxFlags, fstat, statx};
    if fstat(&one)?.st_dev != fstat(&other)?.st_dev {
        return Ok(false);
    }
    // Both are zero where the kernel does not report it (before 5.8).
    let mount = |fd: BorrowedFd<'_>| {
        statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|x| x.stx_mnt_id)
    };
    Ok(match (mount(one.as_fd()), mount(other.as_fd())) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    })
}

/// Reopens a folder for reading: attributes and names cannot be read through O_PATH.
fn reopened(fd: OwnedFd) -> FsResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&fd, ".", flags, Mode::empty())
}

/// Returns the attributes of `name` itself (fstatat(2)), not of a link's target.
fn stat_at(folder: impl AsFd, name: &OsStr) -> FsResult<rustix::fs::Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
