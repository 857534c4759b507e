//! Processes: creating them, setting their attributes, waiting for their end.
//!
//! After [`clone`], the child is a copy of the calling thread alone. A lock that another thread held would stay locked
//! in the child forever. So [`clone`] refuses when the process has several threads.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::namespace_set::Namespaces;

/// clone3(2): the new process is in the cgroup of `clone_args.cgroup`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Side that returns from [`clone`].
pub enum Forked {
    /// The caller, with the new process.
    Parent(Child),
    /// The new process.
    Child,
}

/// Process created by us: its PID (in our PID namespace) and its pidfd.
#[derive(Debug)]
pub struct Child {
    /// PID, as seen by its creator.
    pub pid: i32,
    /// Descriptor of the process, valid even after its PID is reused.
    pub pidfd: OwnedFd,
}

/// Parent of a new process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parentage {
    /// The caller.
    Ours,
    /// The caller's parent (CLONE_PARENT).
    OurParents,
}

/// End of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit with this status.
    Exited(i32),
    /// Death by this signal.
    Killed(i32),
}

impl Ended {
    /// Exit status as reported by a shell and docker: the command's own, or 128 + the signal.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status as u8,
            Self::Killed(signal) => 128u8.wrapping_add(signal as u8),
        }
    }
}

/// Creates a process in new `namespaces` (clone3(2), kernel 5.3). Errors: clone3(2), and EBUSY if this process has
/// several threads.
pub fn clone(namespaces: Namespaces, parentage: Parentage) -> io::Result<Forked> {
    clone_into(None, namespaces, parentage)
}

/// [`clone`] in the cgroup whose folder is `cgroup` (CLONE_INTO_CGROUP, kernel 5.7): moving a process later takes tens
/// of milliseconds. A new cgroup namespace has the caller's cgroup as its root, not `cgroup`. Errors, in addition:
/// EACCES if the cgroup, or a common ancestor of both cgroups, is not writable. ENODEV if the cgroup was removed. EBUSY
/// if the cgroup delegates controllers.
pub fn clone_into(
    cgroup: Option<BorrowedFd<'_>>,
    namespaces: Namespaces,
    parentage: Parentage,
) -> io::Result<Forked> {
    if thread_count()? > 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = namespaces.flags() | libc::CLONE_PIDFD as u64;
    let mut exit_signal = libc::SIGCHLD as u64;
    if parentage == Parentage::OurParents {
        flags |= libc::CLONE_PARENT as u64;
        exit_signal = 0; // with CLONE_PARENT the caller's is used, and giving one is EINVAL
    }
    // SAFETY: clone_args is plain data, for which all zeroes is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    arguments.flags = flags;
    arguments.exit_signal = exit_signal;
    arguments.pidfd = &raw mut pidfd as u64;
    // SAFETY: no CLONE_VM, so the child runs on a copy of this stack and memory, and we have a single thread (checked
    // above), so no lock is held for ever in the copy. `pidfd` outlives the call.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>())
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just given us this descriptor, close-on-exec (clone(2)); nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(Child { pid: pid as i32, pidfd }))
        }
    }
}

/// fork(2) with the refusal and the pidfd of [`clone`].
pub fn fork() -> io::Result<Forked> {
    clone(Namespaces::default(), Parentage::Ours)
}

fn thread_count() -> io::Result<usize> {
    // A link for each thread and ".", "..": the number of sub-folders is in st_nlink, one system call.
    match rustix::fs::stat("/proc/self/task") {
        Ok(stat) => Ok(stat.st_nlink as usize - 2),
        // A container without /proc. unshare(2) of CLONE_THREAD changes nothing, and is EINVAL with a second thread.
        Err(rustix::io::Errno::NOENT) => {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_THREAD)?;
            Ok(1)
        }
        Err(error) => Err(error.into()),
    }
}

impl Child {
    /// Sends the process a signal. Errors: ESRCH if the process has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd_signal(self.pidfd.as_fd(), signal)
    }

    /// True if the process has ended, reaped or not.
    pub fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now))
            .is_ok_and(|count| count > 0)
    }

    /// True if a signal has stopped the process since the last call; false for one that was continued meanwhile.
    pub fn was_stopped(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).is_ok_and(|status| status.is_some())
    }

    /// Waits for the end of the process.
    pub fn wait(&self) -> io::Result<Ended> {
        wait(self.pidfd.as_fd())
    }
}

/// Sends a signal to a child of ours that is not reaped yet, by PID.
pub fn signal_child(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the process behind `pidfd`.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: no memory is passed (a null siginfo is documented as "as kill(2) does").
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<()>(),
            0,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens a pidfd of the process that has this PID now (pidfd_open(2), kernel 5.3).
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid =
        rustix::process::Pid::from_raw(pid).ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Returns the signal that has killed our child behind `pidfd`, which stays to be reaped. Waits up to a second for its
/// end. `None`: it lives, or has exited.
pub fn killed_by(pidfd: BorrowedFd<'_>) -> Option<i32> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    // An interrupted wait only loses the number.
    let _ = poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&second));
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::PidFd(pidfd), options).ok()??.terminating_signal()
}

