//! `/dev/shm` of a container whose IPC namespace is joined. A mount can be copied only by a process in its mount
//! namespace, so a forked process enters that namespace and sends the copy back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::engine::plan::mount::SHARED_MEMORY;
use crate::engine::step_error::{OnObject, StepResult};
use crate::sys::mount::{self, MountReach};
use crate::sys::process::{self, Forked};
use crate::sys::{fd, namespace};

/// Copies the mount from the container of process `pid`, detached. Errors: no such mount; the process is not in the IPC
/// namespace that this one has joined, since its PID was reused.
pub fn copy(pid: i32) -> StepResult<OwnedFd> {
    let phrase = || format!("{SHARED_MEMORY} of process {pid}");
    let ipc = |who: &str| rustix::fs::stat(format!("/proc/{who}/ns/ipc"));
    let (ours, theirs) = (ipc("self").on(phrase)?, ipc(&pid.to_string()).on(phrase)?);
    if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH)).on(phrase);
    }
    let path = format!("/proc/{pid}/ns/mnt");
    let mounts = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mounts = mounts.on(phrase)?;
    let flags = SocketFlags::CLOEXEC;
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match process::fork()? {
        Forked::Child => {
            let copied = namespace::enter(mounts.as_fd())
                .and_then(|()| mount::copy(CWD, SHARED_MEMORY.as_ref(), MountReach::Alone));
            // The receiver may be dead: this process exits in any case.
            let _ = match &copied {
                Ok(tree) => fd::send(&far, &0i32.to_ne_bytes(), Some(tree.as_fd())),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    fd::send(&far, &errno.to_ne_bytes(), None)
                }
            };
            process::exit_now(0)
        }
        Forked::Parent(child) => {
            drop(far);
            let mut errno = [0; 4];
            let received = fd::receive(&near, &mut errno);
            child.wait()?;
            match received? {
                (4, Some(tree)) => Ok(tree),
                (4, None) => {
                    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))).on(phrase)
                }
                _ => Err(io::Error::from_raw_os_error(libc::EPIPE)).on(phrase),
            }
        }
    }
}
