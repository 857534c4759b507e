//! Work of the parent while the command runs: forwards signals, relays the streams and reports the exit status. One
//! thread, one poll loop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::detach_keys::DetachKeys;
use super::stream_relay::StreamRelay;
use super::terminal_relay::{TerminalReady, TerminalRelay};
use crate::engine::streams::{CallerStreams, Stdin};
use crate::error::{Context, Result};
use crate::net::{HelperWatch, NetworkChange, RunningNetwork};
use crate::readiness::Notifier;
use crate::sys::process::{self, Child, Ended};
use crate::sys::signal::{self, Signals};

/// Returns the signals that are forwarded to the command. Leaves out signals that cannot be caught, that report a fault
/// of usnea itself, or that are meant for usnea and its terminal. docker leaves out the same; 32 and 33 are internal to
/// libc.
pub fn forwarded() -> Vec<i32> {
    const NOT_FORWARDED: [i32; 16] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGCHLD,
        libc::SIGPIPE,
        libc::SIGURG,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGTSTP,
        32,
    ];
    (1..=64).filter(|signal| !NOT_FORWARDED.contains(signal) && *signal != 33).collect()
}

/// Number of consecutive SIGINT or SIGTERM after which the command is killed: a command that is process 1 ignores
/// signals without a handler.
const REQUESTS_TO_END: u32 = 3;
/// Longest time between two consecutive requests.
const IN_A_ROW: Duration = Duration::from_secs(1);
/// Interval for polling a terminal that no process inside has open: a process may open it again.
const WHILE_DESERTED: Duration = Duration::from_millis(100);
/// Time until a command is killed whose user's terminal is gone (docker's stop timeout).
const AFTER_HANGUP: Duration = Duration::from_secs(10);

/// Running command, and the resources of usnea for it.
pub struct CommandSession<'a> {
    /// The command's process, a child of this process.
    pub process: &'a Child,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// Relay of the standard streams of a command without a terminal.
    pub relay: StreamRelay,
    /// Streams of the caller, to which the terminal is relayed.
    pub caller: CallerStreams<'a>,
    /// Source of the command's standard input.
    pub stdin: Stdin,
    /// Key sequence that detaches.
    pub keys: DetachKeys,
    /// Signals that arrived before the session.
    pub early_signals: Vec<i32>,
    /// Networks of the container, which this process serves. `None`: another process does.
    pub network: Option<&'a mut RunningNetwork>,
    /// Connection to the service manager.
    pub notifier: Option<Notifier>,
    /// Keeper of the command's container. Without it a killed parent could not end the container: it is ended at once.
    pub keeper: Option<&'a Child>,
    /// Callback, called once, [`SETTLED`] after the session's start. It does work that would delay a command that runs
    /// only a few milliseconds.
    pub settled: Option<Settled<'a>>,
}

/// Callback for a command that has run for some time. Returns the source of requests about its networks, if any.
pub type Settled<'a> = Box<dyn FnOnce() -> Option<Box<dyn NetworkRequests>> + 'a>;

/// Requests of other processes to change the networks of the command.
pub trait NetworkRequests {
    /// Descriptors to poll for input.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Handles input, and calls `apply` for each requested change.
    fn turn(&mut self, apply: &mut dyn FnMut(NetworkChange) -> Result<()>);
}

/// Time after the session's start at which [`CommandSession::settled`] is called.
const SETTLED: Duration = Duration::from_millis(50);

/// End of a session.
pub enum SessionEnd {
    /// The command has ended.
    Ended(Ended),
    /// The user typed the detach keys: the command runs on, with this terminal.
    Detached(OwnedFd),
}

impl CommandSession<'_> {
    /// Waits until the command has ended or was detached.
    pub fn stay(self, signals: &Signals) -> Result<SessionEnd> {
        let Self { process, terminal, relay, caller, stdin, keys, early_signals, .. } = self;
        let (network, notifier, settled) = (self.network, self.notifier, self.settled);
        let start = |master| TerminalRelay::start(master, caller, stdin, keys);
        let mut supervision = Supervision {
            process,
            caller,
            had_terminal: false,
            terminal: None,
            streams: relay,
            network,
            interrupts: InterruptCounter::default(),
            deadline: None,
            network_requests: None,
            notifier,
            settled: settled.map(|call| (Instant::now() + SETTLED, call)),
            own_signals: None,
            keeper: self.keeper.map(|keeper| keeper.pidfd.as_fd()),
        };
        supervision.terminal =
            terminal.map(start).transpose().context(|| "cannot relay the terminal")?;
        supervision.had_terminal = rustix::termios::isatty(caller.input);
        for signal in early_signals {
            supervision.forward(signal);
        }
        loop {
            supervision.block_own_signals()?;
            let ready = supervision.wait(signals)?;
            if ready.keeper && supervision.keeper.take().is_some() && !ready.ended {
                log::warn!("the keeper of the container has died: the container is ended");
                let _ = process.signal(libc::SIGKILL);
            }
            supervision.call_if_settled(&ready);
            supervision.serve_network(&ready);
            supervision.hear_own_signals()?;
            supervision.forward_all(signals)?;
            if let Some(left) = supervision.terminal.take_if(|relay| relay.turn(&ready.terminal)) {
                return Ok(SessionEnd::Detached(left.into_master()));
            }
            supervision.streams.turn(ready.streams.iter().copied());
            supervision.notifier.iter_mut().for_each(Notifier::turn);
            if ready.ended {
                return supervision.finish(signals).map(SessionEnd::Ended);
            }
        }
    }
}

