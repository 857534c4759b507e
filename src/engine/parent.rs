//! This side of the fork: makes the first process, maps its IDs, hears how the launch goes, then supervises.
//!
//! Nothing here starts a thread, and nothing that was made outlives an error: whoever was started is ended and reaped
//! before the error is returned.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::keys::DetachKeys;
use super::relay::StreamRelay;
use super::supervise::{Container, Outcome, Session};
use super::sync::{self, Channel, Failure, Message};
use super::{Idmapped, Plan, Step, Streams, Supervised, child, listener, streams, supervise};
use crate::cgroup::{self, Group};
use crate::error::{self, Context, Error, Result};
use crate::fail;
use crate::host::{self, hint::Hint};
use crate::net::{self, Network, Starting};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Ended, Forked, Parentage};
use crate::sys::signal::Signals;
use crate::userns::{self, Writer};

/// Message for a container that had more memory than it may.
pub const KILLED_FOR_MEMORY: &str =
    "the kernel killed a process of the container for want of memory";
/// What is said when the network's helper has died.
pub const HELPER_DIED: &str =
    "the helper of the container's network has died: it had no way out from then on";

/// A command that runs, and all that must live as long as it does.
#[derive(Debug)]
pub struct Launched {
    /// Its process: the container's first.
    pub command: Child,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Signals that came during the launch and are for the command.
    pub early: Vec<i32>,
    /// While this is open somewhere the container lives: its keeper (see `child`) waits for the end of it. A byte comes
    /// from the keeper when a server of the container's files has died.
    pub alive: OwnedFd,
    /// Whether its end is the end of all that it started.
    pub ends_all: bool,
    /// Who answers for root emulation. It goes by itself where the kernel tells it that nobody is left.
    pub supervisor: Option<Child>,
    /// Who connects its network. It dies with us, and is ours to end with the container.
    pub helper: Option<Child>,
    /// Its cgroup.
    pub cgroup: Option<Group>,
    base: Option<Child>,
    strangers: Vec<i32>,
}

/// Carries out a plan, and stays until the command has ended. `running` is called when the command has run for a while
/// ([`Session::settled`]); never for one that ends before. `signals` were blocked by the caller before it made anything that
/// must be cleaned up.
pub fn run(plan: &Plan, signals: &Signals, running: impl FnOnce(&Launched)) -> Result<Ended> {
    let (streams, relay) = match plan.has_terminal() {
        true => (None, StreamRelay::default()),
        false => streams::of_ours(plan.options.stdin)
            .map(|(streams, relay)| (Some(streams), relay))
            .context(|| "cannot wire the standard streams")?,
    };
    let mut launched = launch(plan, signals, streams)?;
    let (terminal, early) = (launched.terminal.take(), std::mem::take(&mut launched.early));
    let session = Session {
        process: &launched.command,
        terminal,
        relay,
        stdin: plan.options.stdin,
        keys: DetachKeys::none(),
        early,
        settled: Some(Box::new(|| running(&launched))),
    };
    let ended = match supervise::until_end(session, signals) {
        Ok(Outcome::Ended(ended)) => Ok(ended),
        Ok(Outcome::Left(_)) => Err(Error::new("no keys leave a run")),
        Err(error) => Err(error),
    };
    if let Some(supervisor) = &launched.supervisor {
        let _ = supervisor.signal(libc::SIGKILL);
    }
    if let Some(helper) = &launched.helper {
        // Waited for: the ports are free when we say that it has ended.
        let _ = helper.signal(libc::SIGKILL);
        if helper.wait().is_ok_and(|ended| ended != Ended::Killed(libc::SIGKILL)) {
            log::warn!("{HELPER_DIED}");
        }
    }
    if ended.is_err() || !launched.ends_all {
        end_all(&[Some(&launched.command), launched.base.as_ref()], &launched.strangers);
    }
    if let Some(cgroup) = launched.cgroup {
        if cgroup::oom_kills(cgroup.folder()) > 0 {
            log::warn!("{KILLED_FOR_MEMORY}");
        }
        cgroup.remove();
    }
    // A keeper has seen the end too and goes by itself: waiting for it would take longer than it does.
    ended
}

