//! Walk over the merged tree: records of all inodes and names, and the contents to the writer.
//!
//! Inodes and listings are written after all contents: an inode names the place of its content and the number of its
//! names, and a listing the places of its inodes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::attributes::{NewIds, NewXattrs};
use super::inode::{FileRecord, InodeRecord, NodeRecord};
use super::sender::ContentSender;
use crate::error::{Context, Error, Result};
use crate::image::diff::{FoundNode, LayerNode, LayerTree, TreeEntry, TreeFolder};
use crate::image::owners::FileType;
use crate::layer::acl;
use crate::layer::squashfs::format::{InodeKind, NO_XATTRS, encode_device};

/// Inode number of the root.
pub(super) const ROOT: u32 = 1;

/// All files of the tree.
pub(super) struct TreeRecords {
    /// Inodes: the first one has the number [`ROOT`].
    pub(super) inodes: Vec<InodeRecord>,
    /// Folders, each behind those in it.
    pub(super) folders: FolderList,
    /// Owners.
    pub(super) ids: NewIds,
    /// Extended attributes.
    pub(super) xattrs: NewXattrs,
}

/// Folders with their names, in one piece of memory: a million names need no million allocations.
#[derive(Default)]
pub(super) struct FolderList(Vec<u8>);

/// Name in a folder.
pub(super) struct NamedInode<'a> {
    /// Inode number.
    pub(super) number: u32,
    /// Name in the folder.
    pub(super) name: &'a [u8],
}

/// Folder of a [`FolderList`].
pub(super) struct FolderNames<'a> {
    /// Inode number.
    pub(super) number: u32,
    names: &'a [u8],
}

impl FolderList {
    const HEADER: usize = 8;

    fn push(&mut self, number: u32, names: &[u8]) -> Result<()> {
        let length = u32::try_from(names.len());
        let length = length.map_err(|_| Error::new("a folder has too many files"))?;
        self.0.extend_from_slice(&number.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(names);
        Ok(())
    }

    /// Folders in the order in which they ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = FolderNames<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_at_checked(Self::HEADER)?;
            let (number, length) = header.split_at_checked(4)?;
            let (number, length) = (number_of(number)?, number_of(length)?);
            let (names, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
            rest = behind;
            Some(FolderNames { number, names })
        })
    }
}

impl<'a> FolderNames<'a> {
    /// Names in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = NamedInode<'a>> + use<'a> {
        let mut rest = self.names;
        std::iter::from_fn(move || {
            let (number, behind) = rest.split_at_checked(4)?;
            let (length, behind) = behind.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(NamedInode { number: number_of(number)?, name })
        })
    }
}

fn number_of(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn push_name(names: &mut Vec<u8>, number: u32, name: &[u8]) -> Result<()> {
    let length = u8::try_from(name.len()).map_err(|_| Error::new("its name is too long"))?;
    names.extend_from_slice(&number.to_le_bytes());
    names.push(length);
    names.extend_from_slice(name);
    Ok(())
}

/// Walk over a tree.
pub(super) struct TreeWalk<'a> {
    layers: LayerTree,
    contents: ContentSender<'a>,
    records: TreeRecords,
    // Files with several names.
    links: HashMap<(u64, u64), u32>,
    file_count: u32,
}

/// Folder whose entries are being read.
struct WalkedFolder {
    number: u32,
    folder: TreeFolder,
    left: std::vec::IntoIter<(OsString, Option<TreeEntry>)>,
    names: Vec<u8>,
}

impl<'a> TreeWalk<'a> {
    /// Starts at the root of `layers`.
    pub(super) fn new(layers: LayerTree, contents: ContentSender<'a>) -> Result<Self> {
        let records = TreeRecords {
            inodes: Vec::new(),
            folders: FolderList::default(),
            ids: NewIds::default(),
            xattrs: NewXattrs::new()?,
        };
        Ok(Self { layers, contents, records, links: HashMap::new(), file_count: 0 })
    }

    /// Walks over all files. `mtime`: time of the root, in seconds; layers seldom have an entry for the root, whose time
    /// is then that of the unpacking. Errors: a file that changes or vanishes meanwhile, one that is unreadable, the end
    /// of the writer.
    pub(super) fn run(mut self, mtime: u32) -> Result<TreeRecords> {
        let mut root = match self.layers.read_root().context(|| "/")? {
            Some(node) => self.record(&node, NodeRecord::Folder(ROOT)).context(|| "/")?,
            None => self.empty_root()?,
        };
        root.mtime = mtime;
        let number = self.push(root)?;
        // Names may nest thousands deep: no recursion.
        let mut open = vec![self.open(number, self.layers.root()?)?];
        while let Some(current) = open.last_mut() {
            if let Some((name, entry)) = current.left.next() {
                let path = current.folder.path.join(&name);
                let inner = self.entry(current, entry, &path);
                open.extend(inner.context(|| format!("/{}", path.display()))?);
            } else if let Some(ended) = open.pop() {
                self.records.folders.push(ended.number, &ended.names)?;
            }
        }
        // Mksquashfs' form: the root's parent is no inode.
        let beyond = u32::try_from(self.records.inodes.len()).unwrap_or(u32::MAX);
        if let Some(root) = self.records.inodes.first_mut() {
            root.node = NodeRecord::Folder(beyond.saturating_add(1));
        }
        Ok(self.records)
    }

