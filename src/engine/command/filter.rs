//! The command's system call filter, installed as late as possible before exec, so that it covers few of usnea's own
//! calls.
//!
//! Without `no_new_privs` installing takes CAP_SYS_ADMIN, which the command must not have. The capability survives the
//! change of user and is dropped after the filter is installed: by exec, since the bounding set lacks it and it is
//! neither inheritable nor ambient. Where the launch waits for a listener, it is dropped before exec.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::engine::command::credentials;
use crate::engine::command::credentials::PendingFilter;
use crate::engine::messages::{ChildChannel, ChildMessage, ParentMessage};
use crate::engine::plan::process::ProcessCredentials;
use crate::engine::plan::step::Step;
use crate::engine::plan::{Plan, StartTrigger};
use crate::engine::step_error::{OnObject, StepResult};
use crate::security::seccomp::Filter;
use crate::sys::namespace::Namespaces;
use crate::sys::seccomp::Listening;
use crate::sys::{process, seccomp};

/// Tells whether a filter in `steps` needs CAP_SYS_ADMIN until it is installed.
pub fn pending_filter(steps: &[Step]) -> PendingFilter {
    let is_filter = |step: &Step| matches!(step, Step::Seccomp(..));
    let forbids_privileges = |step: &Step| matches!(step, Step::NoNewPrivileges);
    match steps.iter().any(is_filter) && !steps.iter().any(forbids_privileges) {
        true => PendingFilter::Filter,
        false => PendingFilter::Nothing,
    }
}

/// Sends the namespaces that a supervisor or the commands of a group enter, while the host's /proc is visible. Later the supervisor could not
/// open them: a process that has changed its user is hidden (PR_SET_DUMPABLE).
pub fn send_namespaces(plan: &Plan, channel: &ChildChannel) -> StepResult {
    if plan.options.begin == StartTrigger::Never {
        return send_all_namespaces(channel);
    }
    if !plan.steps.iter().any(|step| matches!(step, Step::Seccomp(_, Some(_)))) {
        return Ok(());
    }
    ["/proc/self/ns/user", "/proc/self/ns/mnt"].iter().try_for_each(|path| send_one(path, channel))
}

/// Sends all namespaces of this process, the user namespace first.
fn send_all_namespaces(channel: &ChildChannel) -> StepResult {
    for (_, name, _) in Namespaces::ALL {
        let path = format!("/proc/self/ns/{name}");
        // Not in this kernel: the link is missing.
        if rustix::fs::stat(&path).is_ok() {
            send_one(&path, channel)?;
        }
    }
    Ok(())
}

fn send_one(path: &str, channel: &ChildChannel) -> StepResult {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(path, flags, Mode::empty()).on(|| path)?;
    Ok(channel.send(&ChildMessage::Namespace(namespace))?)
}

/// Installs the filter of `steps`, if any. Sets `step` to the filter's index meanwhile: failures are reported with it.
/// Waits for the supervisor: a call handed to an unanswered listener would block for ever.
pub fn install_filter(steps: &[Step], channel: &ChildChannel, step: &mut usize) -> StepResult {
    let filter = steps.iter().enumerate().find_map(|(index, step)| match step {
        Step::Seccomp(filter, _) => Some((index, filter)),
        _ => None,
    });
    let Some((index, filter)) = filter else { return Ok(()) };
    let next = std::mem::replace(step, index);
    let listener = install(filter)?;
    if let Some(listener) = listener {
        channel.send(&ChildMessage::Listener(listener))?;
        match channel.receive()? {
            Some(ParentMessage::Ready) => {}
            _ => process::exit_now(125), // the parent gave up or is gone, and reports the reason itself
        }
        drop_extra_capability(steps)?;
    }
    // Without a listener, exec drops the capability: the filter may deny capset(2).
    *step = next;
    Ok(())
}

/// True if the filter of `steps` has a listener.
pub fn has_listener(steps: &[Step]) -> bool {
    steps
        .iter()
        .any(|step| matches!(step, Step::Seccomp(filter, _) if filter.listening == Listening::Yes))
}

/// Installs the filter. A kernel before 5.19 cannot defer signals during a call that the supervisor answers: there the
/// filter is installed without that flag.
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

/// Drops the capability that was held for the filter.
pub fn drop_extra_capability(steps: &[Step]) -> StepResult {
    match (pending_filter(steps), credentials(steps)) {
        (PendingFilter::Filter, Some(who)) => credentials::reduce_sets(who, PendingFilter::Nothing),
        _ => Ok(()),
    }
}

fn credentials(steps: &[Step]) -> Option<&ProcessCredentials> {
    steps.iter().find_map(|step| match step {
        Step::Credentials(who) => Some(who),
        _ => None,
    })
}
