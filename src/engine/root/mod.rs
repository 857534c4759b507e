//! Root of a container: its layers, volumes, mount points and generated files.

pub mod accounts;
pub mod bind_source;
pub mod copyup;
pub mod files;
pub mod idmapped;
pub mod image_folders;
pub mod image_mount;
pub mod layers;
pub mod lowers;
pub mod mount_points;
pub mod mount_target;
pub mod mounted;
pub mod secrets;
pub mod shared_memory;
