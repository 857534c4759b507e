//! Parent's life while the command runs: forwards signals, relays the terminal and reports the end. One thread, one
//! loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cgroup::Supervisors;
use crate::engine::session::detach_keys::{DetachKeys, DetachWatch};
use crate::engine::session::stream_relay::StreamRelay;
use crate::engine::streams::Stdin;
use crate::error::{Context, Result};
use crate::net::Starting;
use crate::sys::process::{self, Child, Ended};
use crate::sys::pty;
use crate::sys::signal::Signals;

/// Returns the signals that are forwarded to the command. Leaves out signals that cannot be caught, that report a fault
/// of usnea's own, or that concern usnea and its terminal. docker leaves out the same; 32 and 33 are libc's own.
pub fn forwarded() -> Vec<i32> {
    const OURS: [i32; 16] = [
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
    (1..=64).filter(|signal| !OURS.contains(signal) && *signal != 33).collect()
}

/// Number of requests to end in a row after which the command is killed: a command that is process 1 ignores signals
/// without a handler.
const REQUESTS_TO_END: u32 = 3;
/// Longest time between two requests in a row.
const IN_A_ROW: Duration = Duration::from_secs(1);
/// Interval for polling a terminal that no process inside has open: a process may open it again.
const WHILE_DESERTED: Duration = Duration::from_millis(100);
/// Time that a command may go on when the user's terminal is gone (docker's stop time-out).
const AFTER_HANGUP: Duration = Duration::from_secs(10);

/// Results of a launch, as its messages reported them.
#[derive(Debug, Default)]
pub struct LaunchProgress {
    /// The container's process; `None`: base's process.
    pub process: Option<Child>,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// User and mount namespace of the container, for the supervisor to enter.
    pub namespaces: Vec<OwnedFd>,
    /// Supervisor that answers the calls which the filter hands over.
    pub supervisor: Option<Child>,
    /// Cgroup of the supervisor.
    pub supervisors: Option<Supervisors>,
    /// Number of the first process, which is in the base user namespace.
    pub base: Option<i32>,
    /// Network helper that is getting ready.
    pub connecting: Option<Starting>,
    /// Network helper that is ready.
    pub helper: Option<Child>,
    /// True if the next step is, or was, exec.
    pub runs: bool,
    /// Signals for the command that came during the launch.
    pub signals: Vec<i32>,
}

/// Command, and the state of usnea beside it.
pub struct CommandSession<'a> {
    /// The command's process, a child of this process.
    pub process: &'a Child,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// Standard streams that stay on usnea's side, of a command without a terminal.
    pub relay: StreamRelay,
    /// Source of the command's standard input.
    pub stdin: Stdin,
    /// Keys that leave the terminal.
    pub keys: DetachKeys,
    /// Signals that came before the session.
    pub early: Vec<i32>,
    /// Callback for work that a command of a few milliseconds need not wait for: called once, [`SETTLED`] after the
    /// session's start.
    pub settled: Option<Box<dyn FnOnce() + 'a>>,
}

/// Age of a command at which [`CommandSession::settled`] is called.
const SETTLED: Duration = Duration::from_millis(50);

/// End of a session.
pub enum SessionEnd {
    /// The command has ended.
    Ended(Ended),
    /// The user typed the detach keys: the command goes on, with this terminal.
    Left(OwnedFd),
}

/// Stays until the command has ended or was left.
pub fn until_end(session: CommandSession<'_>, signals: &Signals) -> Result<SessionEnd> {
    let CommandSession { process, terminal, relay: mut streams, stdin, keys, early, settled } =
        session;
    let mut settled = settled.map(|call| (Instant::now() + SETTLED, call));
    let start = |master| TerminalRelay::start(master, stdin, keys);
    let mut relay = terminal.map(start).transpose().context(|| "cannot relay the terminal")?;
    let had_terminal = rustix::termios::isatty(rustix::stdio::stdin());
    let mut requests = Requests::default();
    let mut deadline = None;
    for signal in early {
        let _ = process.signal(requests.heard(signal));
    }
    loop {
        let wake = settled.as_ref().map(|(due, _)| *due).into_iter().chain(deadline).min();
        let ready = wait(process, signals, (relay.as_ref(), &streams), wake)?;
        if let Some((_, call)) = settled.take_if(|(due, _)| !ready.ended && Instant::now() >= *due)
        {
            call();
        }
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            match (signal, &relay) {
                (libc::SIGWINCH, Some(relay)) => {
                    relay.follow_window_size();
                    continue;
                }
                // usnea was stopped, and a shell has changed the terminal's settings.
                (libc::SIGCONT, Some(relay)) => relay.resume(),
                (libc::SIGHUP, _)
                    if had_terminal && !rustix::termios::isatty(rustix::stdio::stdin()) =>
                {
                    deadline = Some(Instant::now() + AFTER_HANGUP);
                }
                _ => {}
            }
            // ESRCH: the process has just ended, which the next round notices.
            let _ = process.signal(requests.heard(signal));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let _ = process.signal(libc::SIGKILL);
            deadline = None;
        }
        if let Some(left) = relay.take_if(|relay| relay.turn(&ready)) {
            return Ok(SessionEnd::Left(left.master));
        }
        streams.turn(ready.streams.into_iter());
        if ready.ended {
            if let Some(mut relay) = relay.take() {
                relay.finish();
            }
            let written = streams.finish(signals);
            let ended = process::wait(process.pidfd.as_fd());
            let ended = ended.context(|| "cannot wait for the container")?;
            return match written {
                // Success requires that all output was written.
                Err(error) if ended.status() == 0 => Err(error),
                Err(error) => {
                    log::warn!("{error}");
                    Ok(SessionEnd::Ended(ended))
                }
                Ok(()) => Ok(SessionEnd::Ended(ended)),
            };
        }
    }
}

