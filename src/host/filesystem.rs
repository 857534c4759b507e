//! Which file system a path lies on, and what that file system can hold.

pub use crate::sys::filesystem::{Kind, kind, nearest_existing};

/// Whether a tmpfs keeps `user.*` attributes (kernel 6.6), which an overlay needs in its upper layer to replace a folder.
/// Tried on a file in memory, which has no name and is gone at once.
pub fn memory_keeps_attributes() -> bool {
    use rustix::fs::{MemfdFlags, XattrFlags, fsetxattr, memfd_create};
    memfd_create("usnea", MemfdFlags::CLOEXEC).is_ok_and(|file| {
        fsetxattr(&file, "user.overlay.opaque", b"y", XattrFlags::empty()).is_ok()
    })
}
