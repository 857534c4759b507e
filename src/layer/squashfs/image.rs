//! The open image: its superblock, tables and caches.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::ahead::{ReadAhead, Readers};
use super::blocks::{BlockKey, DataBlocks};
use super::cache::{BlockCache, Weighed};
use super::codec::Inflaters;
use super::format::{
    BlockWord, END_ALIGNMENT, FragmentEntry, InodeRef, LARGEST_BLOCK, MAGIC, NO_TABLE,
    SMALLEST_BLOCK, SquashfsCodec, Superblock, VERSION_MAJOR, VERSION_MINOR, XattrListEntry,
    XattrTableHeader,
};
use super::layout::FileLayout;
use super::metadata::{Metadata, MetadataCursor, MetadataPosition, MetadataTable};
use super::source::ImageBytes;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::{fail, hint};

/// Limit of files whose block lists are kept, with an index of at most 32 KiB each.
const KEPT_LAYOUTS: u64 = 256;

/// Limit of positions in folders at which listings go on.
const KEPT_POSITIONS: u64 = 256;

/// Limit of threads for reading ahead.
const MOST_THREADS: usize = 8;

/// Limits of an image's caches and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Inflated data blocks, in bytes. Blocks in use come on top.
    pub data_bytes: u64,
    /// Inflated metadata blocks, in bytes.
    pub metadata_bytes: u64,
    /// Threads that read ahead; 0 for none.
    pub workers: usize,
}

impl Default for CacheLimits {
    /// 64 MiB of data, 8 MiB of metadata, a thread for each processor that this process may use, at most 8.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            data_bytes: 64 << 20,
            metadata_bytes: 8 << 20,
            workers: processors.min(MOST_THREADS),
        }
    }
}

/// Sizes of an image, as statfs(2) has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpace {
    /// Size of the file system, in bytes.
    pub bytes: u64,
    /// Count of inodes.
    pub inodes: u64,
    /// Size of data blocks, in bytes.
    pub block_size: u32,
}

/// Counts of blocks that were read from the file, and inflated if compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadCounts {
    /// Data and fragment blocks.
    pub data: u64,
    /// Blocks in `data` that were read ahead.
    pub ahead: u64,
    /// Metadata blocks.
    pub metadata: u64,
}

/// Open squashfs image, for any number of threads.
///
/// Threads for reading ahead are started by the first sequential reader: a process that forks does so before.
pub struct SquashfsImage {
    superblock: Superblock,
    pub(super) metadata: Metadata,
    pub(super) blocks: Arc<DataBlocks>,
    pub(super) ahead: ReadAhead,
    ids: MetadataTable,
    /// All IDs, at most 256 KiB; empty where the table is broken in part.
    known_ids: OnceLock<Box<[u32]>>,
    fragments: MetadataTable,
    xattrs: OnceLock<XattrTable>,
    /// Readers of fragment blocks: small files that are read in the order of their names.
    pub(super) fragment_readers: Readers,
    pub(super) layouts: BlockCache<InodeRef, Arc<FileLayout>>,
    pub(super) positions: BlockCache<ListingKey, MetadataPosition>,
    folders_end: u64,
    /// Attributes of the image file: rustix' `Stat` has no other constructor.
    template: Stat,
    device: u64,
}

/// Extended attributes of an image.
struct XattrTable {
    /// Position of the metadata blocks with names and values.
    start: u64,
    lists: MetadataTable,
}

/// Position in a folder's listing, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListingKey {
    /// Folder.
    pub folder: InodeRef,
    /// Bytes of the listing before the position.
    pub passed: u64,
}

impl Weighed for MetadataPosition {
    fn weight(&self) -> u64 {
        1
    }
}

impl SquashfsImage {
    /// Opens the image that begins at `base` (bytes) of a regular file. Reads the superblock alone. Errors: invalid for
    /// a file that is no complete squashfs image, or one of an unsupported version or codec.
    pub fn open(file: OwnedFd, base: u64, limits: CacheLimits) -> Result<Arc<Self>> {
        let template = rustix::fs::fstat(&file).context(|| "cannot read the image's attributes")?;
        if FileType::from_raw_mode(template.st_mode) != FileType::RegularFile {
            fail!(Invalid: "a squashfs image must be a regular file");
        }
        let available = u64::try_from(template.st_size).unwrap_or_default().saturating_sub(base);
        let whole = ImageBytes::new(file, base, available);
        let mut superblock = [0; Superblock::SIZE];
        if available < Superblock::SIZE as u64 {
            fail!(Invalid: "not a squashfs image: it is shorter than a superblock");
        }
        whole.read_exact(0, &mut superblock).context(|| "cannot read the superblock")?;
        let superblock = Superblock::parse(&superblock);
        let codec = check_kind(&superblock)?;
        check_layout(&superblock, available)?;
        let bytes = Arc::new(whole.cut(superblock.bytes_used));
        let inflaters = Arc::new(Inflaters::new(codec));
        let blocks = Arc::new(DataBlocks::new(
            Arc::clone(&bytes),
            Arc::clone(&inflaters),
            superblock.block_size,
            limits.data_bytes,
        ));
        Ok(Arc::new(Self {
            metadata: Metadata::new(bytes, inflaters, limits.metadata_bytes),
            ahead: ReadAhead::new(Arc::clone(&blocks), limits.workers),
            blocks,
            ids: id_table(&superblock),
            known_ids: OnceLock::new(),
            fragments: fragment_table(&superblock),
            xattrs: OnceLock::new(),
            fragment_readers: Readers::default(),
            layouts: BlockCache::new(KEPT_LAYOUTS, 1),
            positions: BlockCache::new(KEPT_POSITIONS, 1),
            folders_end: folders_end(&superblock),
            superblock,
            device: device_of(&template, base),
            template,
        }))
    }

