//! Inodes: the attributes of files, and the positions of their content.

use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::format::{
    BasicFile, BasicFolder, DeviceInode, ExtendedFile, ExtendedFolder, InodeForm, InodeHeader,
    InodeKind, InodeRef, IpcInode, LISTING_SURPLUS, LONGEST_TARGET, NO_FRAGMENT, NO_XATTRS,
    SymlinkInode, decode_device,
};
use super::image::SquashfsImage;
use super::layout::{BlockListing, FileLayout};
use super::metadata::{MetadataCursor, MetadataPosition};

/// Unit of `st_blocks`, in bytes.
const STAT_BLOCK: u64 = 512;

/// Inode, decoded.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Location in the image.
    pub reference: InodeRef,
    /// Number in the image, from 1. Hard links share it. In an image that contradicts itself, other files do too.
    pub number: u64,
    /// Kind of file.
    pub kind: InodeKind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification, in seconds since 1970.
    pub mtime: u32,
    /// Count of links.
    pub nlink: u32,
    /// Size, in bytes: of a folder, that of its listing on disk.
    pub size: u64,
    /// Device number, as in `st_rdev`; 0 for no device.
    pub rdev: u64,
    /// Number of the parent's inode, of a folder; else 0.
    pub parent: u64,
    /// Index of the attributes.
    pub(super) xattrs: u32,
    pub(super) content: InodeContent,
}

/// Position of an inode's content.
#[derive(Clone, Copy, Debug)]
pub enum InodeContent {
    /// Listing of a folder.
    Folder(FolderContent),
    /// Data of a regular file.
    File(FileContent),
    /// Target of a symbolic link.
    Symlink(MetadataPosition),
    /// No content.
    None,
}

/// Listing of a folder.
#[derive(Clone, Copy, Debug)]
pub struct FolderContent {
    /// Metadata block, relative to the folder table.
    pub block: u32,
    /// Offset in the block.
    pub offset: u16,
    /// Size, in bytes.
    pub size: u64,
    /// Position of the index.
    pub index: MetadataPosition,
    /// Count of entries in the index.
    pub index_count: u16,
}

/// Data of a regular file.
#[derive(Clone, Copy, Debug)]
pub struct FileContent {
    /// Data blocks.
    pub blocks: BlockListing,
    /// Fragment with the tail.
    pub tail: Option<FileTail>,
    /// Bytes in holes.
    pub sparse: u64,
}

/// Tail of a file, in a fragment block.
#[derive(Clone, Copy, Debug)]
pub struct FileTail {
    /// Index of the fragment block.
    pub fragment: u32,
    /// Offset in the inflated block.
    pub offset: u32,
}

impl Inode {
    /// Count of blocks of 512 bytes, as in `st_blocks`.
    pub fn blocks(&self) -> u64 {
        let sparse = match &self.content {
            InodeContent::File(content) => content.sparse,
            _ => 0,
        };
        self.size.saturating_sub(sparse).div_ceil(STAT_BLOCK)
    }

    /// True if the file has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.xattrs != NO_XATTRS
    }
}

/// Fields of a regular file in either form.
struct FileFields {
    start: u64,
    size: u64,
    fragment: u32,
    offset: u32,
    sparse: u64,
}

impl SquashfsImage {
    /// Reads an inode. Errors: EIO for a location that holds none.
    pub fn inode(&self, reference: InodeRef) -> Result<Inode, Errno> {
        let mut cursor = self.inode_cursor(reference)?;
        let header = InodeHeader::parse(&cursor.take()?);
        let (kind, form) = InodeKind::of_inode(header.kind).ok_or(Errno::IO)?;
        if header.number == 0 {
            return Err(Errno::IO);
        }
        let mut inode = Inode {
            reference,
            number: header.number.into(),
            kind,
            mode: (header.mode & 0o7777).into(),
            uid: self.id(header.uid)?,
            gid: self.id(header.gid)?,
            mtime: header.mtime,
            nlink: 1,
            size: 0,
            rdev: 0,
            parent: 0,
            xattrs: NO_XATTRS,
            content: InodeContent::None,
        };
        match (kind, form) {
            (InodeKind::Folder, form) => read_folder(&mut inode, &mut cursor, form)?,
            (InodeKind::File, form) => self.read_file(&mut inode, &mut cursor, form)?,
            (InodeKind::Symlink, form) => read_symlink(&mut inode, &mut cursor, form)?,
            (InodeKind::BlockDevice | InodeKind::CharacterDevice, form) => {
                let device = DeviceInode::parse(&cursor.take()?);
                inode.nlink = device.nlink;
                inode.rdev = decode_device(device.rdev);
                inode.xattrs = read_xattrs(&mut cursor, form)?;
            }
            (InodeKind::Fifo | InodeKind::Socket, form) => {
                inode.nlink = IpcInode::parse(&cursor.take()?).nlink;
                inode.xattrs = read_xattrs(&mut cursor, form)?;
            }
        }
        Ok(inode)
    }

