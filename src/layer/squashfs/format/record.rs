//! Records of squashfs: little endian integers of fixed places, without padding.

/// Defines records of fixed size: little endian integers without padding.
macro_rules! records {
    ($($(#[$about:meta])* pub struct $name:ident { $($(#[$fact:meta])* pub $field:ident: $number:ty,)* })*) => { $(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$fact])* pub $field: $number,)* }

        impl $name {
            /// Size on disk, in bytes.
            pub const SIZE: usize = 0 $(+ size_of::<$number>())*;

            /// Decodes a record.
            pub fn parse(bytes: &[u8; Self::SIZE]) -> Self {
                let mut rest = bytes.as_slice();
                $(let $field = <$number>::from_le_bytes(take(&mut rest));)*
                Self { $($field,)* }
            }

            /// Encodes a record.
            pub fn to_bytes(&self) -> [u8; Self::SIZE] {
                let mut bytes = [0; Self::SIZE];
                let mut rest = bytes.as_mut_slice();
                $(put(&mut rest, &self.$field.to_le_bytes());)*
                bytes
            }
        }
    )* };
}

/// Takes the first bytes; zeros beyond the end, which no record reaches.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk() {
        Some((first, behind)) => {
            *rest = behind;
            *first
        }
        None => [0; N],
    }
}

/// Writes the next bytes of a record.
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    if let Some((first, behind)) = std::mem::take(rest).split_at_mut_checked(bytes.len()) {
        first.copy_from_slice(bytes);
        *rest = behind;
    }
}

