//! Attributes of a node, as stat(2) reports them.

use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::access::FileReach;
use super::layers::FsResult;
use super::node::{LayerIndex, Node, ROOT};
use super::overlay::OverlayTree;
use crate::layer::LowerFolder;
use crate::layer::override_stat::{OVERRIDE_STAT, Records};
use crate::layer::squashfs::SquashfsImage;

/// Point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// Result of stat(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAttributes {
    /// Inode number, which is the node's number too.
    pub number: u64,
    /// Size in bytes.
    pub size: u64,
    /// Allocated space, in blocks of 512 bytes.
    pub blocks: u64,
    /// Time of the last access.
    pub accessed: Time,
    /// Time of the last change of the content.
    pub modified: Time,
    /// Time of the last change of content or attributes.
    pub changed: Time,
    /// Type and permissions.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner, as shown.
    pub uid: u32,
    /// Group, as shown.
    pub gid: u32,
    /// Device number.
    pub rdev: u64,
    /// Preferred size of reads, in bytes.
    pub block_size: u32,
}

/// Result of statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsSpace {
    /// Total space, in blocks of `fragment_size`.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for callers without privileges.
    pub available: u64,
    /// Total number of inodes.
    pub files: u64,
    /// Free inodes.
    pub free_files: u64,
    /// Preferred size of reads, in bytes.
    pub block_size: u32,
    /// Longest name, in bytes.
    pub name_max: u32,
    /// Size of a block, in bytes.
    pub fragment_size: u32,
}

impl FsSpace {
    /// Length of the longest name in an image, in bytes.
    const IMAGE_NAME_MAX: u32 = 255;

    /// Space of an image, which has none left.
    pub fn of_image(image: &SquashfsImage) -> Self {
        let space = image.space();
        Self {
            blocks: space.bytes.div_ceil(u64::from(space.block_size.max(1))),
            free: 0,
            available: 0,
            files: space.inodes,
            free_files: 0,
            block_size: space.block_size,
            name_max: Self::IMAGE_NAME_MAX,
            fragment_size: space.block_size,
        }
    }
}

/// Time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// The present.
    Now,
    /// The time in the variant.
    At(Time),
}

/// Changes of setattr; `None`: unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeChange {
    /// New permissions.
    pub mode: Option<u32>,
    /// New owner, as shown.
    pub uid: Option<u32>,
    /// New group, as shown.
    pub gid: Option<u32>,
    /// New size in bytes.
    pub size: Option<u64>,
    /// New time of the last access.
    pub accessed: Option<NewTime>,
    /// New time of the last change of the content.
    pub modified: Option<NewTime>,
}

impl OverlayTree {
    /// Returns the attributes of a node, as stat(2).
    pub fn attributes(&self, id: u64) -> FsResult<FileAttributes> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        self.attributes_of(&node)
    }

    /// Returns [`OverlayTree::attributes`] of a known node.
    pub(super) fn attributes_of(&self, node: &Arc<Node>) -> FsResult<FileAttributes> {
        // While the node's place is locked no thread copies the node up.
        self.with(node, |reach| self.shown(node, &reach.stat()?, reach, node.layer()))
    }

    /// Returns the shown attributes of a file of `layer`, from those on disk.
    pub(super) fn shown(
        &self,
        node: &Arc<Node>,
        stat: &Stat,
        reach: &FileReach,
        layer: LayerIndex,
    ) -> FsResult<FileAttributes> {
        let mut attributes = self.plain(node.id, &self.recorded_stat(*stat, reach, layer)?);
        (attributes.uid, attributes.gid) = self.rules.ids.shown(attributes.uid, attributes.gid);
        if let Some(count) = (stat.st_nlink > 1).then(|| self.links.count(node.id)).flatten() {
            attributes.links = count;
        }
        if attributes.blocks == 0
            && stat.st_mode & libc::S_IFMT == libc::S_IFREG
            && node.has_writers()
        {
            // The content may be in the kernel's memory alone. tar(1) and its like take a file without blocks for one
            // hole and do not read it. File systems with blocks that are not placed yet report 1 as well
            // (ext4_getattr).
            attributes.blocks = 1;
        }
        if node.is_merged() && node.layers().len() > 1 {
            // The subfolders are not counted. A count of 1 tells that to find(1) and its like, as in the kernel's
            // overlay.
            attributes.links = 1;
        }
        Ok(attributes)
    }

    /// Returns owner, mode and type of a file of `layer`, from an attribute where they are recorded. Errors: EIO for a
    /// malformed record: the real owner is unknown, and any answer would give the file to some user.
    pub(super) fn recorded_stat(
        &self,
        stat: Stat,
        reach: &FileReach,
        layer: LayerIndex,
    ) -> FsResult<Stat> {
        let stat = self.owned_stat(stat, reach);
        let records = self.rules.records;
        let has_none = match records {
            Records::Nowhere => true,
            Records::InLowers => usize::from(layer) <= self.rules.real_lowers,
            Records::Everywhere => false,
        };
        if has_none {
            return Ok(stat);
        }
        let is_link = stat.st_mode & libc::S_IFMT == libc::S_IFLNK;
        // Links cannot have user attributes (xattr(7)).
        let value = match reach.attribute(OVERRIDE_STAT.as_bytes()) {
            _ if is_link => None,
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => None,
            answer => Some(answer?),
        };
        let mut stat = records.recorded_stat(stat, value.as_deref()).map_err(|error| {
            log::warn!("a file is not shown: {error}");
            Errno::IO
        })?;
        if records == Records::InLowers && self.rules.has_one_id {
            (stat.st_uid, stat.st_gid) = self.own;
        }
        Ok(stat)
    }

    /// Returns the attributes of a file, with an owner in an image as a mount of that image here has it: a namespace of one
    /// user and one group has no other.
    fn owned_stat(&self, mut stat: Stat, reach: &FileReach) -> Stat {
        if self.rules.has_one_id && matches!(reach, FileReach::Stored(_)) {
            (stat.st_uid, stat.st_gid) = self.own;
        }
        stat
    }

    /// True if changes of owners and modes are recorded.
    pub(super) fn records_changes(&self) -> bool {
        self.rules.records == Records::Everywhere
    }

    fn plain(&self, number: u64, stat: &Stat) -> FileAttributes {
        let time =
            |seconds: i64, nanoseconds: u64| Time { seconds, nanoseconds: nanoseconds as u32 };
        FileAttributes {
            number,
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
            mode: stat.st_mode,
            links: stat.st_nlink as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev,
            block_size: stat.st_blksize as u32,
        }
    }

    /// Returns the result of statfs(2) for the upper layer, or for the topmost.
    pub fn space(&self) -> FsResult<FsSpace> {
        let root = self.node(ROOT)?;
        let stat = match self.layer_folder(&root, root.layer())? {
            LowerFolder::Disk(folder) => rustix::fs::fstatvfs(folder)?,
            LowerFolder::Squashfs(folder) => return Ok(FsSpace::of_image(folder.image())),
        };
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

    /// Returns the target of a symbolic link.
    pub fn target(&self, id: u64) -> FsResult<Vec<u8>> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        self.with(&node, FileReach::read_link)
    }
}
