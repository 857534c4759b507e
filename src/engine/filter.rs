//! The command's filter of system calls: put on at the last moment before exec, where none of our own calls but a few are
//! left for it to see.
//!
//! Without `no_new_privs` that takes CAP_SYS_ADMIN, which the command is not to have: it stays in hand over the change of
//! user and goes right after the filter is on. (exec would take it anyway, the bounding set being without it.)

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::command::{self, Ahead};
use super::sync::{Channel, Message};
use super::trouble::{Done, On};
use super::{Credentials, Step};
use crate::security::seccomp::Filter;
use crate::sys::{process, seccomp};

/// What putting it on will need.
pub fn ahead(steps: &[Step]) -> Ahead {
    let is_filter = |step: &Step| matches!(step, Step::Seccomp(..));
    let is_free = |step: &Step| matches!(step, Step::NoNewPrivileges);
    match steps.iter().any(is_filter) && !steps.iter().any(is_free) {
        true => Ahead::Filter,
        false => Ahead::Nothing,
    }
}

/// Hands over the namespaces that a supervisor enters, while the host's /proc is in sight. Later another could no longer
/// look: a process that changes its user, or hides itself, opens itself to nobody (PR_SET_DUMPABLE).
pub fn show_namespaces(steps: &[Step], channel: &Channel) -> Done {
    if !steps.iter().any(|step| matches!(step, Step::Seccomp(_, Some(_)))) {
        return Ok(());
    }
    for path in ["/proc/self/ns/user", "/proc/self/ns/mnt"] {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(path, flags, Mode::empty()).on(|| path)?;
        channel.send(&Message::Namespace(namespace))?;
    }
    Ok(())
}

/// Puts it on, if there is one. `step` is what a failure is reported with. Until somebody answers the listener, a call
/// that is handed over would wait for ever: so we wait before we make one.
pub fn put_on(steps: &[Step], channel: &Channel, step: &mut usize) -> Done {
    let filter = steps.iter().enumerate().find_map(|(index, step)| match step {
        Step::Seccomp(filter, _) => Some((index, filter)),
        _ => None,
    });
    let Some((index, filter)) = filter else { return Ok(()) };
    let next = std::mem::replace(step, index);
    let listener = install(filter)?;
    if let Some(listener) = listener {
        channel.send(&Message::Listener(listener))?;
        match channel.receive()? {
            Some(Message::Heard) => {}
            _ => process::exit_now(125), // the parent gave up or is gone, and says why itself
        }
    }
    let_go(steps)?;
    *step = next;
    Ok(())
}

/// A kernel before 5.19 cannot keep signals from calls that are being answered; it is then as it was there for everybody.
fn install(filter: &Filter) -> io::Result<Option<OwnedFd>> {
    const KEEPS_SIGNALS_OUT: u32 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;
    let with = |flags| seccomp::install(&filter.program, flags, filter.listening);
    match with(filter.flags) {
        Err(error)
            if error.raw_os_error() == Some(libc::EINVAL)
                && filter.flags & KEEPS_SIGNALS_OUT != 0 =>
        {
            with(filter.flags & !KEEPS_SIGNALS_OUT)
        }
        answer => answer,
    }
}

/// Lets go of what was kept for it.
pub fn let_go(steps: &[Step]) -> Done {
    match (ahead(steps), credentials(steps)) {
        (Ahead::Filter, Some(who)) => command::hold(who, Ahead::Nothing),
        _ => Ok(()),
    }
}

fn credentials(steps: &[Step]) -> Option<&Credentials> {
    steps.iter().find_map(|step| match step {
        Step::Credentials(who) => Some(who),
        _ => None,
    })
}
