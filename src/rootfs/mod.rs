//! Root filesystems: the sources of a container's files. This module makes folders; the engine mounts them.

pub mod copy;
pub mod fuse;
pub mod give;
pub mod host;
