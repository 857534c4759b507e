//! Parent's side of a launch's conversation: receives the messages of the children, and starts the processes that they
//! request.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failure::explain_failure;
use super::{agent, supervisor};
use crate::cgroup::SupervisorsCgroup;
use crate::engine::hooks::BundleIdentity;
use crate::engine::hooks::{HookInterrupt, Hooks, HooksEnd};
use crate::engine::messages::{ChildMessage, ParentChannel, ParentMessage};
use crate::engine::plan::step::{Step, Supervised};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hook_point::HookPoint;
use crate::host::{self, hint::Hint};
use crate::net::{HelperWatch, Membership, NetlinkSocket, Network, NetworkOrigin, Starting};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child};
use crate::sys::signal::Signals;

/// Signals that end a launch before its command runs.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Results of a launch, as its messages reported them.
#[derive(Debug, Default)]
pub struct LaunchProgress {
    /// The container's process; `None`: the base process is the container's.
    pub process: Option<Child>,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// User and mount namespace of the container, for the supervisor to enter.
    pub namespaces: Vec<OwnedFd>,
    /// Supervisor that answers the system calls of root emulation.
    pub supervisor: Option<Child>,
    /// Cgroup of the supervisor.
    pub supervisors: Option<SupervisorsCgroup>,
    /// PID of the first process, which is in the base user namespace.
    pub base: Option<i32>,
    /// Network helper that is getting ready. An error is reported only when the container's process waits for the
    /// network. If that process has failed itself, its own failure is the one to report.
    pub connecting: Option<Result<Starting>>,
    /// Netlink socket of the container's network namespace, for named networks.
    pub netlink: Option<NetlinkSocket>,
    /// Network helper that is ready.
    pub helper: Option<HelperWatch>,
    /// Reason why no helper connects the default network: the container has only a loopback interface.
    pub offline: Option<Error>,
    /// True if exec or the wait at the FIFO is the next step, or has happened.
    pub runs: bool,
    /// Signals for the command that arrived during the launch.
    pub signals: Vec<i32>,
}

/// Point of a launch up to which the parent receives messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchPoint {
    /// The container is set up, and its command waits for the start.
    Created,
    /// The command runs: the channel was closed by exec.
    Exec,
}

/// Conversation with the processes of one launch.
#[derive(Debug)]
pub struct Conversation<'a> {
    /// Steps that the processes carry out.
    pub steps: &'a [Step],
    /// Parent's end of the channel.
    pub channel: ParentChannel,
    /// Network to connect.
    pub network: Option<&'a Network>,
    /// Hooks that the parent runs.
    pub hooks: Option<&'a Hooks>,
    /// Named networks that the container has joined.
    pub membership: Membership,
    /// Identity of the container.
    pub identity: &'a BundleIdentity,
    /// Results so far.
    pub progress: LaunchProgress,
}

