//! Questions to the kernel that only a system call answers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The version of landlock's interface (landlock_create_ruleset(2)). Errors: ENOSYS, or EOPNOTSUPP when it is built in
/// and not switched on.
pub fn landlock_version() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with the VERSION flag the attributes must be null and of size 0; nothing is read or made.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<()>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Maps the owners of all files of a detached mount through the user namespace that `userns` stands for
/// (mount_setattr(2), MOUNT_ATTR_IDMAP). Errors: EPERM where the caller does not own the file system, EINVAL where the
/// file system cannot.
pub fn idmap_mount(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>) -> io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let arguments = MountAttr {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        userns_fd: userns.as_raw_fd() as u64,
    };
    // SAFETY: the path is a C string and `arguments` has the layout of struct mount_attr; both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const arguments,
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
