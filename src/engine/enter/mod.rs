//! Runs another command in a running container: turns an OCI process (config.json, `process`) into a process.
//!
//! ```text
//!   usnea exec                      first                          command
//!      |------ fork ---------------->| hides, closes unneeded descriptors
//!      |                             | enters all namespaces but the mounts'
//!      |                             |---- fork (CLONE_PARENT) ---->| is in its pid namespace; our child
//!      |<----- Container(pid, pidfd)-| (from command: AtStart)      | enters the mount namespace: "/" is the container's
//!      |                             x                              | a session of its own, working folder, limits
//!      |<----- Terminal(fd) ----------------------------------------|
//!      |<----- Listener(fd) ----------------------------------------| only with root emulation: a supervisor of its own
//!      |------ Ready ----------------------------------------------->|
//!      |<----- Running, end of file --------------------------------| exec
//! ```
//!
//! Until exec the process is hidden from the container: it cannot be traced, and its program and descriptors cannot be
//! opened through /proc (CVE-2019-5736). Of the host's descriptors it holds only the standard streams and those that
//! the command gets (CVE-2024-21626).
//!
//! **Lifetimes.** The end of the container's PID namespace kills all commands in it. Without one (`--pid host`) the
//! process `first` stays as keeper and kills the command. When usnea is killed, so is a command that has usnea's
//! streams (PR_SET_PDEATHSIG). A command with a terminal gets a hangup. A detached command (`Finish::AtStart`) becomes
//! a child of the container's process 1.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};

use crate::engine::command::exec::{LastSteps, OnParentDeath};
use crate::engine::command::prepare;
use crate::engine::keeper::{self, FileServers};
use crate::engine::launch::conversation::{Conversation, LaunchPoint, LaunchProgress, supervised};
use crate::engine::messages::{ChildChannel, ChildMessage, ParentChannel, StepFailure};
use crate::engine::plan::LaunchOptions;
use crate::engine::plan::process::TerminalSize;
use crate::engine::plan::running::RunningContainer;
use crate::engine::plan::sockets::ListenSockets;
use crate::engine::plan::step::Step;
use crate::engine::session::detach_keys::DetachKeys;
use crate::engine::session::stream_relay::StreamRelay;
use crate::engine::session::supervise::{CommandSession, SessionEnd};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::engine::streams::{CallerStreams, CommandStreams, ReportTarget, Stdin};
use crate::engine::{messages, streams};
use crate::error::{Context, Error, Result};
use crate::net::Membership;
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::signal::{self, Signals};
use crate::sys::{fd, pty, title};

/// Command to run in a running container.
#[derive(Debug)]
pub struct ExecPlan {
    /// Steps to carry out, as [`crate::engine::plan_exec`] returns them.
    pub steps: Vec<Step>,
    /// Standard input, and descriptors that the command inherits.
    pub options: LaunchOptions,
    /// Key sequence that detaches from the command's terminal.
    pub keys: DetachKeys,
    /// Moment at which [`exec`] returns.
    pub finish: Finish,
}

/// Moment at which [`exec`] or [`enter`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// At the command's end.
    AtEnd,
    /// At the command's start.
    AtStart,
    /// At the command's start: the command is a child of the caller ([`enter`]).
    WithChild,
}

/// Command in a running container, a child of this process.
#[derive(Debug)]
pub struct Entered {
    /// Process of the command.
    pub command: Child,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// Signals for the command that arrived before it ran.
    pub early_signals: Vec<i32>,
}

/// Starts a command ([`Finish::WithChild`]) with the streams of this process or a terminal of its own, and returns when
/// the command runs. The caller has blocked `signals`. Errors: the command could not be run.
pub fn enter(entry: &ExecPlan, streams: CallerStreams<'_>, signals: &Signals) -> Result<Entered> {
    let progress = begin(entry, streams, None, signals)?;
    let command = progress.process.ok_or_else(|| Error::not_running("the container has ended"))?;
    Ok(Entered { command, terminal: progress.terminal, early_signals: progress.signals })
}

/// Returns the conversation with the processes of an entry.
fn conversation<'a>(
    entry: &'a ExecPlan,
    running: &RunningContainer,
    channel: ParentChannel,
) -> Result<Conversation<'a>> {
    let is_supervised = supervised(&entry.steps).is_some();
    Ok(Conversation {
        steps: &entry.steps,
        channel,
        network: None,
        hooks: None,
        membership: Membership::default(),
        identity: &entry.options.container,
        progress: LaunchProgress {
            namespaces: running.user_and_mounts()?,
            supervisors: is_supervised.then(|| running.supervisors()).flatten(),
            ..LaunchProgress::default()
        },
    })
}

