//! Attached client: connects its standard streams to the command, until the command ends or the detach keys are typed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::client::SignalProxy;
use super::{Container, not_running};
use crate::engine::{
    CallerEnd, CallerStreams, InputMode, InputOutcome, InterruptCounter, Stdin, write_all,
};
use crate::error::{Context, Error, Result, STATUS_UNREAD};
use crate::monitor::protocol::{self, MonitorMessage, Pace, Request};
use crate::monitor::record::State;
use crate::monitor::{Status, events};
use crate::sys::process;
use crate::sys::signal::Signals;

/// Settings of an attached client.
#[derive(Debug)]
pub struct Attachment<'a> {
    /// Socket to the container's monitor.
    pub socket: OwnedFd,
    /// Streams of the client.
    pub streams: CallerStreams<'a>,
    /// True if the command reads the client's input.
    pub reads_input: bool,
    /// Detach keys: they end the session and leave the container running.
    pub keys: super::DetachKeys,
    /// Receiver of signals that reach the client.
    pub proxy: SignalProxy,
}

/// Connects to the monitor of a running container.
pub fn connect_monitor(container: &Container) -> Result<OwnedFd> {
    container.refuse_foreground("monitor to attach to")?;
    let status = container.status_here()?;
    let Status::Running(state) = &status else {
        return Err(not_running(container, &status, "start -a"));
    };
    match request_attach(container, state) {
        Ok(socket) => {
            events::of_container(&container.store, &container.record, "attach", &[]);
            Ok(socket)
        }
        Err(error) => Err(match container.status()? {
            Status::Running(_) => error,
            // The container ended before its monitor read the request.
            status => not_running(container, &status, "start -a"),
        }),
    }
}

fn request_attach(container: &Container, state: &State) -> Result<OwnedFd> {
    let socket = connect(container, state)?;
    protocol::send(&socket, &Request::Attach(Pace::Drops).bytes())
        .context(|| "cannot ask the monitor")?;
    Ok(socket)
}

pub(super) fn connect(container: &Container, state: &State) -> Result<OwnedFd> {
    if let Some(Ok(socket)) = state.socket.as_ref().map(|path| protocol::connect(path)) {
        return Ok(socket);
    }
    if !container.is_in_store() {
        // SIGUSR1 to the parent of a foreground container would reach the command.
        return Err(Error::not_running("the container has ended"));
    }
    // The runtime folder was removed, such as at a logout: the monitor makes another socket.
    let monitor = state
        .monitor
        .open()
        .ok_or_else(|| Error::not_running("the container's monitor is gone"))?;
    process::pidfd_signal(monitor.as_fd(), libc::SIGUSR1).context(|| "cannot ask the monitor")?;
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        std::thread::sleep(Duration::from_millis(5));
        let path = container.status()?.state().and_then(|state| state.socket.clone());
        match path.as_ref().map(|path| protocol::connect(path)) {
            Some(Ok(socket)) => return Ok(socket),
            _ if Instant::now() < deadline => {}
            Some(Err(error)) => return Err(error).context(|| "cannot reach the monitor"),
            None => return Err(Error::new("the container's monitor does not listen")),
        }
    }
}

/// Time that a client waits for the end of its container when the reader of its output is gone. It lets `run IMAGE true
/// | head` return the status of the command.
const AFTER_READER: Duration = Duration::from_secs(1);

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Time limit for a monitor to copy output to the log. Its container may be ending.
const CATCHING_UP: Duration = Duration::from_secs(2);

/// Asks the monitor of a running container to copy the command's output so far to the log. Without an answer, reads of
/// the log may miss the last output.
pub(super) fn catch_up(container: &Container) {
    let Ok(Status::Running(state)) = container.status() else { return };
    let Ok(socket) = connect(container, &state) else { return };
    if protocol::send(&socket, &Request::CatchUp.bytes()).is_err() {
        return;
    }
    let deadline = Instant::now() + CATCHING_UP;
    let mut answer = [0; 8];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timespec(left))) {
            Err(Errno::INTR) => {}
            Ok(1..) => break,
            _ => return,
        }
    }
    // A closed connection counts as an answer too: of an older monitor, or one that exits.
    let _ = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT);
}