/// Carries out a plan until the command runs, on `streams`, or on ours where there are none.
pub fn launch(plan: &Plan, signals: &Signals, streams: Option<Streams>) -> Result<Launched> {
    let started = Instant::now();
    let (ours, theirs) = sync::pair().context(|| "cannot make a socket pair")?;
    // Our end of it closes when we die, however: then the keeper ends the container (see `child`).
    let (watched, alive) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "cannot make a socket pair")?;
    let strangers = process::children().unwrap_or_default(); // a shell that became us by exec leaves us its jobs
    let Some(namespaces) = plan.first_namespaces() else { fail!("a plan without namespaces") };

    let idmapped = Idmapped::make(plan).context(|| "cannot map the IDs of files")?;
    let cgroup = plan.cgroup().map(Group::make).transpose()?.flatten();
    // Whoever keeps the container is neither stopped nor limited with it.
    let into = cgroup.as_ref().filter(|_| !plan.has_keeper()).map(AsFd::as_fd);
    let made = process::clone_into(into, namespaces, Parentage::Ours).map_err(userns::forbidden);
    let base = match made {
        Ok(Forked::Child) => {
            drop((ours, alive));
            child::live(plan, theirs, watched, streams.as_ref(), (cgroup, idmapped), started)
        }
        Ok(Forked::Parent(base)) => base,
        Err(error) => {
            cgroup.into_iter().for_each(Group::remove);
            return Err(error);
        }
    };
    drop((theirs, watched, streams, idmapped));
    let ends_all = has_pid_namespace(plan);
    if !ends_all {
        // What the command leaves running comes to us, and goes with it.
        process::adopt_orphans().context(|| "cannot adopt orphans")?;
    }
    log::debug!(
        "{:8.3} ms  process {} in its namespaces",
        started.elapsed().as_secs_f64() * 1e3,
        base.pid
    );

    let mut container = Container::default();
    let mut launch = || -> Result<()> {
        userns::write_maps(&plan.levels.base, base.pid)?;
        if plan.levels.base.writer != Writer::Itself {
            tell_mapped(&plan.steps, &ours)?;
        }
        container.base = Some(base.pid);
        if let (Some(group), Some(wanted), Some(_)) =
            (&cgroup, plan.cgroup(), supervised(&plan.steps))
        {
            container.supervisors = group.supervisors(&wanted.limits)?;
        }
        hear_until_exec(&plan.steps, &ours, signals, &plan.options.network, &mut container)
    };
    if let Err(error) = launch() {
        drop(container.connecting.take());
        let beside = (container.supervisor.as_ref(), container.helper.as_ref());
        end_all(&[Some(&base), container.process.as_ref(), beside.0, beside.1], &strangers);
        cgroup.into_iter().for_each(Group::remove);
        return Err(error);
    }
    log::debug!("{:8.3} ms  the command runs", started.elapsed().as_secs_f64() * 1e3);
    let (command, base) = match container.process {
        Some(command) => (command, Some(base)),
        None => (base, None),
    };
    Ok(Launched {
        command,
        terminal: container.terminal,
        early: container.signals,
        alive,
        ends_all,
        supervisor: container.supervisor,
        helper: container.helper,
        cgroup,
        base,
        strangers,
    })
}

/// Ends and reaps every child of ours, and whoever becomes one when its parent goes.
pub fn end_children() {
    end_all(&[], &[]);
}

/// Whether the end of the command is the end of all that it started.
fn has_pid_namespace(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Namespaces(namespaces) | Step::Container(namespaces, _) => {
            namespaces.contains(Namespaces::PID)
        }
        _ => false,
    })
}

/// Ends and reaps every process that is left of a launch: those we know, then whoever is our child, and whoever becomes
/// it when its parent goes; but for `strangers`, who were our children before.
fn end_all(known: &[Option<&Child>], strangers: &[i32]) {
    for child in known.iter().flatten() {
        let _ = child.signal(libc::SIGKILL);
        let _ = child.wait();
    }
    loop {
        // A kernel that does not list children (CONFIG_PROC_CHILDREN) leaves it at those we know.
        let mut left = process::children().unwrap_or_default();
        left.retain(|child| !strangers.contains(child));
        if left.is_empty() {
            return;
        }
        for child in left {
            let _ = process::signal_child(child, libc::SIGKILL);
            let _ = process::reap(child);
        }
    }
}