/// Runs a command and returns its exit status; `None`: the command is detached. `streams`: those of the caller. The
/// caller has blocked `signals`. Calls `running` when the command runs. Errors: the command could not be run.
pub fn exec(
    entry: &ExecPlan,
    streams: CallerStreams<'_>,
    signals: &Signals,
    running: impl FnOnce(&Child),
) -> Result<Option<u8>> {
    let (command, relay) =
        wire_streams(entry, streams).context(|| "cannot wire the standard streams")?;
    let progress = begin(entry, streams, Some(command), signals)?;
    if let Some(command) = &progress.process {
        running(command);
    }
    match (progress.process.as_ref(), entry.finish) {
        (_, Finish::AtStart) => {
            let detached = progress.terminal.as_ref().map(|master| detach(None, master));
            detached.transpose().map(|_| None)
        }
        (None, _) => Err(Error::not_running("the container has ended")),
        (Some(_), Finish::WithChild) => Err(Error::new("`exec` was called for a plan of `enter`")),
        (Some(process), Finish::AtEnd) => {
            let session = CommandSession {
                process,
                terminal: progress.terminal,
                relay,
                caller: streams,
                stdin: entry.options.stdin,
                keys: entry.keys.clone(),
                early_signals: progress.signals,
                network: None,
                notifier: None,
                keeper: None,
                settled: None,
            };
            wait_for_end(session, signals)
        }
    }
}

/// Makes the command's process, and waits until the command runs. `command`: its streams; `None`: those of this process.
fn begin(
    entry: &ExecPlan,
    streams: CallerStreams<'_>,
    command: Option<CommandStreams>,
    signals: &Signals,
) -> Result<LaunchProgress> {
    let Some(Step::Join(running)) = entry.steps.first() else {
        return Err(Error::new("an exec plan that joins no container"));
    };
    let (channel, theirs) = messages::pair().context(|| "cannot make a socket pair")?;
    let mut conversation = conversation(entry, running, channel)?;
    let first = match running.fork_beside()? {
        Forked::Child => {
            drop(conversation.channel);
            let (channel, command) = (&theirs, command.as_ref());
            EntryProcess { entry, running, channel, streams: command, caller: streams }.run()
        }
        Forked::Parent(first) => first,
    };
    drop((theirs, command));
    entry.options.sockets.iter().for_each(ListenSockets::close);
    let received = conversation.receive_until(LaunchPoint::Exec, signals);
    let progress = conversation.progress;
    if let Err(error) = received {
        let others = [progress.process.as_ref(), progress.supervisor.as_ref()];
        for child in others.into_iter().flatten().chain([&first]) {
            let _ = child.signal(libc::SIGKILL);
            let _ = child.wait();
        }
        return Err(error);
    }
    if running.owns_pid_namespace() || entry.finish == Finish::WithChild {
        let _ = first.wait(); // ends when the command exists; as its keeper, when the command ends
    }
    Ok(progress)
}

/// Waits until the command has ended or was detached.
fn wait_for_end(session: CommandSession<'_>, signals: &Signals) -> Result<Option<u8>> {
    let command = session.process;
    match session.stay(signals)? {
        SessionEnd::Ended(ended) => Ok(Some(ended.status())),
        SessionEnd::Detached(master) => detach(Some(command), &master).map(|()| None),
    }
}

/// Detaches from a command that keeps its terminal. A forked process reads and discards the terminal's output until the
/// command ends. If the command's process is unknown, it reads until no process has the terminal open.
fn detach(command: Option<&Child>, master: &OwnedFd) -> Result<()> {
    let Forked::Child = process::fork().context(|| "cannot leave the command")? else {
        return Ok(());
    };
    let _ = rustix::process::setsid();
    signal::block_all();
    title::set("terminal");
    let pidfd = command.map(|command| command.pidfd.as_fd());
    fd::close_all_but(&[&[master.as_fd()], pidfd.as_slice()].concat());
    keeper::replace_standard_streams_by_null(2);
    let mut room = [0; 4096];
    let mut is_open = true;
    loop {
        let mut fds: Vec<_> =
            pidfd.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        if is_open {
            fds.push(PollFd::new(master, PollFlags::IN));
        }
        let woken = if fds.is_empty() { Ok(0) } else { poll(&mut fds, None) };
        let has_ended = pidfd.is_some() && woken.is_ok() && !fds[0].revents().is_empty();
        if has_ended || (pidfd.is_none() && !is_open) {
            process::exit_now(0);
        }
        if !is_open {
            continue;
        }
        match rustix::io::read(master, &mut room) {
            Ok(1..) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            _ => is_open = false,
        }
    }
}

/// Returns the command's streams, and the relay that connects them to the caller's. A command with a terminal does not
/// install them. The null device is the host's: the container's /dev/null may be any file.
fn wire_streams(
    entry: &ExecPlan,
    caller: CallerStreams<'_>,
) -> io::Result<(CommandStreams, StreamRelay)> {
    let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let has_terminal = entry.steps.iter().any(|step| matches!(step, Step::Terminal(_)));
    if entry.finish == Finish::AtStart || has_terminal {
        let (input, output, error) = (Some(null()?), null()?, null()?);
        let streams = CommandStreams { input, output, error, reports: ReportTarget::OwnStderr };
        return Ok((streams, StreamRelay::default()));
    }
    let (mut streams, relay) = streams::of_caller(caller, entry.options.stdin)?;
    if entry.options.stdin == Stdin::Null {
        streams.input = Some(null()?);
    }
    Ok((streams, relay))
}

