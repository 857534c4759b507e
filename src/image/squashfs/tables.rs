//! Everything behind the contents: inodes, listings and tables.

use super::area::FileArea;
use super::content::Contents;
use super::inode::{InodeRecord, NumberedInode};
use super::listing::{ListedFile, Listing};
use super::metadata::{MetadataBlocks, MetadataWriter, write_table};
use super::tree::{FolderList, FolderNames, ROOT, TreeRecords};
use super::workers::BLOCK;
use crate::error::{Error, Result};
use crate::layer::squashfs::format::{
    InodeKind, InodeRef, MAGIC, NO_TABLE, SquashfsCodec, Superblock, VERSION_MAJOR, VERSION_MINOR,
    flags,
};

/// Location of an inode that is not written yet.
const UNWRITTEN: u64 = u64::MAX;

/// Writer of inodes and listings.
struct InodeWriter<'a> {
    contents: &'a Contents,
    records: &'a [InodeRecord],
    /// Location of each inode, by its number: the export table.
    places: Vec<u64>,
    inodes: MetadataWriter,
    listings: MetadataWriter,
}

impl InodeWriter<'_> {
    fn place(&self, number: u32) -> Option<InodeRef> {
        let place = self.places.get(index(number)).filter(|place| **place != UNWRITTEN)?;
        Some(InodeRef::from_raw(*place))
    }

    fn set_place(&mut self, number: u32, place: InodeRef) {
        if let Some(slot) = self.places.get_mut(index(number)) {
            *slot = place.raw();
        }
    }

    /// Writes the inodes of a folder's files, its listing, and its own inode. Its subfolders are written before.
    fn folder(&mut self, folder: &FolderNames<'_>) -> Result<()> {
        let mut files = Vec::new();
        for entry in folder.iter() {
            let file = numbered(self.records, entry.number)?;
            let kind = file.record.kind();
            let place = match self.place(entry.number) {
                Some(place) => place,
                None if kind == InodeKind::Folder => return Err(missing()),
                None => {
                    let place = file.write(self.contents, &mut self.inodes)?;
                    self.set_place(entry.number, place);
                    place
                }
            };
            files.push(ListedFile { name: entry.name, kind, number: entry.number, place });
        }
        let listing = Listing::write(&files, &mut self.listings)?;
        let own = numbered(self.records, folder.number)?;
        let place = listing.write_inode(own, &mut self.inodes)?;
        self.set_place(folder.number, place);
        Ok(())
    }
}

fn numbered(records: &[InodeRecord], number: u32) -> Result<NumberedInode<'_>> {
    let record = records.get(index(number)).ok_or_else(missing)?;
    Ok(NumberedInode { number, record })
}

fn index(number: u32) -> usize {
    number.checked_sub(ROOT).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX)
}

fn missing() -> Error {
    Error::new("a file has no inode")
}

/// Inodes and listings, complete.
struct WrittenInodes {
    inodes: MetadataBlocks,
    listings: MetadataBlocks,
    places: Vec<u64>,
}

fn write_inodes(
    records: &[InodeRecord],
    folders: &FolderList,
    contents: &Contents,
) -> Result<WrittenInodes> {
    let mut writer = InodeWriter {
        contents,
        records,
        places: vec![UNWRITTEN; records.len()],
        inodes: MetadataWriter::new()?,
        listings: MetadataWriter::new()?,
    };
    for folder in folders.iter() {
        writer.folder(&folder)?;
    }
    let InodeWriter { places, inodes, listings, .. } = writer;
    Ok(WrittenInodes { inodes: inodes.finish()?, listings: listings.finish()?, places })
}

/// Writes all tables at the area's position. Returns the superblock of the file system, made at `time` (seconds since
/// 1970).
pub(super) fn write(
    area: &mut FileArea<'_>,
    tree: TreeRecords,
    contents: &Contents,
    time: u32,
) -> Result<Superblock> {
    let TreeRecords { inodes, folders, ids, xattrs } = tree;
    let written = write_inodes(&inodes, &folders, contents)?;
    let inode_count = u32::try_from(inodes.len()).map_err(|_| missing())?;
    let fragment_count = u32::try_from(contents.fragments.len()).map_err(|_| missing())?;
    let root = written.places.first().copied().ok_or_else(missing)?;
    let inode_table = area.position();
    written.inodes.write(area)?;
    let folder_table = area.position();
    written.listings.write(area)?;
    let fragments = contents.fragments.iter().map(|entry| entry.to_bytes());
    let fragment_table = write_table(area, fragments)?;
    let places = written.places.iter().map(|place| place.to_le_bytes());
    let export_table = write_table(area, places)?;
    let id_count = ids.count();
    let id_table = write_table(area, ids.records())?;
    let xattr_table = xattrs.write(area)?;
    let mut flags =
        flags::DUPLICATES | flags::EXPORTABLE | flags::ALWAYS_FRAGMENTS | flags::COMPRESSOR_OPTIONS;
    if xattr_table == NO_TABLE {
        flags |= flags::NO_XATTRS;
    }
    Ok(Superblock {
        magic: MAGIC,
        inode_count,
        mtime: time,
        block_size: u32::try_from(BLOCK).unwrap_or(0),
        fragment_count,
        codec: SquashfsCodec::Zstd.number(),
        block_log: u16::try_from(BLOCK.ilog2()).unwrap_or(0),
        flags,
        id_count,
        version_major: VERSION_MAJOR,
        version_minor: VERSION_MINOR,
        root,
        bytes_used: area.position(),
        id_table,
        xattr_table,
        inode_table,
        folder_table,
        fragment_table,
        export_table,
    })
}