    fn empty_root(&mut self) -> Result<InodeRecord> {
        let (user, group) = (self.records.ids.index(0)?, self.records.ids.index(0)?);
        let node = NodeRecord::Folder(ROOT);
        Ok(InodeRecord { mode: 0o755, user, group, mtime: 0, xattrs: NO_XATTRS, links: 2, node })
    }

    fn open(&self, number: u32, folder: TreeFolder) -> Result<WalkedFolder> {
        let left = self.layers.list(&folder)?.into_iter();
        Ok(WalkedFolder { number, folder, left, names: Vec::new() })
    }

    /// Records an entry of a folder. Returns the entry if it is a folder itself.
    fn entry(
        &mut self,
        current: &mut WalkedFolder,
        entry: Option<TreeEntry>,
        path: &Path,
    ) -> Result<Option<WalkedFolder>> {
        // A whiteout: the name is in no layer that counts.
        let Some(entry) = entry else { return Ok(None) };
        if self.layers.is_place(&current.folder, &entry)? {
            return Ok(None);
        }
        let Some(FoundNode::Node(node)) = self.layers.read_node(&current.folder, &entry)? else {
            return Err(Error::new("it vanished while it was read"));
        };
        let name = entry.name.as_bytes();
        let is_folder = node.file_type == FileType::Folder;
        if is_folder != entry.folder.is_some() {
            return Err(Error::new("it changed while it was read"));
        }
        let is_linked = node.links > 1 && !is_folder;
        if is_linked
            && let Some(&known) = self.links.get(&node.id)
            && let Some(record) = self.inode(known)
        {
            record.links = record.links.saturating_add(1);
            return push_name(&mut current.names, known, name).map(|()| None);
        }
        let record = self.node(node_of(&node, current.number), &node)?;
        let record = without_acl(record, &node, path);
        let number = self.push(record)?;
        if is_linked {
            self.links.insert(node.id, number);
        }
        push_name(&mut current.names, number, name)?;
        let Some(folder) = entry.folder else { return Ok(None) };
        if let Some(above) = self.inode(current.number) {
            above.links = above.links.saturating_add(1);
        }
        self.open(number, folder).map(Some)
    }

    /// Records a file. The content of a regular one goes to the writer.
    fn node(&mut self, node: NodeRecord, found: &LayerNode) -> Result<InodeRecord> {
        let NodeRecord::File(FileRecord { size, .. }) = node else {
            return self.record(found, node);
        };
        let content = found.content.as_ref();
        let content = content.ok_or_else(|| Error::new("it changed while it was read"))?;
        self.contents.send(content, size, found.on_disk)?;
        let file = self.file_count;
        self.file_count = file.checked_add(1).ok_or_else(too_many)?;
        self.record(found, NodeRecord::File(FileRecord { file, size }))
    }

    fn record(&mut self, found: &LayerNode, node: NodeRecord) -> Result<InodeRecord> {
        let links = if matches!(node, NodeRecord::Folder(_)) { 2 } else { 1 };
        let kept = found.xattrs.iter().filter(|(name, _)| !acl::is_acl(name.as_bytes()));
        let kept: Vec<_> = kept.cloned().collect();
        Ok(InodeRecord {
            mode: u16::try_from(found.mode & 0o7777).unwrap_or(0),
            user: self.records.ids.index(found.uid)?,
            group: self.records.ids.index(found.gid)?,
            mtime: seconds(found.mtime),
            xattrs: self.records.xattrs.index(&kept)?,
            links,
            node,
        })
    }

    fn push(&mut self, record: InodeRecord) -> Result<u32> {
        self.records.inodes.push(record);
        // The number beyond the last one is the root's parent.
        let number = u32::try_from(self.records.inodes.len()).ok();
        number.filter(|number| *number < u32::MAX).ok_or_else(too_many)
    }

    fn inode(&mut self, number: u32) -> Option<&mut InodeRecord> {
        let at = usize::try_from(number.checked_sub(ROOT)?).ok()?;
        self.records.inodes.get_mut(at)
    }
}

fn too_many() -> Error {
    Error::new("more files than squashfs can number")
}

/// Time in the form of an inode. Times before 1970 and after 2106 have none.
pub(super) fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

/// Makes the record of a file in the folder with this inode number.
fn node_of(node: &LayerNode, parent: u32) -> NodeRecord {
    let device = |major, minor| encode_device(rustix::fs::makedev(major, minor));
    match node.file_type {
        FileType::Folder => NodeRecord::Folder(parent),
        FileType::File => NodeRecord::File(FileRecord { file: 0, size: node.size }),
        FileType::Symlink => NodeRecord::Symlink(node.target.as_bytes().into()),
        FileType::Block(major, minor) => {
            NodeRecord::Device(InodeKind::BlockDevice, device(major, minor))
        }
        FileType::Character(major, minor) => {
            NodeRecord::Device(InodeKind::CharacterDevice, device(major, minor))
        }
        FileType::Pipe => NodeRecord::Ipc(InodeKind::Fifo),
        FileType::Socket => NodeRecord::Ipc(InodeKind::Socket),
    }
}

/// Leaves an access control list out of a record: squashfs has none. The group bits of such a file are the list's mask.
fn without_acl(mut record: InodeRecord, node: &LayerNode, path: &Path) -> InodeRecord {
    for (name, list) in node.xattrs.iter().filter(|(name, _)| acl::is_acl(name.as_bytes())) {
        log::warn!("/{}: {name} is left out: squashfs cannot hold it", path.display());
        if name.as_bytes() == acl::ACCESS_ACL {
            record.mode = u16::try_from(acl::mode_without(list, record.mode.into())).unwrap_or(0);
        }
    }
    record
}
