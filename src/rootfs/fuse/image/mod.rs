//! Squashfs images as read-only FUSE mounts.
//!
//! The server keeps no state of its own: a node's number is the location of its inode in the image, so that there is
//! nothing to open, to release or to forget. The kernel caches names, attributes and content for ever, since an image
//! does not change.

pub mod command;
pub mod content;
pub mod options;
mod owners;
mod serve;