/// Waits for the end of our child behind `pidfd`, and reaps the child.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Ok(match status.exit_status() {
                    Some(status) => Ended::Exited(status),
                    None => Ended::Killed(status.terminating_signal().unwrap_or(libc::SIGKILL)),
                });
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the PIDs of our children, zombies included (proc(5), `/proc/PID/task/TID/children`).
pub fn children() -> io::Result<Vec<i32>> {
    let text = std::fs::read_to_string("/proc/thread-self/children")?;
    Ok(text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect())
}

/// Waits for the end of a child of ours, by PID, and reaps the child. Errors: ECHILD if not a child.
pub fn reap(child: i32) -> io::Result<Ended> {
    loop {
        match reap_with(child, 0) {
            Ok(Some((_, ended))) => return Ok(ended),
            Ok(None) => continue,
            Err(error) => return Err(error),
        }
    }
}

/// Reaps any child of ours that has ended, without waiting; returns its PID and its end. `None`: no child has ended.
pub fn reap_any() -> io::Result<Option<(i32, Ended)>> {
    reap_with(-1, libc::WNOHANG)
}

fn reap_with(which: i32, options: libc::c_int) -> io::Result<Option<(i32, Ended)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(which, &raw mut status, options) } {
            0 => return Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::EINTR) => continue,
                error => return Err(error),
            },
            pid if libc::WIFEXITED(status) => {
                return Ok(Some((pid, Ended::Exited(libc::WEXITSTATUS(status)))));
            }
            pid => return Ok(Some((pid, Ended::Killed(libc::WTERMSIG(status))))),
        }
    }
}

/// Replaces this process by a program; returns only on error. Errors: execve(2).
pub fn exec(program: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> io::Error {
    let pointers = |list: &[&CStr]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end in a null pointer and point to C strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends a forked process at once: without destructors, and without a second flush of the parent's buffers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit touches no memory of ours and never returns.
    unsafe { libc::_exit(status) }
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: only options that take plain numbers are passed (the callers below); unused arguments must be zero.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Requests `signal` for the parent's death; 0: none. The kernel forgets it when credentials change (PR_SET_PDEATHSIG).
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// Denies new privileges at exec from here on (PR_SET_NO_NEW_PRIVS).
pub fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Execution domain (personality(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// The kernel's own.
    Linux,
    /// uname(2) names a 32-bit machine.
    Linux32,
}

impl Personality {
    /// The word of setarch(8).
    pub fn word(self) -> &'static str {
        match self {
            Self::Linux => "linux64",
            Self::Linux32 => "linux32",
        }
    }
}

/// Sets the execution domain of this process, which its children and exec keep.
pub fn set_personality(persona: Personality) -> io::Result<()> {
    // <linux/personality.h>
    let persona: libc::c_ulong = match persona {
        Personality::Linux => 0x0,
        Personality::Linux32 => 0x8,
    };
    // SAFETY: personality(2) takes a number and touches no memory of ours.
    match unsafe { libc::personality(persona) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Denies inspection of this process (`/proc/PID/exe`, ptrace) to all without power over the host: PR_SET_DUMPABLE 0.
pub fn set_undumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Undoes [`set_undumpable`], and the same effect of a change of user.
pub fn set_dumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 1)
}

/// Keeps permitted capabilities when the user changes from 0 to another (PR_SET_KEEPCAPS), until the next exec.
pub fn keep_capabilities() -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1)
}

/// Makes orphans below us our children, rather than those of a distant ancestor (PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// True after [`adopt_orphans`].
pub fn adopts_orphans() -> io::Result<bool> {
    let mut adopts: libc::c_int = 0;
    // SAFETY: PR_GET_CHILD_SUBREAPER writes an int to the address, which outlives the call.
    match unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut adopts, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(adopts != 0),
    }
}

/// Undoes [`adopt_orphans`].
pub fn leave_orphans() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 0)
}

/// Does `work` with this user and group for file access (setfsuid(2)), and with all permitted capabilities. Those over
/// files would be lost with the first change.
pub fn as_owner<R>(uid: u32, gid: u32, work: impl FnOnce() -> R) -> io::Result<R> {
    use caps::CapSet::{Effective, Permitted};
    let gid = nix::unistd::setfsgid(gid.into());
    let uid = nix::unistd::setfsuid(uid.into());
    let all = caps::read(None, Permitted).and_then(|all| caps::set(None, Effective, &all));
    let done = all.map_err(io::Error::other).map(|()| work());
    nix::unistd::setfsuid(uid);
    nix::unistd::setfsgid(gid);
    done
}

/// Becomes this user and group, all three IDs of both, without touching the supplementary groups. The group is set
/// first: without the user's capabilities the group could not be changed.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    nix::unistd::setresgid(gid.into(), gid.into(), gid.into())?;
    nix::unistd::setresuid(uid.into(), uid.into(), uid.into())?;
    Ok(())
}