    /// Location of the root folder.
    pub fn root(&self) -> InodeRef {
        InodeRef::from_raw(self.superblock.root)
    }

    /// Sizes of the image.
    pub fn space(&self) -> ImageSpace {
        ImageSpace {
            bytes: self.superblock.bytes_used,
            inodes: self.superblock.inode_count.into(),
            block_size: self.superblock.block_size,
        }
    }

    /// Offset in the file behind the file system, a multiple of 4 KiB behind the base. The file may end before.
    pub fn end(&self) -> u64 {
        let padded = self.superblock.bytes_used.checked_next_multiple_of(END_ALIGNMENT);
        padded.and_then(|size| size.checked_add(self.metadata.bytes().base())).unwrap_or(u64::MAX)
    }

    /// Counts of blocks that were read from the file.
    pub fn loads(&self) -> LoadCounts {
        LoadCounts {
            data: self.blocks.loads(),
            ahead: self.blocks.loads_ahead(),
            metadata: self.metadata.loads(),
        }
    }

    /// True if the image has a table of extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.superblock.xattr_table != NO_TABLE
    }

    /// Superblock of the image.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Attributes to fill, with the device number of this image: larger than any of the kernel's, which have 32 bits.
    pub(super) fn blank_stat(&self) -> Stat {
        let mut stat = self.template;
        stat.st_dev = self.device as _;
        stat.st_blksize = self.superblock.block_size as _;
        stat
    }

    /// Reads from an inode.
    pub(super) fn inode_cursor(&self, inode: InodeRef) -> Result<MetadataCursor<'_>, Errno> {
        let block = self.superblock.inode_table.checked_add(inode.block()).ok_or(Errno::IO)?;
        let position = MetadataPosition { block, offset: inode.offset().into() };
        self.metadata.cursor(position, self.inodes_end())
    }

    /// End of the inodes.
    pub(super) fn inodes_end(&self) -> u64 {
        self.superblock.folder_table
    }

    /// Position in the folders' listings: start of a block, relative to their table, and offset.
    pub(super) fn folder_position(&self, block: u32, offset: usize) -> MetadataPosition {
        let block = self.superblock.folder_table.saturating_add(block.into());
        MetadataPosition { block, offset }
    }

    /// Reads from a position in the folders' listings.
    pub(super) fn folder_cursor(
        &self,
        from: MetadataPosition,
    ) -> Result<MetadataCursor<'_>, Errno> {
        self.metadata.cursor(from, self.folders_end)
    }

    /// Returns the ID of an index.
    pub(super) fn id(&self, index: u16) -> Result<u32, Errno> {
        let read =
            |index: u16| self.ids.record(&self.metadata, index.into()).map(u32::from_le_bytes);
        let read_all = || (0..self.superblock.id_count).map(read).collect::<Result<_, _>>();
        let known = self.known_ids.get_or_init(|| read_all().unwrap_or_default());
        known.get(usize::from(index)).map_or_else(|| read(index), |id| Ok(*id))
    }

    /// Returns the location of a fragment block.
    pub(super) fn fragment(&self, index: u32) -> Result<BlockKey, Errno> {
        let record = self.fragments.record(&self.metadata, index.into())?;
        let FragmentEntry { start, word, .. } = FragmentEntry::parse(&record);
        Ok(BlockKey { start, word: BlockWord(word) })
    }

    /// Returns the attribute list of an index.
    pub(super) fn xattr_list(&self, index: u32) -> Result<XattrListEntry, Errno> {
        let record = self.xattr_table()?.lists.record(&self.metadata, index.into())?;
        Ok(XattrListEntry::parse(&record))
    }

    /// Reads from a position in the names and values of attributes.
    pub(super) fn xattr_cursor(&self, position: u64) -> Result<MetadataCursor<'_>, Errno> {
        let at = InodeRef::from_raw(position);
        let block = self.xattr_table()?.start.checked_add(at.block()).ok_or(Errno::IO)?;
        let position = MetadataPosition { block, offset: at.offset().into() };
        self.metadata.cursor(position, self.superblock.xattr_table)
    }

    fn xattr_table(&self) -> Result<&XattrTable, Errno> {
        if let Some(table) = self.xattrs.get() {
            return Ok(table);
        }
        let (bytes, at) = (self.metadata.bytes(), self.superblock.xattr_table);
        let mut header = [0; XattrTableHeader::SIZE];
        bytes.read_exact(at, &mut header)?;
        let header = XattrTableHeader::parse(&header);
        let list = at + XattrTableHeader::SIZE as u64;
        let lists = MetadataTable::new(list, header.count.into(), XattrListEntry::SIZE);
        if lists.end().is_none_or(|end| end > bytes.size()) {
            return Err(Errno::IO);
        }
        Ok(self.xattrs.get_or_init(|| XattrTable { start: header.start, lists }))
    }
}

