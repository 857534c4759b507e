//! Supervisor: a process beside the command that answers its system calls for root emulation (seccomp_unotify(2)).
//!
//! The supervisor runs usnea's own program, without an exec. As a child of the parent, in the parent's PID namespace,
//! it is invisible to the container. Before the command runs, it has entered the container's user and mount namespaces.
//! The supervisor keeps no descriptor but the listener, /proc and those namespaces.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cgroup::SupervisorsCgroup;
use crate::engine::plan::step::{Supervised, SupervisorLifetime};
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::security::emulation;
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::{fd, signal, title};

/// Starts the supervisor; it answers calls when this function returns. `namespaces`: the container's user and mount
/// namespace. `cgroup`: that of the supervisor, if the container has limits. Errors: the supervisor could not enter the
/// container.
pub fn start(
    supervised: &Supervised,
    listener: OwnedFd,
    namespaces: &[OwnedFd],
    cgroup: Option<&SupervisorsCgroup>,
) -> Result<Child> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    match fork_into(cgroup).context(|| "cannot fork")? {
        Forked::Child => {
            drop(reader);
            let answer = run_supervisor(supervised, listener, namespaces, &writer);
            let errno = answer.err().and_then(|error| error.raw_os_error()).unwrap_or(libc::EIO);
            let _ = rustix::io::write(&writer, &errno.to_ne_bytes());
            process::exit_now(1)
        }
        Forked::Parent(supervisor) => {
            drop(writer);
            let errno = receive_errno(&reader).unwrap_or(libc::EIO);
            if errno == 0 {
                return Ok(supervisor);
            }
            let _ = supervisor.wait();
            let error = Error::from(io::Error::from_raw_os_error(errno));
            Err::<Child, _>(error)
                .context(|| "cannot emulate root: the supervisor cannot enter the container")
                .map_err(|error| error.hint(hint::NO_ROOT_EMULATION))
        }
    }
}

/// Forks a process in `cgroup`, or in the caller's cgroup where the kernel refuses that.
fn fork_into(cgroup: Option<&SupervisorsCgroup>) -> io::Result<Forked> {
    let cgroup = cgroup.map(AsFd::as_fd);
    match process::clone_into(cgroup, Namespaces::default(), Parentage::Ours) {
        Err(error) if cgroup.is_some() => {
            log::debug!("the supervisor is not limited with its container: {error}");
            process::fork()
        }
        answer => answer,
    }
}

fn receive_errno(reader: &OwnedFd) -> Option<i32> {
    let mut errno = [0; 4];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut errno)).ok()?;
    (length == errno.len()).then(|| i32::from_ne_bytes(errno))
}

/// Runs the supervisor. Returns an error, or Ok when no process with the filter is left.
fn run_supervisor(
    supervised: &Supervised,
    listener: OwnedFd,
    namespaces: &[OwnedFd],
    writer: &OwnedFd,
) -> io::Result<()> {
    signal::block_all();
    title::set("root emulation");
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // A reader of the command's output must see the command's end, not wait for this process.
    for number in 0..=2 {
        fd::install(null.as_fd(), number)?;
    }
    drop(null);
    let mut kept = vec![listener.as_fd(), writer.as_fd()];
    kept.extend(namespaces.iter().map(|namespace| namespace.as_fd()));
    fd::close_all_but(&kept);
    let ready = || {
        if supervised.until == SupervisorLifetime::OnParentDeath {
            // After the change of user namespace, which clears this signal (prctl(2), PR_SET_PDEATHSIG).
            let _ = process::set_parent_death_signal(libc::SIGKILL);
        }
        if rustix::io::write(writer, &0i32.to_ne_bytes()).is_err() {
            process::exit_now(1); // the parent died before the signal was set
        }
    };
    emulation::serve(&supervised.supervisor, listener, namespaces, ready)
}
