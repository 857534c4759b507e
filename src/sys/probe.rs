//! Questions to the kernel that only a system call answers.

use std::io;

/// Version of landlock's interface (landlock_create_ruleset(2)). Errors: ENOSYS, or EOPNOTSUPP if built in and not
/// enabled.
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