/// Counter of requests to end that came in a row.
#[derive(Debug, Default)]
pub struct Requests {
    count: u32,
    last: Option<Instant>,
}

impl Requests {
    /// Returns the signal to forward in place of `signal`.
    pub fn heard(&mut self, signal: i32) -> i32 {
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

/// Events that can be handled without waiting.
#[derive(Default)]
struct Ready {
    ended: bool,
    output: bool,
    input: bool,
    room: bool,
    /// Poll results for the wishes of the streams, in their order.
    streams: Vec<PollFlags>,
}

fn wait(
    process: &Child,
    signals: &Signals,
    (relay, streams): (Option<&TerminalRelay>, &StreamRelay),
    wake: Option<Instant>,
) -> Result<Ready> {
    let mut fds = vec![
        PollFd::new(&process.pidfd, PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
    ];
    let deserted = relay.is_some_and(|relay| relay.deserted);
    if let Some(relay) = relay.filter(|relay| !relay.deserted) {
        let writes = if relay.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        fds.push(PollFd::new(&relay.master, PollFlags::IN | writes));
        if relay.reads_input() {
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        }
    }
    let first_of_streams = fds.len();
    fds.extend(streams.wishes());
    let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
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
    let of_streams = fds.split_off(first_of_streams);
    let came = |index: usize, flags: PollFlags| {
        fds.get(index).is_some_and(|fd| fd.revents().intersects(flags))
    };
    let hangs = PollFlags::HUP | PollFlags::ERR;
    Ok(Ready {
        ended: came(0, PollFlags::IN),
        output: deserted || came(2, PollFlags::IN | hangs),
        room: came(2, PollFlags::OUT),
        input: came(3, PollFlags::IN | hangs),
        streams: of_streams.iter().map(PollFd::revents).collect(),
    })
}

/// Relay between usnea's standard streams and the master of the command's terminal.
struct TerminalRelay {
    master: OwnedFd,
    /// Raw mode of usnea's own terminal, until dropped.
    raw: Option<pty::Raw>,
    /// True if no process inside has the terminal open, which poll(2) would report for ever.
    deserted: bool,
    input: TerminalInput,
    watch: DetachWatch,
    /// Bytes from usnea's input that the terminal has not taken yet. The terminal's buffer is small: waiting for room
    /// while the command waits for usnea to read would never end.
    pending: Vec<u8>,
}

#[derive(PartialEq, Eq)]
enum TerminalInput {
    Open,
    Closed,
}

impl TerminalRelay {
    fn start(master: OwnedFd, stdin: Stdin, keys: DetachKeys) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let raw = match stdin {
            Stdin::Ours if rustix::termios::isatty(rustix::stdio::stdin()) => {
                Some(pty::Raw::set(rustix::stdio::stdin())?)
            }
            _ => None,
        };
        let input = if stdin == Stdin::Ours { TerminalInput::Open } else { TerminalInput::Closed };
        let watch = DetachWatch::new(keys);
        let relay = Self { master, raw, deserted: false, input, watch, pending: Vec::new() };
        relay.follow_window_size();
        Ok(relay)
    }

    fn follow_window_size(&self) {
        // Without a terminal on either stream the size stays unchanged.
        let _ = pty::copy_window_size(rustix::stdio::stdin(), &self.master)
            .or_else(|_| pty::copy_window_size(rustix::stdio::stdout(), &self.master));
    }

    fn resume(&self) {
        if let Some(raw) = &self.raw {
            raw.renew();
        }
        self.follow_window_size();
    }

    fn reads_input(&self) -> bool {
        self.input == TerminalInput::Open && self.pending.is_empty()
    }

    /// True if the detach keys were typed.
    fn turn(&mut self, ready: &Ready) -> bool {
        if ready.output {
            self.carry_output();
        }
        let leaves = ready.input && self.reads_input() && self.carry_input();
        if ready.room {
            self.write_pending();
        }
        leaves
    }

    /// Copies at most one buffer of output a turn, to handle signals soon. True if more output may follow.
    fn carry_output(&mut self) -> bool {
        let mut room = [0; 16384];
        match rustix::io::read(&self.master, &mut room) {
            Ok(length) if length > 0 => {
                self.deserted = false;
                write_all(rustix::stdio::stdout(), &room[..length]).is_ok()
            }
            answer => {
                self.deserted = matches!(answer, Ok(_) | Err(Errno::IO));
                false
            }
        }
    }

    fn carry_input(&mut self) -> bool {
        const END_OF_TRANSMISSION: u8 = 4;
        let mut room = [0; 1024];
        let mut leaves = false;
        match rustix::io::read(rustix::stdio::stdin(), &mut room) {
            Ok(length) if length > 0 && self.raw.is_some() => {
                let (typed, were_keys) = self.watch.typed(&room[..length]);
                self.pending.extend(typed);
                leaves = were_keys;
            }
            Ok(length) if length > 0 => self.pending.extend(&room[..length]),
            Err(Errno::AGAIN | Errno::INTR) => return false,
            _ => {
                self.input = TerminalInput::Closed;
                self.pending.push(END_OF_TRANSMISSION);
            }
        }
        self.write_pending();
        leaves
    }

    fn write_pending(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }

    /// Writes the command's last output.
    fn finish(&mut self) {
        while self.carry_output() {}
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
