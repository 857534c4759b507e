//! Root filesystems: the sources of a container's files. This module makes folders; the engine mounts them.

pub mod chown;
pub mod copy;
pub mod fuse;
pub mod host;
