//! Listings of folders: written when all inodes of the folder are.

use super::inode::{InodeRecord, NodeRecord, NumberedInode};
use super::metadata::MetadataWriter;
use crate::error::{Error, Result};
use crate::layer::squashfs::format::{
    BasicFolder, ExtendedFolder, FolderEntryHeader, FolderHeader, FolderIndexEntry, InodeKind,
    InodeRef, LISTING_SURPLUS, METADATA_SIZE, MOST_BELOW_HEADER, NO_XATTRS,
};

/// Entry of a folder.
pub(super) struct ListedFile<'a> {
    /// Name in the folder.
    pub(super) name: &'a [u8],
    /// Kind of the file.
    pub(super) kind: InodeKind,
    /// Inode number.
    pub(super) number: u32,
    /// Location of the inode.
    pub(super) place: InodeRef,
}

/// Listing of one folder, as its inode describes it.
pub(super) struct Listing {
    start: InodeRef,
    length: usize,
    /// Entries of the folder's index.
    index: Vec<u8>,
    index_count: u16,
}

/// Entries below one header.
struct Run<'a> {
    first: &'a ListedFile<'a>,
    entries: Vec<u8>,
    count: u32,
}

impl<'a> Run<'a> {
    fn new(first: &'a ListedFile<'a>) -> Self {
        Self { first, entries: Vec::new(), count: 0 }
    }

    /// Adds an entry. `false`: it needs a header of its own.
    fn add(&mut self, file: &ListedFile<'_>) -> bool {
        let difference = i64::from(file.number) - i64::from(self.first.number);
        let Ok(number) = i16::try_from(difference) else { return false };
        if self.count == MOST_BELOW_HEADER || file.place.block() != self.first.place.block() {
            return false;
        }
        let entry = FolderEntryHeader {
            offset: file.place.offset(),
            number,
            kind: file.kind.basic(),
            name_size: u16::try_from(file.name.len().saturating_sub(1)).unwrap_or(u16::MAX),
        };
        self.entries.extend_from_slice(&entry.to_bytes());
        self.entries.extend_from_slice(file.name);
        self.count += 1;
        true
    }

    /// True if the run, written from this offset of a metadata block on, reaches the next block. It then ends, so that
    /// each block has a header that the index can name.
    fn reaches_next_block(&self, offset: u16) -> bool {
        usize::from(offset) + FolderHeader::SIZE + self.entries.len() >= METADATA_SIZE
    }
}

impl Listing {
    /// Writes the listing of these files, sorted by name.
    pub(super) fn write(files: &[ListedFile<'_>], table: &mut MetadataWriter) -> Result<Self> {
        let start = table.position()?;
        let mut listing = Self { start, length: 0, index: Vec::new(), index_count: 0 };
        let mut indexed = start.block();
        let mut files = files.iter().peekable();
        while let Some(first) = files.peek() {
            let place = table.position()?;
            let mut run = Run::new(first);
            while let Some(file) = files.peek()
                && (run.count == 0 || !run.reaches_next_block(place.offset()))
                && run.add(file)
            {
                files.next();
            }
            if run.count == 0 {
                return Err(Error::new("a folder's listing is malformed"));
            }
            if place.block() != indexed {
                indexed = place.block();
                listing.add_step(place, run.first.name)?;
            }
            let block = u32::try_from(run.first.place.block()).map_err(|_| too_long())?;
            let header = FolderHeader { count: run.count - 1, block, number: run.first.number };
            table.write(&header.to_bytes())?;
            table.write(&run.entries)?;
            listing.length += FolderHeader::SIZE + run.entries.len();
        }
        Ok(listing)
    }

    /// Adds a step to the index. A longer index has no form: its last part is then searched entry by entry.
    fn add_step(&mut self, place: InodeRef, name: &[u8]) -> Result<()> {
        let Some(count) = self.index_count.checked_add(1) else { return Ok(()) };
        self.index_count = count;
        let entry = FolderIndexEntry {
            position: u32::try_from(self.length).map_err(|_| too_long())?,
            block: u32::try_from(place.block()).map_err(|_| too_long())?,
            name_size: u32::try_from(name.len().saturating_sub(1)).map_err(|_| too_long())?,
        };
        self.index.extend_from_slice(&entry.to_bytes());
        self.index.extend_from_slice(name);
        Ok(())
    }

    /// Writes the folder's inode; returns its location.
    pub(super) fn write_inode(
        &self,
        folder: NumberedInode<'_>,
        table: &mut MetadataWriter,
    ) -> Result<InodeRef> {
        let InodeRecord { links: nlink, xattrs, ref node, .. } = *folder.record;
        let NodeRecord::Folder(parent) = *node else {
            return Err(Error::new("a file that is no folder has a listing"));
        };
        let size = u32::try_from(self.length).ok();
        let size = size.and_then(|size| size.checked_add(LISTING_SURPLUS)).ok_or_else(too_long)?;
        let block = u32::try_from(self.start.block()).map_err(|_| too_long())?;
        let offset = self.start.offset();
        let place = table.position()?;
        // A listing of one block needs no index, wherever its blocks begin.
        let has_index = self.length > METADATA_SIZE;
        match u16::try_from(size) {
            Ok(size) if !has_index && xattrs == NO_XATTRS => {
                table.write(&folder.header(InodeKind::Folder.basic()))?;
                let inode = BasicFolder { block, nlink, size, offset, parent };
                table.write(&inode.to_bytes())?;
            }
            _ => {
                let index_count = if has_index { self.index_count } else { 0 };
                table.write(&folder.header(InodeKind::Folder.extended()))?;
                let inode =
                    ExtendedFolder { nlink, size, block, parent, index_count, offset, xattrs };
                table.write(&inode.to_bytes())?;
                if has_index {
                    table.write(&self.index)?;
                }
            }
        }
        Ok(place)
    }
}

fn too_long() -> Error {
    Error::new("a folder has more files than squashfs can hold")
}