    /// Attributes of a file, as lstat(2) has them. `st_dev` is the image's own in this process, and no number of the
    /// kernel's. All times are those of the last modification.
    pub fn stat(&self, inode: &Inode) -> Stat {
        let mut stat = self.blank_stat();
        stat.st_ino = inode.number as _;
        stat.st_mode = (inode.kind.mode_bits() | inode.mode) as _;
        stat.st_nlink = inode.nlink as _;
        stat.st_uid = inode.uid;
        stat.st_gid = inode.gid;
        stat.st_rdev = inode.rdev as _;
        // No image can hold more; a reader finds the end by EIO.
        stat.st_size = i64::try_from(inode.size).unwrap_or(i64::MAX) as _;
        stat.st_blocks = inode.blocks() as _;
        for time in [&mut stat.st_atime, &mut stat.st_mtime, &mut stat.st_ctime] {
            *time = inode.mtime as _;
        }
        for part in [&mut stat.st_atime_nsec, &mut stat.st_mtime_nsec, &mut stat.st_ctime_nsec] {
            *part = 0;
        }
        stat
    }

    /// Reads the target of a symbolic link. Errors: EINVAL for another kind of file.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, Errno> {
        let InodeContent::Symlink(position) = inode.content else { return Err(Errno::INVAL) };
        let mut target = vec![0; usize::try_from(inode.size).map_err(|_| Errno::IO)?];
        self.metadata.cursor(position, self.inodes_end())?.read(&mut target)?;
        match target.contains(&0) {
            true => Err(Errno::IO),
            false => Ok(target),
        }
    }

    /// Returns the block list of a file: that of earlier readers, where it has more than one block.
    pub(super) fn layout(
        &self,
        reference: InodeRef,
        content: &FileContent,
    ) -> Result<Arc<FileLayout>, Errno> {
        let make = || FileLayout::new(content.blocks).map(Arc::new);
        match content.blocks.count {
            0 | 1 => make(),
            _ => self.layouts.get_or_load(reference, make),
        }
    }

    fn read_file(
        &self,
        inode: &mut Inode,
        cursor: &mut MetadataCursor<'_>,
        form: InodeForm,
    ) -> Result<(), Errno> {
        let fields = match form {
            InodeForm::Basic => {
                let BasicFile { start, fragment, offset, size } = BasicFile::parse(&cursor.take()?);
                let (start, size) = (start.into(), size.into());
                FileFields { start, size, fragment, offset, sparse: 0 }
            }
            InodeForm::Extended => {
                let file = ExtendedFile::parse(&cursor.take()?);
                (inode.nlink, inode.xattrs) = (file.nlink, file.xattrs);
                let ExtendedFile { start, size, fragment, offset, sparse, .. } = file;
                FileFields { start, size, fragment, offset, sparse }
            }
        };
        let block_size = u64::from(self.superblock().block_size);
        let (count, tail) = match fields.fragment {
            NO_FRAGMENT => (fields.size.div_ceil(block_size), None),
            fragment => {
                let tail = FileTail { fragment, offset: fields.offset };
                (fields.size / block_size, Some(tail))
            }
        };
        let list = cursor.position();
        let blocks = BlockListing { list, list_end: self.inodes_end(), start: fields.start, count };
        inode.size = fields.size;
        inode.content = InodeContent::File(FileContent { blocks, tail, sparse: fields.sparse });
        Ok(())
    }
}

fn read_folder(
    inode: &mut Inode,
    cursor: &mut MetadataCursor<'_>,
    form: InodeForm,
) -> Result<(), Errno> {
    let folder = match form {
        InodeForm::Basic => {
            let folder = BasicFolder::parse(&cursor.take()?);
            let BasicFolder { block, nlink, offset, parent, .. } = folder;
            let (size, xattrs) = (folder.size.into(), NO_XATTRS);
            ExtendedFolder { nlink, size, block, parent, index_count: 0, offset, xattrs }
        }
        InodeForm::Extended => ExtendedFolder::parse(&cursor.take()?),
    };
    inode.nlink = folder.nlink;
    inode.size = folder.size.into();
    inode.parent = folder.parent.into();
    inode.xattrs = folder.xattrs;
    inode.content = InodeContent::Folder(FolderContent {
        block: folder.block,
        offset: folder.offset,
        size: folder.size.saturating_sub(LISTING_SURPLUS).into(),
        index: cursor.position(),
        index_count: folder.index_count,
    });
    Ok(())
}

fn read_symlink(
    inode: &mut Inode,
    cursor: &mut MetadataCursor<'_>,
    form: InodeForm,
) -> Result<(), Errno> {
    let link = SymlinkInode::parse(&cursor.take()?);
    let size = u64::from(link.target_size);
    if size == 0 || size > LONGEST_TARGET as u64 {
        return Err(Errno::IO);
    }
    inode.nlink = link.nlink;
    inode.size = size;
    inode.content = InodeContent::Symlink(cursor.position());
    cursor.skip(size)?;
    inode.xattrs = read_xattrs(cursor, form)?;
    Ok(())
}

/// Reads the index of the attributes, with which an extended inode ends.
fn read_xattrs(cursor: &mut MetadataCursor<'_>, form: InodeForm) -> Result<u32, Errno> {
    match form {
        InodeForm::Basic => Ok(NO_XATTRS),
        InodeForm::Extended => cursor.take().map(u32::from_le_bytes),
    }
}
