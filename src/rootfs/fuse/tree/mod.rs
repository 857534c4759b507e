//! The overlay itself: what a name means over several layers, and what a change does to the upper one. Knows nothing of
//! FUSE: nodes are numbers, answers are plain values, errors are errnos.
//!
//! A file is always reached by a descriptor of its folder and its last name, which has no `/` in it and is never
//! followed; folders are opened from their parents' descriptors. So nothing in a layer can lead out of it.
//!
//! Locks, in this order: `moves` (shared by all that finds a file by its place, exclusive for the renaming of folders),
//! a node's `place`, its parents'. Data is copied up without any of them.

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

pub use access::path_of;
pub use attributes::{Attributes, Change, NewTime, Space, Time};
pub use file::{OpenFile, Privileges, Synced};
pub use listing::{Detail, Item, Room};
pub use lookup::Entry;
pub use make::What;
pub use node::ROOT;
pub use owner::Ids;
pub use rename::Manner;
pub use work::NAMES;

use folders::Folders;
use links::Links;
use listing::Lists;
use node::{Layer, Node, Nodes, Place, UPPER};
use number::{Numbers, Real};
use work::Work;

use crate::override_stat::Records;

/// What an operation answers.
pub type Answer<T> = std::result::Result<T, Errno>;

/// Who asks for an operation.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// File system user.
    pub uid: u32,
    /// File system group.
    pub gid: u32,
    /// What is taken off the mode of what they make.
    pub umask: u32,
}

/// What an overlay is made of.
#[derive(Debug)]
pub struct Layers {
    /// Read-only layers, the topmost first.
    pub lowers: Vec<OwnedFd>,
    /// The writable layer and its work folder, on one file system.
    pub upper: Option<(OwnedFd, OwnedFd)>,
}

impl Layers {
    /// Of all of them.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let written = self.upper.iter().flat_map(|(upper, work)| [upper, work]);
        self.lowers.iter().chain(written).map(AsFd::as_fd).collect()
    }
}

/// How layers are read and written.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// IDs on disk, and what they are shown as.
    pub ids: Ids,
    /// Where `user.containers.override_stat` is the real owner and mode.
    pub records: Records,
    /// How many lower layers, from the topmost on, are no such as [`Records::InLowers`] is of.
    pub real_lowers: usize,
    /// There is one user and one group here: with [`Records::InLowers`] all files of lower layers are theirs.
    pub one_id: bool,
    /// Names that begin with `.wh.` are whiteouts (layers that other tools unpacked).
    pub whiteout_names: bool,
    /// The upper layer is thrown away: nothing waits for the disk when files are copied up.
    pub thrown_away: bool,
    /// Most folders held open at once.
    pub open_folders: usize,
}

/// An overlay.
pub struct Tree {
    nodes: Nodes,
    numbers: Numbers,
    folders: Folders,
    lists: Lists,
    reading: Reading,
    /// Of each layer; the upper one, or an empty place for it, comes first.
    layers: Vec<LayerFacts>,
    work: Option<Work>,
    links: Links,
    /// The user and group that the server's own files are made as.
    own: (u32, u32),
    moves: RwLock<()>,
    /// Held while a node is copied up; by number.
    copying: [Mutex<()>; 64],
}

/// What is known of a layer.
#[derive(Clone, Copy, Debug, Default)]
struct LayerFacts {
    /// Its root says that whiteouts may be attributes (`overlay.opaque` = `x`, kernel 6.7).
    attribute_whiteouts: bool,
}

impl Tree {
    /// An overlay of these layers. Errors: a layer that cannot be read, EXDEV when upper and work are not in one mount.
    pub fn new(layers: Layers, reading: Reading) -> Answer<Self> {
        let (upper, work) = layers.upper.unzip();
        let mut roots: Vec<(Layer, OwnedFd)> = Vec::new();
        let mut facts = vec![LayerFacts::default()];
        let lowers = layers.lowers.into_iter().zip(1..).map(|(fd, layer)| (layer, fd));
        for (layer, fd) in upper.map(|fd| (UPPER, fd)).into_iter().chain(lowers) {
            let fd = reopened(fd)?;
            let known =
                LayerFacts { attribute_whiteouts: whiteout::attribute_whiteouts(fd.as_fd()) };
            match layer {
                UPPER => facts[0] = known,
                _ => facts.push(known),
            }
            roots.push((layer, fd));
        }
        let numbers = Numbers::default();
        let order: Vec<Layer> = roots.iter().map(|(layer, _)| *layer).collect();
        let top = *order.first().ok_or(Errno::INVAL)?;
        if let (Some(work), Some((UPPER, upper))) = (&work, roots.first())
            && !in_one_mount(work, upper)?
        {
            return Err(Errno::XDEV);
        }
        let root = Node::new(ROOT, libc::S_IFDIR, top, Place::default(), order);
        // The commonest file system first: its numbers are the real ones.
        for (_, fd) in &roots {
            let stat = rustix::fs::fstat(fd)?;
            numbers.of(Real { dev: stat.st_dev, ino: stat.st_ino });
        }
        let work = work.map(|given| Work::open(&given)).transpose()?;
        let links =
            work.as_ref().map_or_else(|| Ok(Links::default()), |w| Links::load(w, &numbers))?;
        let folders = Folders::new(reading.open_folders.max(8));
        folders.keep_roots(&root, roots);
        Ok(Self {
            nodes: Nodes::new(root),
            numbers,
            folders,
            lists: Lists::default(),
            reading,
            layers: facts,
            work,
            links,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            moves: RwLock::new(()),
            copying: [const { Mutex::new(()) }; 64],
        })
    }

    /// The node that the kernel calls by this number. Errors: ESTALE.
    fn node(&self, id: u64) -> Answer<Arc<Node>> {
        self.nodes.find(id).ok_or(Errno::STALE)
    }

    /// The kernel takes back `count` lookups of a node.
    pub fn forget(&self, id: u64, count: u64) {
        self.nodes.forget(id, count);
    }

    /// How many nodes the kernel holds.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// What statfs(2) says: of the upper layer, or the topmost.
    pub fn space(&self) -> Answer<Space> {
        let root = self.node(ROOT)?;
        let fd = self.folder_fd(&root, root.layer())?;
        let stat = rustix::fs::fstatvfs(&*fd)?;
        Ok(Space {
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

/// Whether files can be moved from one to the other: not between file systems, nor between two mounts of one.
fn in_one_mount(one: &OwnedFd, other: &OwnedFd) -> Answer<bool> {
    use rustix::fs::{StatxFlags, fstat, statx};
    if fstat(one)?.st_dev != fstat(other)?.st_dev {
        return Ok(false);
    }
    // Zero, for both, where the kernel does not tell (before 5.8).
    let mount = |fd| statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|x| x.stx_mnt_id);
    Ok(match (mount(one), mount(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    })
}

/// The folder for reading: attributes and names cannot be read through O_PATH.
fn reopened(fd: OwnedFd) -> Answer<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&fd, ".", flags, Mode::empty())
}

/// fstatat(2) of `name` itself.
fn stat_at(folder: impl AsFd, name: &OsStr) -> Answer<rustix::fs::Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
