//! Process titles: text that ps(1) and `/proc/PID/cmdline` show in place of the original command line.
//!
//! A process of ours that stays beside a container is a fork without exec, so its command line is that of `usnea run`.
//! Every `-e NAME=VALUE` in it is readable by all users of the machine while the container runs.
//!
//! The words of the command line are overwritten on the stack, where the kernel reads them. prctl(2) could move them
//! (PR_SET_MM_ARG_START), but only with CAP_SYS_RESOURCE.

use std::ffi::c_char;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Name of the container that this process and its children belong to.
static CONTAINER: OnceLock<String> = OnceLock::new();
/// True after [`set_without_caller`].
static WITHOUT_CALLER: AtomicBool = AtomicBool::new(false);
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
    if WITHOUT_CALLER.load(Ordering::Relaxed) {
        overwrite(format!("usnea: {role}").as_bytes());
    } else if CONTAINER.get().is_some() {
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

/// Shows this process as `usnea: ROLE`, for a process that outlives the command that started it: neither the command line
/// nor the environment of that command is left. Later titles name no container either. The caller must have a single thread, and read no variable afterwards.
pub fn set_without_caller(role: &str) {
    WITHOUT_CALLER.store(true, Ordering::Relaxed);
    set(role);
    if let Some((first, room)) = environment() {
        // SAFETY: the kernel names the bytes of the environment that execve(2) has put on the stack. The pointers into
        // them, in `environ`, then lead to empty strings.
        unsafe { std::ptr::write_bytes(first as *mut u8, 0, room) };
    }
}

/// Address and size of the environment, as the kernel shows it (proc_pid_stat(5), env_start and env_end).
fn environment() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, in parentheses, may hold blanks; the third one follows it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(50 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let size = end.checked_sub(start)?;
    (start != 0 && size < 16 << 20).then_some((start, size))
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