/// Hears the messages of the launch until the command runs (end of file) or something failed.
pub(super) fn hear_until_exec(
    steps: &[Step],
    ours: &Channel,
    signals: &Signals,
    network: &Network,
    container: &mut Container,
) -> Result<()> {
    loop {
        wait_for_message(ours, signals, container)?;
        match ours.receive().context(|| "cannot hear the container's process")? {
            Some(Message::Container { pid, pidfd }) => {
                container.process = Some(Child { pid, pidfd });
                if steps.iter().any(|step| matches!(step, Step::Container(_, Some(_)))) {
                    tell_mapped(steps, ours)?;
                }
            }
            Some(Message::Terminal(master)) => container.terminal = Some(master),
            Some(Message::Namespace(namespace)) => container.namespaces.push(namespace),
            Some(Message::Network) => {
                let Some(base) = container.base else { fail!("a network before a process") };
                let pid = container.process.as_ref().map_or(base, |process| process.pid);
                container.connecting = network.start(net::Namespaces::of(base, pid)?)?;
            }
            Some(Message::Connect) => {
                let connecting = container.connecting.take();
                container.helper = connecting
                    .map(Starting::wait)
                    .transpose()
                    .context(|| "cannot connect the network")?;
                ours.send(&Message::Heard).context(|| "the container's process is gone")?;
            }
            Some(Message::Listener(listener)) => {
                container.supervisor = supervised(steps)
                    .map(|supervised| {
                        let Container { namespaces, supervisors, .. } = &*container;
                        listener::start(supervised, listener, namespaces, supervisors.as_ref())
                    })
                    .transpose()?;
                ours.send(&Message::Heard).context(|| "the container's process is gone")?;
            }
            Some(Message::Failed(failure)) => return Err(told(steps, failure)),
            Some(Message::Running) => container.runs = true,
            Some(Message::Mapped | Message::Heard) => {}
            None => return Ok(()),
        }
    }
}

/// Lets the other side go on. Errors: it is gone, and its last word.
fn tell_mapped(steps: &[Step], ours: &Channel) -> Result<()> {
    ours.send(&Message::Mapped)
        .map_err(|error| match ours.receive() {
            Ok(Some(Message::Failed(failure))) => told(steps, failure),
            _ => error.into(),
        })
        .context(|| "the container's process is gone")
}

fn supervised(steps: &[Step]) -> Option<&Supervised> {
    steps.iter().find_map(|step| match step {
        Step::Seccomp(_, supervised) => supervised.as_ref(),
        _ => None,
    })
}

/// Waits until there is something to hear. A signal that ends programs ends the launch, unless the command runs already:
/// that is known only when there is nothing more to hear. All others wait for the command.
fn wait_for_message(ours: &Channel, signals: &Signals, container: &mut Container) -> Result<()> {
    const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    loop {
        let ending = container.signals.iter().find(|signal| ENDING.contains(signal)).copied();
        let ending = ending.filter(|_| !container.runs);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [
            PollFd::new(ours, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, ending.is_some().then_some(&now)) {
            Err(rustix::io::Errno::INTR) => continue,
            answer => answer.context(|| "cannot wait for the container's process")?,
        };
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        if let Some(signal) = ending {
            let error = Error::new(format!("ended by signal {signal} before the command ran"));
            return Err(error.exit_status(128 + signal as u8));
        }
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            container.signals.push(signal);
        }
    }
}

/// The failure as the user reads it: the step, on what, why, the way out.
fn told(steps: &[Step], failure: Failure) -> Error {
    let Some(step) = steps.get(failure.step) else {
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
            .hint("it is looked up inside the container; a host: root has only the programs that were named"),
        (Step::Exec(_), libc::ENOEXEC) => error
            .exit_status(error::STATUS_CANNOT_INVOKE)
            .hint("is it a program for another architecture, or a script without '#!'?"),
        (Step::Exec(_), _) => error.exit_status(error::STATUS_CANNOT_INVOKE),
        // docker's and podman's, where it is not made (crun#1823).
        (Step::WorkingFolder(_), errno) if matches!(steps.first(), Some(Step::Join(_))) => {
            error.exit_status(match errno {
                libc::ENOENT => error::STATUS_NOT_FOUND,
                _ => error::STATUS_CANNOT_INVOKE,
            })
        }
        (Step::Hostname(_) | Step::Domainname(_), libc::EPERM) => error.hint(Hint::Hostname),
        // mount_too_revealing() in the kernel.
        (Step::Mount(mount), libc::EPERM) if mount.is_new("proc") => error.hint(Hint::MaskedProc),
        (Step::Join(_), libc::ESRCH | libc::ENOMEM) => error.hint("it has ended this moment"),
        (Step::Maps(_), _) => match host::userns::forbidden_hint() {
            Some(hint) => error.hint(hint),
            None => error,
        },
        _ => error,
    }
}