/// Checks that the file is an image that this reader knows, and returns its codec.
fn check_kind(superblock: &Superblock) -> Result<SquashfsCodec> {
    if superblock.magic != MAGIC {
        fail!(Invalid: "not a squashfs image: the magic number is {:#x}", superblock.magic);
    }
    let version = (superblock.version_major, superblock.version_minor);
    if version != (VERSION_MAJOR, VERSION_MINOR) {
        let (major, minor) = version;
        return Err(Error::new(format!("squashfs version {major}.{minor} is not supported"))
            .of_kind(ErrorKind::Invalid)
            .hint(hint::CONVERT_SQUASHFS));
    }
    match SquashfsCodec::of_number(superblock.codec) {
        Some(codec @ (SquashfsCodec::Lzma | SquashfsCodec::Lzo)) => {
            Err(Error::new(format!("squashfs with {codec} compression is not supported"))
                .of_kind(ErrorKind::Invalid)
                .hint(hint::CONVERT_SQUASHFS))
        }
        Some(codec) => Ok(codec),
        None => fail!(Invalid: "squashfs with an unknown compression ({})", superblock.codec),
    }
}

/// Checks sizes and positions in the superblock against each other, and against the bytes there are.
fn check_layout(superblock: &Superblock, available: u64) -> Result<()> {
    let size = superblock.bytes_used;
    if size > available {
        return Err(Error::new(format!(
            "the squashfs image is truncated: {available} of {size} bytes are there"
        ))
        .of_kind(ErrorKind::Invalid)
        .hint(hint::COPY_AGAIN));
    }
    let block = superblock.block_size;
    let has_block_size = (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&block)
        && 1u32.checked_shl(superblock.block_log.into()) == Some(block);
    if !has_block_size {
        fail!(Invalid: "the squashfs image is damaged: its blocks have {block} bytes");
    }
    let (inodes, folders) = (superblock.inode_table, superblock.folder_table);
    let is_ordered = Superblock::SIZE as u64 <= inodes && inodes < folders && folders < size;
    let fits = |table: MetadataTable| table.end().is_some_and(|end| end <= size);
    let root = inodes.saturating_add(InodeRef::from_raw(superblock.root).block());
    let has_xattrs = superblock.xattr_table == NO_TABLE
        || superblock.xattr_table < size.saturating_sub(XattrTableHeader::SIZE as u64 - 1);
    let tables = [
        ("inodes", is_ordered && root < folders),
        ("IDs", superblock.id_count > 0 && fits(id_table(superblock))),
        ("fragments", fits(fragment_table(superblock))),
        ("extended attributes", has_xattrs),
    ];
    if let Some((table, _)) = tables.iter().find(|(_, is_right)| !is_right) {
        fail!(Invalid: "the squashfs image is damaged: its table of {table} is misplaced");
    }
    Ok(())
}

fn id_table(superblock: &Superblock) -> MetadataTable {
    MetadataTable::new(superblock.id_table, superblock.id_count.into(), size_of::<u32>())
}

/// Returns the fragment table, which is empty where the image has none.
fn fragment_table(superblock: &Superblock) -> MetadataTable {
    let (list, count) = match superblock.fragment_table {
        NO_TABLE => (0, 0),
        list => (list, superblock.fragment_count.into()),
    };
    MetadataTable::new(list, count, FragmentEntry::SIZE)
}

/// Returns the end of the folders' listings: the first table behind, at the latest.
fn folders_end(superblock: &Superblock) -> u64 {
    let tables = [
        superblock.fragment_table,
        superblock.export_table,
        superblock.id_table,
        superblock.xattr_table,
    ];
    let behind = tables.into_iter().filter(|start| *start > superblock.folder_table);
    behind.fold(superblock.bytes_used, u64::min)
}

/// Returns a device number for the image at `base` of a file: the same whenever the file is opened, so that what was
/// recorded about `(st_dev, st_ino)` in an earlier process still holds. No other image has it, but by a clash of hashes.
fn device_of(file: &Stat, base: u64) -> u64 {
    /// Beyond the 32 bits of the kernel's device numbers.
    const BEYOND: u64 = 1 << 63;
    let mut hasher = DefaultHasher::new();
    (file.st_ino, file.st_size, file.st_mtime, file.st_mtime_nsec, base).hash(&mut hasher);
    hasher.finish() | BEYOND
}
