//! Images of squashfs 4.0, read in place: no mount, no privilege, no lock over disk or inflation.
//!
//! ```text
//!  format      on-disk records
//!  source      the file               codec      inflation
//!  cache       bounded LRU in shards, each block loaded by one thread
//!  metadata    metadata blocks and tables        blocks     data and fragment blocks
//!  layout      block lists of files
//!  ahead       idle threads that inflate what a sequential reader needs next
//!  image       the open image: superblock, tables, caches
//!  image_file  the name of the file: path, offset, identity
//!  inode       inodes                 listing    folders
//!  xattr       extended attributes    file       content of regular files
//!  stored_file  file of any kind, located once
//!  tree        [`LayerFolder`](super::LayerFolder) on top of all
//! ```
//!
//! Opening reads the superblock and no more. All else is read when needed, through bounded caches, so memory does not
//! depend on the image. Sizes, counts and positions of the image are checked where they are used: EIO for a
//! contradiction, and for a file that was truncated or overwritten meanwhile.
//!
//! An image may lie in a larger file, from a base offset on (SIF), and more may follow behind [`SquashfsImage::end`].

mod ahead;
mod blocks;
mod cache;
mod codec;
mod file;
pub mod format;
mod image;
mod image_file;
mod inode;
mod layout;
mod listing;
mod metadata;
mod source;
mod stored_file;
#[cfg(test)]
mod tests;
mod tree;
mod xattr;

pub use ahead::AHEAD_THREAD;
pub use blocks::DataBlock;
pub use file::{FileChunk, SeekTarget, SquashfsFile};
pub use format::{InodeKind, InodeRef};
pub use image::{CacheLimits, ImageSpace, LoadCounts, SquashfsImage};
pub use image_file::{FileIdentity, HeldFile, ImageFile, OpenImage};
pub use inode::Inode;
pub use listing::ListedEntry;
pub use stored_file::StoredFile;
pub use tree::SquashfsFolder;
