//! The title of a process: what ps(1) and `/proc/PID/cmdline` show in place of the command line it was started with.
//!
//! A process of ours that stays beside a container is a fork without exec, so its command line is that of `usnea run`,
//! with every `-e NAME=VALUE` in it, readable by all users of the machine for as long as the container lives.
//!
//! The words of the command line are overwritten where the kernel has put them, on the stack: prctl(2) could name
//! another place (PR_SET_MM_ARG_START), but only with CAP_SYS_RESOURCE.

use std::ffi::c_char;
use std::sync::OnceLock;

/// Name of the container that the processes made from here on belong to.
static CONTAINER: OnceLock<String> = OnceLock::new();
/// Bytes that the words of the command line take, their ends included. Counted once: a title changes the words.
static ROOM: OnceLock<usize> = OnceLock::new();

unsafe extern "C" {
    /// The first word of the command line (glibc and musl), as the kernel has put it on the stack.
    static program_invocation_name: *mut c_char;
}

/// Names the container of the titles that follow, in this process and in those it makes. The first name counts.
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

/// The title of a process in this role, for the first word of a command line.
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
    // writable memory of the stack. Who still reads them (std::env::args) finds ends within the same bytes: the last one
    // stays zero.
    unsafe {
        std::ptr::copy_nonoverlapping(title.as_ptr(), first, length);
        std::ptr::write_bytes(first.add(length), 0, room - length);
    }
}
