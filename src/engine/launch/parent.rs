//! Parent side of the fork: makes the first process, maps its IDs, hears how the launch goes, then supervises.
//!
//! Starts no thread. No process outlives an error: each is ended and reaped before the error is returned.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::cgroup::{self, Group};
use crate::engine::launch::{child, supervisor};
use crate::engine::messages::{Channel, Message, StepFailure};
use crate::engine::plan::Plan;
use crate::engine::plan::step::{Step, Supervised};
use crate::engine::root::idmapped::Idmapped;
use crate::engine::session::detach_keys::DetachKeys;
use crate::engine::session::stream_relay::StreamRelay;
use crate::engine::session::supervise;
use crate::engine::session::supervise::{CommandSession, LaunchProgress, SessionEnd};
use crate::engine::streams::CommandStreams;
use crate::engine::{messages, streams};
use crate::error::{self, Context, Error, ErrorKind, Result};
use crate::fail;
use crate::host::{self, hint::Hint};
use crate::net::{self, Network, Starting};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Ended, Forked, Parentage};
use crate::sys::signal::Signals;
use crate::userns::{self, Writer};

/// Warning for a container with a process that the kernel killed for want of memory.
pub const KILLED_FOR_MEMORY: &str =
    "the kernel killed a process of the container for want of memory";
/// Warning for a network helper that has died.
pub const HELPER_DIED: &str =
    "the helper of the container's network has died: it had no way out from then on";

/// Running command, and all that must live as long as it does.
#[derive(Debug)]
pub struct Launched {
    /// The container's first process.
    pub command: Child,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// Signals for the command that came during the launch.
    pub early: Vec<i32>,
    /// Socket that keeps the container alive while any process has it open: the keeper (see `child`) waits for its end.
    /// The keeper sends a byte when a server of the container's files has died.
    pub alive: OwnedFd,
    /// True if the command is PID 1 of its own PID namespace: its end kills the rest.
    pub ends_all: bool,
    /// Supervisor for root emulation. Ends by itself when the kernel reports that no caller is left.
    pub supervisor: Option<Child>,
    /// Helper that connects the container's network. Dies with this process, and must be ended with the container.
    pub helper: Option<Child>,
    /// The container's cgroup.
    pub cgroup: Option<Group>,
    base: Option<Child>,
    strangers: Vec<i32>,
}

/// Carries out a plan, and stays until the command has ended. Calls `running` when the command has run for a while
/// ([`CommandSession::settled`]); never for a command that ends before. The caller has blocked `signals` before it made
/// anything that needs cleaning up.
pub fn run(plan: &Plan, signals: &Signals, running: impl FnOnce(&Launched)) -> Result<Ended> {
    let (streams, relay) = match plan.has_terminal() {
        true => (None, StreamRelay::default()),
        false => streams::of_ours(plan.options.stdin)
            .map(|(streams, relay)| (Some(streams), relay))
            .context(|| "cannot wire the standard streams")?,
    };
    let mut launched = launch(plan, signals, streams)?;
    let (terminal, early) = (launched.terminal.take(), std::mem::take(&mut launched.early));
    let session = CommandSession {
        process: &launched.command,
        terminal,
        relay,
        stdin: plan.options.stdin,
        keys: DetachKeys::none(),
        early,
        settled: Some(Box::new(|| running(&launched))),
    };
    let ended = match supervise::until_end(session, signals) {
        Ok(SessionEnd::Ended(ended)) => Ok(ended),
        Ok(SessionEnd::Left(_)) => Err(Error::new("no keys leave a run")),
        Err(error) => Err(error),
    };
    if let Some(supervisor) = &launched.supervisor {
        let _ = supervisor.signal(libc::SIGKILL);
    }
    if let Some(helper) = &launched.helper {
        // Waited for: a run that has ended leaves no port in use.
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
    // A keeper has noticed the end too and ends by itself: waiting for the keeper would take longer than its end.
    ended
}

/// Carries out a plan until the command runs. `streams`: the command's; `None`: those of this process.
pub fn launch(plan: &Plan, signals: &Signals, streams: Option<CommandStreams>) -> Result<Launched> {
    let started = Instant::now();
    let (ours, theirs) = messages::pair().context(|| "cannot make a socket pair")?;
    // The end `alive` closes when this process dies by any cause: then the keeper ends the container (see `child`).
    let (watched, alive) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "cannot make a socket pair")?;
    let strangers = process::children().unwrap_or_default(); // jobs of a shell that became usnea by exec
    let Some(namespaces) = plan.first_namespaces() else { fail!("a plan without namespaces") };

    let idmapped = Idmapped::make(plan).context(|| "cannot map the IDs of files")?;
    let cgroup = plan.cgroup().map(Group::make).transpose()?.flatten();
    // The container's keeper must not be stopped or limited with the container: only a container without one is cloned
    // here.
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
        // Processes that the command leaves running become children of this process, and end with it.
        process::adopt_orphans().context(|| "cannot adopt orphans")?;
    }
    log::debug!(
        "{:8.3} ms  process {} in its namespaces",
        started.elapsed().as_secs_f64() * 1e3,
        base.pid
    );

    let mut container = LaunchProgress::default();
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