/// Process that enters the container. It becomes the command, or its child does.
struct EntryProcess<'a> {
    entry: &'a ExecPlan,
    running: &'a RunningContainer,
    channel: &'a ChildChannel,
    streams: Option<&'a CommandStreams>,
    caller: CallerStreams<'a>,
}

impl EntryProcess<'_> {
    /// Carries out the steps. The process has then become the command, or has exited.
    fn run(&self) -> ! {
        let mut step = 0;
        let Err(error) = self.become_command(&mut step);
        let StepError { what, errno, hint } = error;
        let failure = StepFailure { step, what, errno, hint };
        // The caller may be dead: the process ends all the same.
        let _ = self.channel.send(&ChildMessage::Failed(failure));
        process::exit_now(125)
    }

    fn become_command(&self, index: &mut usize) -> StepResult<Infallible> {
        let entry = self.entry;
        process::set_undumpable()?;
        self.close_other_descriptors();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let mut terminal = None;
        for (number, step) in entry.steps.iter().enumerate() {
            *index = number;
            match step {
                Step::Join(running) => self.enter(running)?,
                Step::BecomeRoot { uid, gid } => process::become_user(*uid, *gid)?,
                Step::Terminal(size) => terminal = Some(self.open_terminal(*size)?),
                Step::WorkingFolder(path) => prepare::go_to_folder(path)?,
                Step::Exec(command) => {
                    let dies_with_caller = entry.finish == Finish::AtEnd && terminal.is_none();
                    let last = LastSteps {
                        steps: &entry.steps,
                        options: &entry.options,
                        channel: self.channel,
                        streams: self.streams,
                        terminal: terminal.as_ref(),
                        parents_death: match dies_with_caller {
                            true => OnParentDeath::Kill,
                            false => OnParentDeath::Ignore,
                        },
                    };
                    return last.exec(command, index);
                }
                step => prepare::prepare(step, &entry.steps)?,
            }
            // A change of credentials makes a process traceable again where fs.suid_dumpable says so.
            process::set_undumpable()?;
        }
        Err(io::Error::from_raw_os_error(libc::ENOEXEC).into())
    }

    fn close_other_descriptors(&self) {
        let mut needed = vec![self.channel.as_fd(), self.running.process().as_fd()];
        if let Some(CommandStreams { input, output, error, .. }) = self.streams {
            needed.extend(input.as_ref().map(OwnedFd::as_fd));
            needed.extend([output.as_fd(), error.as_fd()]);
        }
        needed.extend(self.running.opened().iter().map(OwnedFd::as_fd));
        let options = &self.entry.options;
        fd::close_all_but_from(options.first_other(), &needed, &options.preserve_fd);
    }

    /// Enters the container, and returns in a new process in it. The calling process exits, or stays as the command's
    /// keeper.
    fn enter(&self, running: &RunningContainer) -> StepResult {
        running.enter()?;
        let finish = self.entry.finish;
        // Before the mount namespace: the container's /proc does not show a process outside its pid namespace.
        let parentage = match finish {
            Finish::AtEnd | Finish::WithChild => Parentage::OurParents,
            Finish::AtStart => Parentage::Ours,
        };
        if let Forked::Parent(command) = process::clone(Namespaces::default(), parentage)? {
            let Child { pid, pidfd } = command;
            let message = ChildMessage::Container { pid, pidfd };
            if finish != Finish::AtStart {
                self.channel.send(&message)?;
            }
            let ChildMessage::Container { pid, pidfd } = message else { process::exit_now(125) };
            if !running.owns_pid_namespace() && finish != Finish::WithChild {
                keeper::keep(&pidfd, running.process(), FileServers::default(), None);
            }
            if finish == Finish::AtStart {
                let _ = process::reap(pid);
            }
            process::exit_now(0)
        }
        // A detached command becomes a child of the container's process 1, which reaps orphans.
        if finish == Finish::AtStart
            && running.owns_pid_namespace()
            && let Forked::Parent(_) = process::fork()?
        {
            process::exit_now(0);
        }
        if finish == Finish::AtStart {
            // The number is that of the container's PID namespace; the descriptor means the same process everywhere.
            let pid = std::process::id() as i32;
            let pidfd = process::open_pidfd(pid)?;
            self.channel.send(&ChildMessage::Container { pid, pidfd })?;
        }
        running.enter_files().on(|| "its files")?;
        rustix::process::setsid()?;
        Ok(())
    }

    fn open_terminal(&self, size: Option<TerminalSize>) -> StepResult<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let devpts = rustix::fs::open("/dev/pts", flags, Mode::empty()).on(|| "/dev/pts")?;
        let (master, terminal) = pty::open_pair(devpts.as_fd()).on(|| "/dev/pts")?;
        if let Some(TerminalSize { rows, columns }) = size {
            pty::set_window_size(&master, rows, columns)?;
        }
        self.caller.copy_window_size(&master);
        prepare::give_terminal(&terminal, &self.entry.steps)?;
        self.channel.send(&ChildMessage::Terminal(master))?;
        Ok(terminal)
    }
}
