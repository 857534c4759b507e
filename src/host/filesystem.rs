//! File system of a path, and the attributes that a file system keeps.

pub use crate::sys::filesystem::{FilesystemKind, kind, nearest_existing};

/// True if a tmpfs keeps `user.*` attributes (kernel 6.6), which an overlay needs in its upper layer to replace a
/// folder. Tries on a file in memory, which has no name and vanishes at once.
pub fn memory_keeps_attributes() -> bool {
    use rustix::fs::{MemfdFlags, XattrFlags, fsetxattr, memfd_create};
    memfd_create("usnea", MemfdFlags::CLOEXEC).is_ok_and(|file| {
        fsetxattr(&file, "user.overlay.opaque", b"y", XattrFlags::empty()).is_ok()
    })
}