/// Ends and reaps every child of this process, and each process that becomes one when its parent ends.
pub fn end_children() {
    end_all(&[], &[]);
}

/// True if the command has its own PID namespace: its end kills the rest.
fn has_pid_namespace(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Namespaces(namespaces) | Step::Container(namespaces, _) => {
            namespaces.contains(Namespaces::PID)
        }
        _ => false,
    })
}

/// Ends and reaps all processes of a launch: first `known`, then the children of this process. Includes each process
/// that becomes a child when its parent ends. Spares `strangers`: children from before the launch.
fn end_all(known: &[Option<&Child>], strangers: &[i32]) {
    for child in known.iter().flatten() {
        let _ = child.signal(libc::SIGKILL);
        let _ = child.wait();
    }
    loop {
        // A kernel that does not list children (CONFIG_PROC_CHILDREN) leaves it at the known ones.
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

/// Receives the messages of the launch until the command runs (end of file) or a step failed.
pub fn hear_until_exec(
    steps: &[Step],
    ours: &Channel,
    signals: &Signals,
    network: &Network,
    container: &mut LaunchProgress,
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
                        let LaunchProgress { namespaces, supervisors, .. } = &*container;
                        supervisor::start(supervised, listener, namespaces, supervisors.as_ref())
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

/// Tells the other side that the IDs are mapped. Errors: the other side is gone; returns its last failure, if any.
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

/// Waits for a message. A signal that ends programs ends the launch, unless the command runs already; that is certain
/// only after all waiting messages. Keeps all other signals for the command.
fn wait_for_message(
    ours: &Channel,
    signals: &Signals,
    container: &mut LaunchProgress,
) -> Result<()> {
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

/// Builds the error for the user: step, object, cause and hint.
fn told(steps: &[Step], failure: StepFailure) -> Error {
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
    if matches!(failure.errno, libc::EPERM | libc::EACCES) {
        error = error.of_kind(ErrorKind::Refused);
    }
    match (step, failure.errno) {
        (Step::Exec(_), libc::ENOENT | libc::ENOTDIR) => error
            .of_kind(ErrorKind::Invalid)
            .exit_status(error::STATUS_NOT_FOUND)
            .hint("it is looked up inside the container; a host: root has only the programs that were named"),
        (Step::Exec(_), libc::ENOEXEC) => error
            .of_kind(ErrorKind::Invalid)
            .exit_status(error::STATUS_CANNOT_INVOKE)
            .hint("is it a program for another architecture, or a script without '#!'?"),
        (Step::Exec(_), _) => error.exit_status(error::STATUS_CANNOT_INVOKE),
        // Status of docker and podman where the folder does not exist (crun#1823).
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
