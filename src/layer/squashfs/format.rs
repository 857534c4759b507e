//! On-disk format of squashfs 4.0: constants, records and encodings. All numbers are little endian. No I/O here.
//!
//! ```text
//!  superblock | options of the codec | data blocks and fragments | inodes | folders | fragment table | export table
//!   | id table | extended attributes
//! ```
//!
//! Inodes, folders, tables and attributes lie in metadata blocks: a [`MetadataHeader`], then up to 8 KiB, often
//! compressed. Content runs on from one metadata block to the next. A position in it is the start of a block, relative
//! to its table, and an offset in the inflated content.

mod record;

use std::fmt::{self, Display};

pub use record::{
    BasicFile, BasicFolder, DeviceInode, ExtendedFile, ExtendedFolder, FolderEntryHeader,
    FolderHeader, FolderIndexEntry, FragmentEntry, InodeHeader, IpcInode, Superblock, SymlinkInode,
    XattrListEntry, XattrName, XattrTableHeader,
};

/// First four bytes of an image, `hsqs` as text.
pub const MAGIC: u32 = 0x7371_7368;
/// Major version of the format.
pub const VERSION_MAJOR: u16 = 4;
/// Minor version of the format.
pub const VERSION_MINOR: u16 = 0;
/// Inflated size of a full metadata block, in bytes.
pub const METADATA_SIZE: usize = 8192;
/// Smallest size of data blocks, in bytes.
pub const SMALLEST_BLOCK: u32 = 4 << 10;
/// Largest size of data blocks, in bytes.
pub const LARGEST_BLOCK: u32 = 1 << 20;
/// Start of a table that the image does not have.
pub const NO_TABLE: u64 = u64::MAX;
/// Fragment index of a file without a fragment.
pub const NO_FRAGMENT: u32 = u32::MAX;
/// Attribute index of an inode without extended attributes.
pub const NO_XATTRS: u32 = u32::MAX;
/// Bytes that the size of a folder's listing exceeds its records by, for `.` and `..`. An empty folder has this size.
pub const LISTING_SURPLUS: u32 = 3;
/// Limit of entries below one [`FolderHeader`].
pub const MOST_BELOW_HEADER: u32 = 256;
/// Limit of bytes in a name (NAME_MAX).
pub const LONGEST_NAME: usize = 255;
/// Limit of bytes in a symbolic link's target (PATH_MAX without the zero).
pub const LONGEST_TARGET: usize = 4095;
/// Limit of bytes in the value of an extended attribute (XATTR_SIZE_MAX).
pub const LONGEST_VALUE: usize = 1 << 16;
/// Limit of bytes in the list of a file's attribute names (XATTR_LIST_MAX).
pub const LONGEST_XATTR_LIST: usize = 1 << 16;
/// Alignment of an image's end (bytes): mksquashfs pads to it.
pub const END_ALIGNMENT: u64 = 4096;

/// Flags of the superblock.
pub mod flags {
    /// Inodes and folders are stored uncompressed.
    pub const UNCOMPRESSED_INODES: u16 = 0x0001;
    /// Data blocks are stored uncompressed.
    pub const UNCOMPRESSED_DATA: u16 = 0x0002;
    /// Fragment blocks are stored uncompressed.
    pub const UNCOMPRESSED_FRAGMENTS: u16 = 0x0008;
    /// No fragments: tails of files are data blocks.
    pub const NO_FRAGMENTS: u16 = 0x0010;
    /// Tails of files longer than a block are fragments too.
    pub const ALWAYS_FRAGMENTS: u16 = 0x0020;
    /// Files of the same content share their blocks.
    pub const DUPLICATES: u16 = 0x0040;
    /// An export table exists.
    pub const EXPORTABLE: u16 = 0x0080;
    /// Extended attributes are stored uncompressed.
    pub const UNCOMPRESSED_XATTRS: u16 = 0x0100;
    /// No extended attributes.
    pub const NO_XATTRS: u16 = 0x0200;
    /// A metadata block with options of the codec follows the superblock.
    pub const COMPRESSOR_OPTIONS: u16 = 0x0400;
    /// The id table is stored uncompressed.
    pub const UNCOMPRESSED_IDS: u16 = 0x0800;
}

/// Flag of an attribute whose value is elsewhere: its own value is a position as in [`XattrListEntry`], at which size
/// and value stand.
pub const XATTR_OUT_OF_LINE: u16 = 0x100;

/// Prefixes of attribute names by their number.
pub const XATTR_PREFIXES: [&str; 3] = ["user.", "trusted.", "security."];

/// Header of a metadata block: size on disk, and if it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataHeader(pub u16);

impl MetadataHeader {
    /// Size on disk, in bytes.
    pub const SIZE: usize = 2;
    const UNCOMPRESSED: u16 = 1 << 15;

    /// Header of a compressed block of `size` bytes on disk.
    pub fn compressed(size: u16) -> Self {
        Self(size)
    }

    /// Header of an uncompressed block of `size` bytes.
    pub fn uncompressed(size: u16) -> Self {
        Self(size | Self::UNCOMPRESSED)
    }

    /// Bytes of the block on disk, without the header.
    pub fn stored(self) -> usize {
        (self.0 & !Self::UNCOMPRESSED).into()
    }

