//! Inodes: compact records in memory, and their form on disk.

use super::content::Contents;
use super::metadata::MetadataWriter;
use super::workers::BLOCK;
use crate::error::{Error, Result};
use crate::layer::squashfs::format::{
    BasicFile, DeviceInode, ExtendedFile, InodeHeader, InodeKind, InodeRef, IpcInode, NO_XATTRS,
    SymlinkInode,
};

/// File of the tree, with what its inode holds. One record a file is in memory until all contents are written.
pub(super) struct InodeRecord {
    /// Permission bits, with set-user-ID, set-group-ID and sticky bits.
    pub(super) mode: u16,
    /// Index of the owner in the ID table.
    pub(super) user: u16,
    /// Index of the group in the ID table.
    pub(super) group: u16,
    /// Time of last modification.
    pub(super) mtime: u32,
    /// Index of the extended attributes, or [`NO_XATTRS`].
    pub(super) xattrs: u32,
    /// Number of names; of a folder 2 and one for each subfolder.
    pub(super) links: u32,
    /// Rest, by kind.
    pub(super) node: NodeRecord,
}

/// Part of an inode that depends on its kind.
pub(super) enum NodeRecord {
    /// Folder, with the inode number of its parent.
    Folder(u32),
    /// Regular file.
    File(FileRecord),
    /// Symbolic link, with its target.
    Symlink(Box<[u8]>),
    /// Device, with its number as in an inode.
    Device(InodeKind, u32),
    /// FIFO or socket.
    Ipc(InodeKind),
}

/// Regular file.
#[derive(Clone, Copy)]
pub(super) struct FileRecord {
    /// Position among all regular files.
    pub(super) file: u32,
    /// Length in bytes.
    pub(super) size: u64,
}

/// Number of an inode, and its record.
#[derive(Clone, Copy)]
pub(super) struct NumberedInode<'a> {
    /// Inode number.
    pub(super) number: u32,
    /// Record of the inode.
    pub(super) record: &'a InodeRecord,
}

impl InodeRecord {
    /// Kind of the file.
    pub(super) fn kind(&self) -> InodeKind {
        match &self.node {
            NodeRecord::Folder(_) => InodeKind::Folder,
            NodeRecord::File(_) => InodeKind::File,
            NodeRecord::Symlink(_) => InodeKind::Symlink,
            NodeRecord::Device(kind, _) | NodeRecord::Ipc(kind) => *kind,
        }
    }
}

impl NumberedInode<'_> {
    /// First part of the inode.
    pub(super) fn header(self, kind: u16) -> [u8; InodeHeader::SIZE] {
        let InodeRecord { mode, user: uid, group: gid, mtime, .. } = *self.record;
        InodeHeader { kind, mode, uid, gid, mtime, number: self.number }.to_bytes()
    }

    /// Writes the inode of a file that is no folder; returns its location.
    pub(super) fn write(self, contents: &Contents, table: &mut MetadataWriter) -> Result<InodeRef> {
        let (record, kind) = (self.record, self.record.kind());
        let place = table.position()?;
        let nlink = record.links;
        if let NodeRecord::File(file) = record.node {
            self.write_file(file, contents, table)?;
            return Ok(place);
        }
        let is_extended = record.xattrs != NO_XATTRS;
        let number = if is_extended { kind.extended() } else { kind.basic() };
        table.write(&self.header(number))?;
        match &record.node {
            NodeRecord::Symlink(target) => {
                let target_size = u32::try_from(target.len()).unwrap_or(u32::MAX);
                table.write(&SymlinkInode { nlink, target_size }.to_bytes())?;
                table.write(target)?;
            }
            NodeRecord::Device(_, rdev) => {
                table.write(&DeviceInode { nlink, rdev: *rdev }.to_bytes())?;
            }
            NodeRecord::Ipc(_) => table.write(&IpcInode { nlink }.to_bytes())?,
            NodeRecord::Folder(_) | NodeRecord::File(_) => {}
        }
        if is_extended {
            table.write(&record.xattrs.to_le_bytes())?;
        }
        Ok(place)
    }

    fn write_file(
        self,
        FileRecord { file, size }: FileRecord,
        contents: &Contents,
        table: &mut MetadataWriter,
    ) -> Result<()> {
        let content = contents.of_file(file);
        let content = content.ok_or_else(|| Error::new("a file's content was not written"))?;
        let words = contents.block_sizes(content, size);
        let holes = words.iter().filter(|word| word.is_hole()).count() as u64;
        let (nlink, xattrs) = (self.record.links, self.record.xattrs);
        let (fragment, offset) = (content.fragment, content.offset);
        let small = (u32::try_from(content.start), u32::try_from(size));
        match small {
            (Ok(start), Ok(size)) if nlink == 1 && xattrs == NO_XATTRS && holes == 0 => {
                table.write(&self.header(InodeKind::File.basic()))?;
                table.write(&BasicFile { start, fragment, offset, size }.to_bytes())?;
            }
            _ => {
                table.write(&self.header(InodeKind::File.extended()))?;
                let (start, sparse) = (content.start, holes * BLOCK as u64);
                let file = ExtendedFile { start, size, sparse, nlink, fragment, offset, xattrs };
                table.write(&file.to_bytes())?;
            }
        }
        let words: Vec<u8> = words.iter().flat_map(|word| word.0.to_le_bytes()).collect();
        table.write(&words)
    }
}
