//! Layers: the files that one step of an image's build added, changed or removed, and their form on disk.

pub mod override_stat;
pub mod whiteout;
