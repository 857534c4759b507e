//! Process titles: text that ps(1) and `/proc/PID/cmdline` show in place of the original command line.
//!
//! A process of ours that stays beside a container is a fork without exec, so its command line is that of `usnea run`.
//! Every `-e NAME=VALUE` in it is readable by all users of the machine while the container runs.
//!
//! The words of the command line are overwritten on the stack, where the kernel reads them. prctl(2) could move them
//! (PR_SET_MM_ARG_START), but only with CAP_SYS_RESOURCE.

use std::ffi::c_char;
use std::sync::OnceLock;

/// Name of the container that this process and its children belong to.
static CONTAINER: OnceLock<String> = OnceLock::new();
/// Size of the command line in bytes, terminators included. Counted once: a title changes the words.
static ROOM: OnceLock<usize> = OnceLock::new();

unsafe extern "C" {
    /// First word of the command line (glibc and musl), on the stack where the kernel put it.
    static program_invocation_name: *mut c_char;
}

/// Names the container for later titles, in this process and its children. The first name counts.
pub fn name_container(name: &str) {
    let _ = CONTAINER.set(name.to_owned());
}

/// Shows this process as `usnea: ROLE of CONTAINER`, cut to the length of the command line. Without a named container
/// the command line stays: it is the user's own.
pub fn set(role: &str) {
    if CONTAINER.get().is_some() {
        overwrite(of(role).as_bytes());
    }
}

/// Returns the title for a process in this role, as the first word of a command line.
pub fn of(role: &str) -> String {
    match CONTAINER.get() {
        Some(container) => format!("usnea: {role} of {container}"),
        None => "usnea".to_owned(),
    }
}

fn overwrite(title: &[u8]) {
    let room = *ROOM.get_or_init(|| std::env::args_os().map(|word| word.len() + 1).sum());
    // SAFETY: nothing writes this variable; libc has set it before main.
    let first = unsafe { program_invocation_name }.cast::<u8>();
    if room == 0 || first.is_null() {
        return;
    }
    let length = title.len().min(room - 1);
    // SAFETY: execve(2) lays the words of the command line one behind the other, `room` bytes from the first on, in
    // writable memory of the stack. Later readers (std::env::args) find terminators within the same bytes: the last
    // byte stays zero.
    unsafe {
        std::ptr::copy_nonoverlapping(title.as_ptr(), first, length);
        std::ptr::write_bytes(first.add(length), 0, room - length);
    }
}
