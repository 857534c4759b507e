//! This side of the fork: makes the first process, maps its IDs, hears how the launch goes, then supervises.
//!
//! Nothing here starts a thread, and nothing that was made outlives an error: whoever was started is ended and reaped
//! before the error is returned.

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use super::sync::{self, Channel, Failure, Message};
use super::{Plan, Step, child, supervise};
use crate::error::{self, Context, Error, Result};
use crate::fail;
use crate::host;
use crate::sys::process::{self, Child, Ended, Forked, Parentage, Patience};
use crate::sys::signal::Signals;
use crate::userns::{self, Writer};

/// Carries out a plan and stays until the command has ended. `signals` were blocked by the caller before it made
/// anything that must be cleaned up.
pub fn run(plan: &Plan, signals: &Signals) -> Result<Ended> {
    let started = Instant::now();
    let (ours, theirs) = sync::pair().context(|| "cannot make a socket pair")?;
    let Some(Step::Namespaces(namespaces)) = plan.steps.first() else {
        fail!("a plan without namespaces")
    };

    let base = match process::clone(*namespaces, Parentage::Ours).map_err(userns::forbidden)? {
        Forked::Child => {
            drop(ours);
            child::live(plan, theirs, signals, started)
        }
        Forked::Parent(base) => base,
    };
    drop(theirs);
    log::debug!(
        "{:8.3} ms  process {} in its namespaces",
        started.elapsed().as_secs_f64() * 1e3,
        base.pid
    );

    let launch = || -> Result<supervise::Container> {
        userns::write_maps(&plan.levels.base, base.pid)?;
        if plan.levels.base.writer != Writer::Itself {
            ours.send(&Message::Mapped).context(|| "the container's process is gone")?;
        }
        hear_until_exec(plan, &ours, signals)
    };
    match launch() {
        Ok(mut container) => {
            log::debug!("{:8.3} ms  the command runs", started.elapsed().as_secs_f64() * 1e3);
            let ended = supervise::until_end(
                container.process.as_ref().unwrap_or(&base),
                container.terminal.take(),
                signals,
            );
            end_all(&[Some(&base), container.process.as_ref()]);
            ended
        }
        Err(error) => {
            let _ = base.signal(libc::SIGKILL);
            drop(ours); // a container that we do not know yet ends when it sees this
            end_all(&[Some(&base)]);
            Err(error)
        }
    }
}

/// Ends and reaps every process that is left of a launch.
fn end_all(known: &[Option<&Child>]) {
    for child in known.iter().flatten() {
        let _ = child.signal(libc::SIGKILL);
    }
    while let Ok(Some(_)) = process::reap_any(Patience::Wait) {}
}

/// Hears the messages of the launch until the command runs (end of file) or something failed.
fn hear_until_exec(plan: &Plan, ours: &Channel, signals: &Signals) -> Result<supervise::Container> {
    let mut container = supervise::Container::default();
    loop {
        wait_for_message(ours, signals)?;
        match ours.receive().context(|| "cannot hear the container's process")? {
            Some(Message::Container { pid, pidfd }) => {
                container.process = Some(Child { pid, pidfd });
                ours.send(&Message::Mapped).context(|| "the container's process is gone")?;
            }
            Some(Message::Terminal(master)) => container.terminal = Some(master),
            Some(Message::Failed(failure)) => {
                if let Some(process) = &container.process {
                    let _ = process.signal(libc::SIGKILL);
                }
                return Err(told(plan, failure));
            }
            Some(Message::Mapped) => {}
            None => return Ok(container),
        }
    }
}

/// Waits until there is something to hear; a signal that ends programs ends the launch.
fn wait_for_message(ours: &Channel, signals: &Signals) -> Result<()> {
    loop {
        let mut fds = [
            PollFd::new(ours, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            answer => answer.context(|| "cannot wait for the container's process")?,
        };
        if !fds[0].revents().is_empty() {
            return Ok(()); // first: the command may run already, and the signal is then for it
        }
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM].contains(&signal) {
                let error = Error::new(format!("ended by signal {signal} before the command ran"));
                return Err(error.exit_status(128 + signal as u8));
            }
        }
    }
}

/// The failure as the user reads it: the step, on what, why, the way out.
fn told(plan: &Plan, failure: Failure) -> Error {
    let Some(step) = plan.steps.get(failure.step) else {
        return Error::new(failure.what);
    };
    let mut error = match failure.errno {
        0 => Error::new(&failure.what),
        errno => Error::from(std::io::Error::from_raw_os_error(errno)),
    };
    let context =
        |error: Error, phrase: String| Err::<(), _>(error).context(|| phrase).unwrap_err();
    if failure.errno != 0 && !failure.what.is_empty() {
        error = context(error, failure.what);
    }
    error = context(error, format!("cannot {}", step.doing()));
    match (step, failure.errno) {
        (Step::Exec(_), libc::ENOENT | libc::ENOTDIR) => error
            .exit_status(error::STATUS_NOT_FOUND)
            .hint("the command is looked up inside the container, in its PATH"),
        (Step::Exec(_), libc::ENOEXEC) => error
            .exit_status(error::STATUS_CANNOT_INVOKE)
            .hint("is it a program for another architecture, or a script without '#!'?"),
        (Step::Exec(_), _) => error.exit_status(error::STATUS_CANNOT_INVOKE),
        (Step::Maps(_), _) => match host::userns::forbidden_hint() {
            Some(hint) => error.hint(hint),
            None => error,
        },
        _ => error,
    }
}