/// Copies the streams until the end of the session. Returns the exit status of the command; `None`: the detach keys
/// were typed. The caller has blocked `signals`.
pub fn attach(
    container: &Container,
    attachment: Attachment<'_>,
    signals: &Signals,
) -> Result<Option<u8>> {
    let streams = attachment.streams;
    let input = if attachment.reads_input { Stdin::Ours } else { Stdin::Null };
    let mode = if container.record.terminal { InputMode::Raw } else { InputMode::Unchanged };
    let caller = CallerEnd::start(streams, input, mode, attachment.keys);
    let mut session = AttachedSession {
        container,
        caller: caller.context(|| "cannot set the terminal to raw mode")?,
        streams,
        socket: attachment.socket,
        proxy: attachment.proxy,
        interrupts: InterruptCounter::default(),
        had_terminal: rustix::termios::isatty(streams.input),
        pending: Vec::new(),
        has_lost: false,
        has_shown: false,
        unread_since: None,
    };
    session.send_window_size();
    session.stay(signals)
}

struct AttachedSession<'a> {
    container: &'a Container,
    caller: CallerEnd<'a>,
    streams: CallerStreams<'a>,
    socket: OwnedFd,
    proxy: SignalProxy,
    interrupts: InterruptCounter,
    had_terminal: bool,
    /// Message for which the monitor's socket has no room: the command does not read its input.
    pending: Vec<u8>,
    /// True if output could not be written, and a warning was logged.
    has_lost: bool,
    /// True if output was written to standard output.
    has_shown: bool,
    /// Time at which standard output was found to have no reader.
    unread_since: Option<Instant>,
}