/// State of a session's poll loop.
struct Supervision<'a> {
    process: &'a Child,
    caller: CallerStreams<'a>,
    /// True if the caller's standard input was a terminal at the start.
    had_terminal: bool,
    terminal: Option<TerminalRelay<'a>>,
    streams: StreamRelay,
    network: Option<&'a mut RunningNetwork>,
    interrupts: InterruptCounter,
    /// Time at which the command is killed, because the user's terminal is gone.
    deadline: Option<Instant>,
    notifier: Option<Notifier>,
    network_requests: Option<Box<dyn NetworkRequests>>,
    settled: Option<(Instant, Settled<'a>)>,
    /// SIGTSTP and SIGCHLD, while this process serves the command's network.
    own_signals: Option<Signals>,
    /// pidfd of the keeper.
    keeper: Option<BorrowedFd<'a>>,
}

impl Supervision<'_> {
    fn forward(&mut self, signal: i32) {
        // ESRCH: the process has just ended, which the next iteration notices.
        let _ = self.process.signal(self.interrupts.escalate(signal));
    }

    fn forward_all(&mut self, signals: &Signals) -> Result<()> {
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            match (signal, &self.terminal) {
                (libc::SIGWINCH, Some(relay)) => {
                    relay.follow_window_size();
                    continue;
                }
                // usnea was stopped, and the shell has changed the terminal's settings.
                (libc::SIGCONT, Some(relay)) => relay.resume(),
                (libc::SIGHUP, _)
                    if self.had_terminal && !rustix::termios::isatty(self.caller.input) =>
                {
                    self.deadline = Some(Instant::now() + AFTER_HANGUP);
                }
                _ => {}
            }
            // A service manager's request to reload (Type=notify-reload).
            let is_reload = signal == libc::SIGHUP;
            self.notifier.iter().filter(|_| is_reload).for_each(Notifier::is_reloading);
            self.forward(signal);
            self.notifier.iter().filter(|_| is_reload).for_each(Notifier::has_reloaded);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let _ = self.process.signal(libc::SIGKILL);
            self.deadline = None;
        }
        Ok(())
    }

    fn call_if_settled(&mut self, ready: &Ready) {
        let is_due = |due: Instant| !ready.ended && Instant::now() >= due;
        if let Some((_, call)) = self.settled.take_if(|(due, _)| is_due(*due)) {
            self.network_requests = call();
        }
    }

    /// Blocks the signals that concern the network, once this process serves it.
    fn block_own_signals(&mut self) -> Result<()> {
        let is_served = self.network.as_ref().is_some_and(|network| network.is_served());
        if is_served && self.own_signals.is_none() {
            let block = Signals::block(&[libc::SIGTSTP, libc::SIGCHLD]);
            self.own_signals = Some(block.context(|| "cannot block signals")?);
        }
        Ok(())
    }

    /// Handles signals that concern the network. Continues a helper that was stopped. Before this process stops itself,
    /// closes its DNS sockets.
    fn hear_own_signals(&mut self) -> Result<()> {
        let (Some(signals), Some(network)) = (&self.own_signals, &mut self.network) else {
            return Ok(());
        };
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if signal == libc::SIGCHLD {
                let news = network.hear_child().and_then(|news| news.report);
                news.into_iter().for_each(|report| log::warn!("{report}"));
                continue;
            }
            network.pause_names();
            signal::stop_by(signal);
            network.resume_names().unwrap_or_else(|error| log::warn!("{error}"));
        }
        Ok(())
    }

    fn serve_network(&mut self, ready: &Ready) {
        let Some(network) = self.network.as_mut().filter(|_| !ready.ended) else { return };
        if ready.names {
            network.turn_names();
        }
        let of_input = if ready.helper { network.turn_helper() } else { None };
        let reports = of_input.into_iter().chain(network.turn()).filter_map(|news| news.report);
        reports.for_each(|report| log::warn!("{report}"));
        if let Some(requests) = self.network_requests.as_mut().filter(|_| ready.requests) {
            let pid = self.process.pid;
            requests.turn(&mut |change| {
                let left = network.change(change, pid)?;
                left.into_iter().for_each(|error| log::warn!("{error}"));
                Ok(())
            });
        }
    }

    fn wait(&self, signals: &Signals) -> Result<Ready> {
        let due = self.settled.as_ref().map(|(due, _)| *due);
        let of_network = self.network.as_ref().and_then(|network| network.due());
        let wake = due.into_iter().chain(self.deadline).chain(of_network).min();
        let mut fds = vec![
            PollFd::new(&self.process.pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        fds.extend(self.terminal.iter().flat_map(TerminalRelay::poll_fds));
        let first_of_streams = fds.len();
        fds.extend(self.streams.poll_fds());
        let end_of_streams = fds.len();
        let network = self.network.as_deref();
        let names = network.and_then(|network| network.names.as_ref());
        fds.extend(names.map(|names| PollFd::new(names, PollFlags::IN)));
        let end_of_names = fds.len();
        let notifier = self.notifier.as_ref().and_then(Notifier::descriptor);
        fds.extend(notifier.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let end_of_notifier = fds.len();
        let helper = network.and_then(|network| network.helper.as_ref());
        let of_helper = helper.into_iter().flat_map(HelperWatch::descriptors);
        fds.extend(of_helper.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let end_of_helper = fds.len();
        let requests = self.network_requests.iter().flat_map(|requests| requests.descriptors());
        fds.extend(requests.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let end_of_requests = fds.len();
        let last = self.own_signals.iter().map(AsFd::as_fd).chain(self.keeper);
        fds.extend(last.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        let deserted = self.terminal.as_ref().is_some_and(TerminalRelay::is_deserted);
        let left =
            if deserted { Some(left.unwrap_or(WHILE_DESERTED).min(WHILE_DESERTED)) } else { left };
        let timeout = left.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(Ready::default()),
            answer => answer.context(|| "cannot wait for the container")?,
        };
        let revents: Vec<_> = fds.iter().map(PollFd::revents).collect();
        // Own signals are read in each iteration, whatever their poll result.
        let (rest, requests) = revents[..end_of_requests].split_at(end_of_helper);
        let (rest, helper) = rest.split_at(end_of_notifier);
        let (rest, _) = rest.split_at(end_of_names);
        let (rest, names) = rest.split_at(end_of_streams);
        let (own, streams) = rest.split_at(first_of_streams);
        let terminal = self.terminal.as_ref().map(|relay| relay.ready(&own[2..]));
        Ok(Ready {
            ended: own[0].contains(PollFlags::IN),
            keeper: self.keeper.and(revents.last()).is_some_and(|events| !events.is_empty()),
            terminal: terminal.unwrap_or_default(),
            streams: streams.to_vec(),
            names: names.iter().any(|events| !events.is_empty()),
            helper: helper.iter().any(|events| !events.is_empty()),
            requests: requests.iter().any(|events| !events.is_empty()),
        })
    }

    /// Copies the rest of the output of a command that has ended, and returns how it ended.
    fn finish(self, signals: &Signals) -> Result<Ended> {
        if let Some(mut relay) = self.terminal {
            relay.finish();
        }
        let written = self.streams.finish(signals);
        let ended = process::wait(self.process.pidfd.as_fd());
        let ended = ended.context(|| "cannot wait for the container")?;
        match written {
            // Success requires that all output was written.
            Err(error) if ended.status() == 0 => Err(error),
            Err(error) => {
                log::warn!("{error}");
                Ok(ended)
            }
            Ok(()) => Ok(ended),
        }
    }
}

/// Counter of consecutive SIGINT and SIGTERM signals.
#[derive(Debug, Default)]
pub struct InterruptCounter {
    count: u32,
    last: Option<Instant>,
}

impl InterruptCounter {
    /// Returns the signal to forward in place of `signal`.
    pub fn escalate(&mut self, signal: i32) -> i32 {
        if ![libc::SIGINT, libc::SIGTERM].contains(&signal) {
            return signal;
        }
        let now = Instant::now();
        let in_a_row = self.last.is_some_and(|last| now.duration_since(last) < IN_A_ROW);
        self.count = if in_a_row { self.count + 1 } else { 1 };
        self.last = Some(now);
        if self.count >= REQUESTS_TO_END { libc::SIGKILL } else { signal }
    }
}

/// Events that can be handled without blocking.
#[derive(Default)]
struct Ready {
    ended: bool,
    terminal: TerminalReady,
    /// True if DNS queries have arrived.
    names: bool,
    /// Poll results of the streams, in the order of [`StreamRelay::poll_fds`].
    streams: Vec<PollFlags>,
    /// True if the network helper has events.
    helper: bool,
    /// True if requests about the networks have arrived.
    requests: bool,
    /// True if the keeper has ended.
    keeper: bool,
}
