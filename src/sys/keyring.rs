//! Session keyrings (session-keyring(7)): the kernel's keys that a process keeps over fork and exec.

use std::io;

/// <linux/keyctl.h>
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves our parent's session keyring for a new, empty one without a name. Errors: ENOSYS if the kernel has no
/// keyrings; EDQUOT if the user has reached the limit of keys (`/proc/sys/kernel/keys/maxkeys`).
pub fn join_new_session() -> io::Result<()> {
    // SAFETY: a null name asks for a keyring without one; no memory is passed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