records! {
    /// Superblock, at the start of an image. Starts of tables are bytes from there;
    /// [`NO_TABLE`](super::NO_TABLE) for a missing one.
    pub struct Superblock {
        /// [`MAGIC`](super::MAGIC).
        pub magic: u32,
        /// Count of inodes.
        pub inode_count: u32,
        /// Time of creation, in seconds since 1970.
        pub mtime: u32,
        /// Size of data blocks, in bytes: a power of two.
        pub block_size: u32,
        /// Count of fragment blocks.
        pub fragment_count: u32,
        /// [`SquashfsCodec`](super::SquashfsCodec).
        pub codec: u16,
        /// Binary logarithm of the block size.
        pub block_log: u16,
        /// [`flags`](super::flags).
        pub flags: u16,
        /// Count of user and group IDs.
        pub id_count: u16,
        /// [`VERSION_MAJOR`](super::VERSION_MAJOR).
        pub version_major: u16,
        /// [`VERSION_MINOR`](super::VERSION_MINOR).
        pub version_minor: u16,
        /// [`InodeRef`](super::InodeRef) of the root.
        pub root: u64,
        /// Size of the file system, in bytes.
        pub bytes_used: u64,
        /// Start of the id table's list of blocks.
        pub id_table: u64,
        /// Start of the [`XattrTableHeader`].
        pub xattr_table: u64,
        /// Start of the inodes.
        pub inode_table: u64,
        /// Start of the folders' listings.
        pub folder_table: u64,
        /// Start of the fragment table's list of blocks.
        pub fragment_table: u64,
        /// Start of the export table's list of blocks.
        pub export_table: u64,
    }

    /// First part of every inode.
    pub struct InodeHeader {
        /// [`InodeKind::basic`](super::InodeKind::basic) or [`InodeKind::extended`](super::InodeKind::extended).
        pub kind: u16,
        /// Permission bits, with set-user-ID, set-group-ID and sticky bits.
        pub mode: u16,
        /// Index of the owner in the id table.
        pub uid: u16,
        /// Index of the group in the id table.
        pub gid: u16,
        /// Time of last modification, in seconds since 1970.
        pub mtime: u32,
        /// Inode number, from 1.
        pub number: u32,
    }

    /// Folder whose listing is shorter than 64 KiB, without attributes.
    pub struct BasicFolder {
        /// Metadata block of the listing, relative to the folder table.
        pub block: u32,
        /// Count of links: 2 and one for each subfolder.
        pub nlink: u32,
        /// Size of the listing and [`LISTING_SURPLUS`](super::LISTING_SURPLUS), in bytes.
        pub size: u16,
        /// Offset of the listing in its block.
        pub offset: u16,
        /// Inode number of the parent.
        pub parent: u32,
    }

    /// Folder of any size. [`FolderIndexEntry`]s follow.
    pub struct ExtendedFolder {
        /// Count of links: 2 and one for each subfolder.
        pub nlink: u32,
        /// Size of the listing and [`LISTING_SURPLUS`](super::LISTING_SURPLUS), in bytes.
        pub size: u32,
        /// Metadata block of the listing, relative to the folder table.
        pub block: u32,
        /// Inode number of the parent.
        pub parent: u32,
        /// Count of index entries.
        pub index_count: u16,
        /// Offset of the listing in its block.
        pub offset: u16,
        /// Index of the extended attributes, or [`NO_XATTRS`](super::NO_XATTRS).
        pub xattrs: u32,
    }

    /// Step in the index of an extended folder. The name follows.
    pub struct FolderIndexEntry {
        /// Position in the listing of a [`FolderHeader`], in bytes.
        pub position: u32,
        /// Metadata block of that header, relative to the folder table.
        pub block: u32,
        /// Length of the first name below that header, in bytes, less one.
        pub name_size: u32,
    }

    /// Regular file below 4 GiB with one link and without attributes. [`BlockWord`](super::BlockWord)s follow.
    pub struct BasicFile {
        /// Start of the first data block.
        pub start: u32,
        /// Index of the fragment block, or [`NO_FRAGMENT`](super::NO_FRAGMENT).
        pub fragment: u32,
        /// Offset of the tail in the inflated fragment block.
        pub offset: u32,
        /// Size of the file, in bytes.
        pub size: u32,
    }

    /// Regular file of any kind. [`BlockWord`](super::BlockWord)s follow.
    pub struct ExtendedFile {
        /// Start of the first data block.
        pub start: u64,
        /// Size of the file, in bytes.
        pub size: u64,
        /// Bytes in holes.
        pub sparse: u64,
        /// Count of links.
        pub nlink: u32,
        /// Index of the fragment block, or [`NO_FRAGMENT`](super::NO_FRAGMENT).
        pub fragment: u32,
        /// Offset of the tail in the inflated fragment block.
        pub offset: u32,
        /// Index of the extended attributes, or [`NO_XATTRS`](super::NO_XATTRS).
        pub xattrs: u32,
    }

    /// Symbolic link. The target follows; in an extended one, the index of the attributes (u32) follows the target.
    pub struct SymlinkInode {
        /// Count of links.
        pub nlink: u32,
        /// Length of the target, in bytes.
        pub target_size: u32,
    }

    /// Device. In an extended one, the index of the attributes (u32) follows.
    pub struct DeviceInode {
        /// Count of links.
        pub nlink: u32,
        /// Device number, as [`encode_device`](super::encode_device).
        pub rdev: u32,
    }

    /// FIFO or socket. In an extended one, the index of the attributes (u32) follows.
    pub struct IpcInode {
        /// Count of links.
        pub nlink: u32,
    }

    /// Head of up to [`MOST_BELOW_HEADER`](super::MOST_BELOW_HEADER) entries of a folder, whose inodes share a
    /// metadata block.
    pub struct FolderHeader {
        /// Count of entries, less one.
        pub count: u32,
        /// Metadata block of the inodes, relative to the inode table.
        pub block: u32,
        /// Inode number to which the entries are relative.
        pub number: u32,
    }

    /// Entry of a folder. The name follows; names ascend, as bytes.
    pub struct FolderEntryHeader {
        /// Offset of the inode in its metadata block.
        pub offset: u16,
        /// Difference between the inode number and the header's.
        pub number: i16,
        /// [`InodeKind::basic`](super::InodeKind::basic), also of an extended inode.
        pub kind: u16,
        /// Length of the name, in bytes, less one.
        pub name_size: u16,
    }

    /// Entry of the fragment table.
    pub struct FragmentEntry {
        /// Start of the fragment block.
        pub start: u64,
        /// [`BlockWord`](super::BlockWord).
        pub word: u32,
        /// Unused: zero.
        pub unused: u32,
    }

    /// Head of the attribute table. The starts of the metadata blocks with [`XattrListEntry`]s follow (u64 each).
    pub struct XattrTableHeader {
        /// Start of the metadata blocks with names and values.
        pub start: u64,
        /// Count of list entries.
        pub count: u32,
        /// Unused: zero.
        pub unused: u32,
    }

    /// Attributes of one inode, or of several with the same.
    pub struct XattrListEntry {
        /// Position of the first name: block, relative to the table's start, and offset, as in an
        /// [`InodeRef`](super::InodeRef).
        pub position: u64,
        /// Count of attributes.
        pub count: u32,
        /// Size of names and values, in bytes.
        pub size: u32,
    }

    /// Head of an attribute's name. Name without prefix, size of the value (u32) and value follow.
    pub struct XattrName {
        /// Number of the prefix, and [`XATTR_OUT_OF_LINE`](super::XATTR_OUT_OF_LINE).
        pub prefix: u16,
        /// Length of the name without prefix, in bytes.
        pub size: u16,
    }
}