    /// True if the block must be inflated.
    pub fn is_compressed(self) -> bool {
        self.0 & Self::UNCOMPRESSED == 0
    }
}

/// Word that describes a data or fragment block: size on disk, and if it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockWord(pub u32);

impl BlockWord {
    /// Block of zeros that is not stored.
    pub const HOLE: Self = Self(0);
    const UNCOMPRESSED: u32 = 1 << 24;

    /// Word of a compressed block of `size` bytes on disk.
    pub fn compressed(size: u32) -> Self {
        Self(size)
    }

    /// Word of an uncompressed block of `size` bytes.
    pub fn uncompressed(size: u32) -> Self {
        Self(size | Self::UNCOMPRESSED)
    }

    /// Bytes of the block on disk.
    pub fn stored(self) -> u32 {
        self.0 & (Self::UNCOMPRESSED - 1)
    }

    /// True if the block must be inflated.
    pub fn is_compressed(self) -> bool {
        self.0 & Self::UNCOMPRESSED == 0
    }

    /// True if the block is not stored, but all zeros.
    pub fn is_hole(self) -> bool {
        self.stored() == 0
    }

    /// True if no bit beyond size and flag is set.
    pub fn is_valid(self) -> bool {
        self.0 < Self::UNCOMPRESSED << 1
    }
}

/// Location of an inode: its metadata block, relative to the inode table, and the offset there. Identifies the inode.
/// A location from outside is checked by reading the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeRef(u64);

impl InodeRef {
    const RESERVED: u64 = 2;

    /// Makes the location of a metadata block's start and an offset in it.
    pub fn new(block: u32, offset: u16) -> Self {
        Self(u64::from(block) << 16 | u64::from(offset))
    }

    /// Takes the number as on disk, or from a file handle. Any number is taken: reading checks it.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Number as on disk.
    pub fn raw(self) -> u64 {
        self.0
    }

    /// Start of the metadata block, relative to the inode table.
    pub fn block(self) -> u64 {
        self.0 >> 16
    }

    /// Offset in the inflated metadata block.
    pub fn offset(self) -> u16 {
        self.0 as u16
    }

    /// Number for a FUSE node: neither 0, which means none, nor 1, which means the root.
    pub fn node_id(self) -> u64 {
        self.0.saturating_add(Self::RESERVED)
    }

    /// Returns the location of [`InodeRef::node_id`]; `None` for 0 and 1.
    pub fn from_node_id(id: u64) -> Option<Self> {
        id.checked_sub(Self::RESERVED).map(Self)
    }
}

/// Kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InodeKind {
    /// Folder.
    Folder,
    /// Regular file.
    File,
    /// Symbolic link.
    Symlink,
    /// Block device.
    BlockDevice,
    /// Character device.
    CharacterDevice,
    /// FIFO.
    Fifo,
    /// Socket.
    Socket,
}

/// Form of an inode on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InodeForm {
    /// Short form: no attributes, small numbers.
    Basic,
    /// Long form.
    Extended,
}

impl InodeKind {
    const ALL: [Self; 7] = [
        Self::Folder,
        Self::File,
        Self::Symlink,
        Self::BlockDevice,
        Self::CharacterDevice,
        Self::Fifo,
        Self::Socket,
    ];
    const KINDS: u16 = Self::ALL.len() as u16;

    /// Number of a basic inode, which is the number in a folder's entry too.
    pub fn basic(self) -> u16 {
        self as u16 + 1
    }

    /// Number of an extended inode.
    pub fn extended(self) -> u16 {
        self.basic() + Self::KINDS
    }

    /// Returns the kind that an inode's number means.
    pub fn of_inode(number: u16) -> Option<(Self, InodeForm)> {
        match number.checked_sub(Self::KINDS) {
            Some(basic) if basic > 0 => Some((Self::of_entry(basic)?, InodeForm::Extended)),
            _ => Some((Self::of_entry(number)?, InodeForm::Basic)),
        }
    }

    /// Returns the kind that the number in a folder's entry means.
    pub fn of_entry(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Type bits of `st_mode`.
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Folder => libc::S_IFDIR,
            Self::File => libc::S_IFREG,
            Self::Symlink => libc::S_IFLNK,
            Self::BlockDevice => libc::S_IFBLK,
            Self::CharacterDevice => libc::S_IFCHR,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
        }
    }
}

/// Compression of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SquashfsCodec {
    /// zlib streams.
    Gzip,
    /// LZMA alone, of squashfs before 4.1.
    Lzma,
    /// LZO.
    Lzo,
    /// xz streams.
    Xz,
    /// LZ4 blocks.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl SquashfsCodec {
    const ALL: [Self; 6] = [Self::Gzip, Self::Lzma, Self::Lzo, Self::Xz, Self::Lz4, Self::Zstd];

    /// Number in the superblock.
    pub fn number(self) -> u16 {
        self as u16 + 1
    }

    /// Returns the codec of a superblock's number.
    pub fn of_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl Display for SquashfsCodec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Encodes a device number (Linux' `new_encode_dev`): 12 bits for the major number and 20 for the minor one.
pub fn encode_device(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// Decodes [`encode_device`] to a number as in `st_rdev`.
pub fn decode_device(encoded: u32) -> u64 {
    rustix::fs::makedev(encoded >> 8 & 0xfff, (encoded & 0xff) | (encoded >> 12 & 0xf_ff00))
}