impl AttachedSession<'_> {
    fn stay(&mut self, signals: &Signals) -> Result<Option<u8>> {
        let mut room = vec![0; protocol::ROOM + 1];
        loop {
            let reads = self.caller.reads_input() && self.pending.is_empty();
            let waits = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut fds = vec![
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN | waits),
            ];
            if reads {
                fds.push(PollFd::from_borrowed_fd(self.streams.input, PollFlags::IN));
            }
            let watches_output = self.has_shown && self.unread_since.is_none();
            if watches_output {
                // No event is requested: poll(2) reports errors all the same.
                fds.push(PollFd::from_borrowed_fd(self.streams.output, PollFlags::empty()));
            }
            let left = self.unread_since.map(|since| AFTER_READER.saturating_sub(since.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(Some(STATUS_UNREAD));
            }
            match poll(&mut fds, left.map(timespec).as_ref()) {
                Err(Errno::INTR) => continue,
                answer => answer.context(|| "cannot wait for the container")?,
            };
            let mut events: Vec<_> = fds.iter().map(PollFd::revents).collect();
            if watches_output && events.pop().is_some_and(|events| events.contains(PollFlags::ERR))
            {
                self.unread_since = Some(Instant::now());
            }
            while let Some(signal) = signals.next().context(|| "cannot read signals")? {
                if let Some(status) = self.signal(signal) {
                    return Ok(Some(status));
                }
            }
            if events[1].contains(PollFlags::OUT) {
                let message = std::mem::take(&mut self.pending);
                self.send(message);
            }
            if events[1].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && let Some(status) = self.receive(&mut room)?
            {
                return Ok(Some(status));
            }
            if events.get(2).is_some_and(|events| !events.is_empty()) && self.read(&mut room) {
                return Ok(None);
            }
        }
    }

    /// Handles a message of the monitor. Returns the exit status at the container's end.
    fn receive(&mut self, room: &mut [u8]) -> Result<Option<u8>> {
        let flags = RecvFlags::DONTWAIT;
        let length = match rustix::net::recv(&self.socket, &mut *room, flags) {
            Ok((length, _)) if length > 0 => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            // The monitor died without a message: the record has the exit status.
            _ => return self.recorded_status().map(Some),
        };
        match MonitorMessage::parse(&room[..length]) {
            Some(MonitorMessage::Output(bytes)) => {
                self.has_shown = true;
                return self.show(self.streams.output, bytes);
            }
            Some(MonitorMessage::Error(bytes)) => return self.show(self.streams.error, bytes),
            Some(MonitorMessage::Lost(count)) => log::warn!("{count} bytes of output were missed"),
            Some(MonitorMessage::Ended(status)) => return Ok(Some(status)),
            Some(MonitorMessage::CaughtUp | MonitorMessage::Changed(_)) | None => {}
        }
        Ok(None)
    }

    /// Writes output to a stream. Without a reader, returns the exit status of a client killed by SIGPIPE; the
    /// container runs on. Warns once of other write errors and continues: the command's exit status is still to come.
    fn show(&mut self, to: BorrowedFd<'_>, bytes: &[u8]) -> Result<Option<u8>> {
        match write_all(to, bytes) {
            Err(Errno::PIPE) => return Ok(Some(STATUS_UNREAD)),
            Err(error) if !std::mem::replace(&mut self.has_lost, true) => {
                log::warn!("output is lost: cannot write it: {}", Error::from(error));
            }
            _ => {}
        }
        Ok(None)
    }

    fn recorded_status(&self) -> Result<u8> {
        for _ in 0..200 {
            match self.container.status() {
                Ok(Status::Exited(exit) | Status::Restarting(_, exit)) => return Ok(exit.status),
                Ok(Status::Running(_) | Status::Paused(_)) => {
                    std::thread::sleep(Duration::from_millis(10))
                }
                _ => break,
            }
        }
        Err(Error::not_running(format!(
            "the monitor of container {} is gone",
            self.container.record.name
        )))
    }

    /// Forwards typed input. Returns true if the detach keys were typed.
    fn read(&mut self, room: &mut [u8]) -> bool {
        let typed = self.caller.read(&mut room[..protocol::ROOM - 1]);
        if !typed.bytes.is_empty() {
            self.send(Request::Input(&typed.bytes).bytes());
        }
        if typed.outcome == InputOutcome::Ended {
            self.send(Request::CloseInput.bytes());
        }
        typed.outcome == InputOutcome::Left
    }

    fn send(&mut self, message: Vec<u8>) {
        // A dead monitor is noticed at the end of its messages.
        if let Err(error) = protocol::send(&self.socket, &message)
            && error.kind() == std::io::ErrorKind::WouldBlock
        {
            self.pending = message;
        }
    }

    /// Handles a signal to this process. Returns the exit status if the signal ends the session; the container runs on.
    fn signal(&mut self, signal: i32) -> Option<u8> {
        match signal {
            libc::SIGWINCH => {
                self.send_window_size();
                return None;
            }
            libc::SIGCONT => {
                self.caller.resume();
                self.send_window_size();
            }
            _ => {}
        }
        let is_gone = signal == libc::SIGHUP
            && self.had_terminal
            && !rustix::termios::isatty(self.streams.input);
        if self.proxy == SignalProxy::On {
            let signal = self.interrupts.escalate(signal);
            if let Ok(status) = self.container.status()
                && let Some(state) = status.state()
                && let Some(pidfd) = state.process.open()
            {
                let _ = process::pidfd_signal(pidfd.as_fd(), signal);
            }
        }
        let is_ours = self.proxy == SignalProxy::Off
            && [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&signal);
        (is_gone || is_ours).then_some(128 + signal as u8)
    }

    fn send_window_size(&mut self) {
        let size = self.caller.window_size();
        if let (true, Some(size)) = (self.container.record.terminal, size) {
            let _ =
                protocol::send(&self.socket, &Request::Window(size.ws_row, size.ws_col).bytes());
        }
    }
}
