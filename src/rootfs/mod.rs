//! Root filesystems: where the files that a container sees come from. Making a folder is this module's; mounting it is
//! the engine's.

pub mod copy;
pub mod fuse;
pub mod give;
pub mod host;
