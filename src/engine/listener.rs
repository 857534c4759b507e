//! Who answers the calls that the command's filter hands over: a process beside the command.
//!
//! It is our own image, without exec, a child of the parent and in its pid namespace, so that nobody in the container
//! sees it. It has entered the container's user and mount namespaces before the command runs, and keeps no descriptor
//! but the listener, /proc and the namespaces that it is in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{Supervised, Until};
use crate::cgroup::Supervisors;
use crate::error::{Context, Error, Result};
use crate::security::emulation;
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::{fd, signal, title};

/// Starts it; it answers when this returns. `namespaces`: the container's user and mount namespace. Errors: it could not enter the container.
pub fn start(
    supervised: &Supervised,
    listener: OwnedFd,
    namespaces: &[OwnedFd],
    cgroup: Option<&Supervisors>,
) -> Result<Child> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    match forked(cgroup).context(|| "cannot fork")? {
        Forked::Child => {
            drop(told);
            let answer = be(supervised, listener, namespaces, &tell);
            let errno = answer.err().and_then(|error| error.raw_os_error()).unwrap_or(libc::EIO);
            let _ = rustix::io::write(&tell, &errno.to_ne_bytes());
            process::exit_now(1)
        }
        Forked::Parent(supervisor) => {
            drop(tell);
            let errno = heard(&told).unwrap_or(libc::EIO);
            if errno == 0 {
                return Ok(supervisor);
            }
            let _ = supervisor.wait();
            let error = Error::from(io::Error::from_raw_os_error(errno));
            Err::<Child, _>(error)
                .context(|| "cannot emulate root: the supervisor cannot enter the container")
                .map_err(|error| error.hint("--root-emulation off runs without it"))
        }
    }
}

/// In `cgroup`, where the kernel lets us.
fn forked(cgroup: Option<&Supervisors>) -> io::Result<Forked> {
    let cgroup = cgroup.map(AsFd::as_fd);
    match process::clone_into(cgroup, Namespaces::default(), Parentage::Ours) {
        Err(error) if cgroup.is_some() => {
            log::debug!("the supervisor is not limited with its container: {error}");
            process::fork()
        }
        answer => answer,
    }
}

fn heard(told: &OwnedFd) -> Option<i32> {
    let mut errno = [0; 4];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(told, &mut errno)).ok()?;
    (length == errno.len()).then(|| i32::from_ne_bytes(errno))
}

/// Returns only an error, or when nobody is left who could call.
fn be(
    supervised: &Supervised,
    listener: OwnedFd,
    namespaces: &[OwnedFd],
    tell: &OwnedFd,
) -> io::Result<()> {
    signal::block_all();
    title::set("root emulation");
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // Whoever reads what the command writes must see its end, not wait for ours.
    for number in 0..=2 {
        fd::install(null.as_fd(), number)?;
    }
    drop(null);
    let mut kept = vec![listener.as_fd(), tell.as_fd()];
    kept.extend(namespaces.iter().map(|namespace| namespace.as_fd()));
    fd::close_all_but(&kept);
    let ready = || {
        if supervised.until == Until::ParentsDeath {
            // After the change of user namespace, which makes the kernel forget it.
            let _ = process::set_parent_death_signal(libc::SIGKILL);
        }
        if rustix::io::write(tell, &0i32.to_ne_bytes()).is_err() {
            process::exit_now(1); // the parent died before that
        }
    };
    emulation::serve(&supervised.supervisor, listener, namespaces, ready)
}