impl Conversation<'_> {
    /// Receives messages until the launch has reached `point`. Errors: a step failed; a signal ended the launch.
    pub fn receive_until(&mut self, point: LaunchPoint, signals: &Signals) -> Result<()> {
        loop {
            self.wait_for_message(signals)?;
            let message = self.channel.receive();
            match message.context(|| "cannot receive from the container's process")? {
                Some(ChildMessage::Created) if point == LaunchPoint::Created => return Ok(()),
                Some(ChildMessage::Hooks(point)) => self.run_hooks(point, signals)?,
                Some(message) => self.answer(message)?,
                None if point == LaunchPoint::Exec && self.progress.runs => return Ok(()),
                None => return Err(self.died_early()),
            }
        }
    }

    /// Builds the error for processes that ended before the command ran, without a word.
    fn died_early(&self) -> Error {
        let base = self.progress.base.and_then(|pid| process::open_pidfd(pid).ok());
        let both = self.progress.process.as_ref().map(|child| child.pidfd.as_fd());
        let mut both = both.into_iter().chain(base.as_ref().map(AsFd::as_fd));
        let signal = both.find_map(process::killed_by);
        let cause = signal.map(|signal| format!(", killed by signal {signal}")).unwrap_or_default();
        let error = format!("the container's process ended before its command ran{cause}");
        let is_filter = match signal {
            Some(signal) => signal == libc::SIGSYS,
            None => host::userns::is_filtered(),
        };
        match Error::new(error) {
            error if is_filter => error.hint(Hint::KilledByFilter),
            error => error,
        }
    }

    fn answer(&mut self, message: ChildMessage) -> Result<()> {
        let progress = &mut self.progress;
        match message {
            ChildMessage::Container { pid, pidfd } => {
                progress.process = Some(Child { pid, pidfd });
                if self.steps.iter().any(|step| matches!(step, Step::Container(_, Some(_)))) {
                    self.send_mapped()?;
                }
            }
            ChildMessage::Terminal(master) => progress.terminal = Some(master),
            ChildMessage::Namespace(namespace) => progress.namespaces.push(namespace),
            ChildMessage::Network(netlink) => {
                let (Some(base), Some(network)) = (progress.base, self.network) else {
                    fail!("a network before a process")
                };
                let is_bases = self.steps.iter().any(|step| match step {
                    Step::JoinNamespaces(join) => join.made_in_base.contains(Namespaces::NET),
                    _ => false,
                });
                let process = progress.process.as_ref().filter(|_| !is_bases);
                let pid = process.map_or(base, |process| process.pid);
                // The helper gets ready meanwhile.
                progress.netlink = netlink.map(NetlinkSocket::from);
                let started = network.start(base, pid);
                let joined = match &progress.netlink {
                    Some(netlink) => self.membership.connect(pid, netlink),
                    None => Ok(()),
                };
                progress.connecting = joined.and(started).transpose();
            }
            ChildMessage::Connect => {
                let connecting = progress.connecting.take();
                let netlink = progress.netlink.take();
                self.progress.helper = match connecting {
                    Some(connecting) => self.await_helper(connecting)?,
                    None => None,
                };
                if let Some(netlink) = netlink {
                    self.membership.prefer_addresses(&netlink)?;
                }
                self.send(&ParentMessage::Ready)?;
            }
            ChildMessage::Listener(listener) => self.listen(listener)?,
            ChildMessage::Failed(failure) => return Err(explain_failure(self.steps, failure)),
            ChildMessage::Running => progress.runs = true,
            ChildMessage::Created | ChildMessage::Hooks(_) => {}
        }
        Ok(())
    }

    /// Runs the hooks that belong in the runtime's namespaces. A signal that ends a launch ends the hook first.
    fn run_hooks(&mut self, point: HookPoint, signals: &Signals) -> Result<()> {
        let progress = &mut self.progress;
        let pid = progress.process.as_ref().map(|process| process.pid).or(progress.base);
        let heard = &mut progress.signals;
        let mut interrupt = HookInterrupt { signals, ending: &ENDING, heard };
        let Some(hooks) = self.hooks else { return self.send(&ParentMessage::Ready) };
        let ended = hooks.run(point, pid, None, Some(&mut interrupt));
        match ended.context(|| format!("cannot {}", Step::Hooks(point).doing()))? {
            HooksEnd::Done => self.send(&ParentMessage::Ready),
            HooksEnd::Interrupted => Ok(()),
        }
    }

    /// Waits for the helper. A default network that the user did not request may fail: then the container has only its
    /// loopback interface until one of the helpers works. Errors: the helper of a requested network failed.
    fn await_helper(&mut self, connecting: Result<Starting>) -> Result<Option<HelperWatch>> {
        let (error, retry) = match connecting.map(Starting::wait) {
            Ok(Ok(helper)) => return Ok(Some(helper)),
            Ok(Err(failed)) => (failed.error, Some(failed.retry)),
            Err(error) => (error, None),
        };
        let error = error.within("cannot connect the network");
        if self.network.is_none_or(|network| network.origin != NetworkOrigin::Assumed) {
            return Err(error);
        }
        log::warn!("{error}: the container has a loopback interface alone");
        self.progress.offline = Some(error);
        Ok(retry)
    }

    /// Hands the filter's listener to the agent, or to a supervisor of usnea's. Errors: neither can listen.
    fn listen(&mut self, listener: OwnedFd) -> Result<()> {
        let progress = &mut self.progress;
        let process = progress.process.as_ref().map(|process| process.pid);
        match agent::of_steps(self.steps) {
            Some(agent) => {
                let pid = process.or(progress.base);
                let pid = pid.ok_or_else(|| Error::new("a listener before a process"))?;
                let state = agent::state(agent, self.steps, self.identity, pid)?;
                agent::hand_over(agent, &listener, &state)?;
            }
            None => {
                let start = |supervised| {
                    let LaunchProgress { namespaces, supervisors, .. } = &*progress;
                    supervisor::start(supervised, listener, namespaces, supervisors.as_ref())
                };
                progress.supervisor = supervised(self.steps).map(start).transpose()?;
            }
        }
        self.send(&ParentMessage::Ready)
    }

    /// Sends a message. Errors: the container's process is gone.
    pub fn send(&self, message: &ParentMessage) -> Result<()> {
        self.channel.send(message).context(|| "the container's process is gone")
    }

    /// Reports that the IDs are mapped. Errors: the container's process is gone; its last failure, if it sent one.
    pub fn send_mapped(&self) -> Result<()> {
        self.channel
            .send(&ParentMessage::Mapped)
            .map_err(|error| match self.channel.receive() {
                Ok(Some(ChildMessage::Failed(failure))) => explain_failure(self.steps, failure),
                _ => error.into(),
            })
            .context(|| "the container's process is gone")
    }

    /// Waits for a message. A signal of [`ENDING`] ends the launch, unless the command runs already: to know that,
    /// waiting messages are handled first. Keeps all other signals for the command.
    fn wait_for_message(&mut self, signals: &Signals) -> Result<()> {
        loop {
            let ending =
                self.progress.signals.iter().find(|signal| ENDING.contains(signal)).copied();
            let ending = ending.filter(|_| !self.progress.runs);
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut fds = [
                PollFd::new(&self.channel, PollFlags::IN),
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
                self.progress.signals.push(signal);
            }
        }
    }
}

/// Returns what a supervisor needs for the filter. `None`: the filter notifies no supervisor.
pub fn supervised(steps: &[Step]) -> Option<&Supervised> {
    steps.iter().find_map(|step| match step {
        Step::Seccomp(_, supervised) => supervised.as_ref(),
        _ => None,
    })
}
