//! Main loop of the monitor: one thread, asleep until an event. Output goes to the log, then to attached clients; their
//! input goes to the command. At the end of the command, all its output is logged before `exit.json` is written.
//! Clients learn of the end last.

mod end;
mod network_helper;
mod networks;
mod pod;

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clients::{self, Clients, Wish};
use super::handover::{Handover, RELAUNCH, REMOVE, start_check, take};
use super::health::{Health, HealthReport, StartupState, Timer};
use super::launch::SIGNALS;
use super::log::Source;
use super::oom::Oom;
use super::output::Log;
use super::pod::UplinkWatch;
use super::protocol::{self, MonitorMessage, Pace};
use super::record::{self, CONTAINER, OnFailure, Record, STATE, STOPPED, State};
use super::streams::Streams;
use crate::engine::{self, ListenSockets};
use crate::error::{Context, Error, Result};
use crate::net::{HelperWatch, Membership, RunningNetwork};
use crate::readiness::Notifier;
use crate::sys::fd::AtExec;
use crate::sys::process::{self, Ended};
use crate::sys::signal::Signals;
use crate::sys::{fd, pages, title};

/// Bytes read from the command at once: as many as fit a message to a client.
const CHUNK: usize = protocol::ROOM - 1;

/// Largest capacity of a pipe in bytes: /proc/sys/fs/pipe-max-size for processes that may not exceed it (pipe(7)).
const MOST_IN_A_PIPE: usize = 1 << 20;

/// Time that the program's pages stay mapped after work: a page freed and needed again costs a microsecond.
const LINGERING: Duration = Duration::from_millis(100);

/// State of a running monitor.
struct Monitor {
    store: PathBuf,
    folder: PathBuf,
    record: Record,
    state: State,
    streams: Streams,
    clients: Clients,
    log: Log,
    listener: Option<OwnedFd>,
    signals: Signals,
    ends_all: bool,
    /// Time at which a command that was asked to end is killed.
    deadline: Option<Instant>,
    /// When the command is killed that has run too long (`--timeout`).
    timeout: Option<Instant>,
    ended: Option<Ended>,
    oom: Oom,
    /// Our end of the socket that the container's keeper watches.
    keeper: Option<OwnedFd>,
    /// False once the keeper has closed its end.
    is_kept: bool,
    /// Networks of the container, with its helper.
    network: RunningNetwork,
    /// Connection to the service manager.
    notifier: Option<Notifier>,
    /// Way out of the container's pod; `None`: the container has its own, or none.
    uplink: Option<UplinkWatch>,
    health: Timer,
    /// True if the unhealthy container is being stopped for a restart.
    is_to_restart: bool,
    /// True after a signal to end: no restart follows, and the next boot may start the container.
    is_to_end: bool,
    /// Sockets of socket activation for the next start. Kept only where the container may be restarted: a socket that
    /// stays open here keeps its address in use.
    sockets: Option<ListenSockets>,
    room: Vec<u8>,
    /// Health at the last check.
    was: Option<Health>,
    /// True if the loop has worked since the program's pages were freed.
    has_worked: Cell<bool>,
}

/// Event sources of the loop.
#[derive(Clone, Copy)]
enum Place {
    Signals,
    Source(Source),
    Input,
    Listener,
    Oom,
    Names,
    Notifier,
    Keeper,
    Helper,
    PodUplink,
    AttachedClient(usize),
}

/// Watches the container of the handover until its end. Returns the command's exit status when no work is left: where the
/// monitor is the main process of a service, its own is the service's.
pub fn watch(number: &str) -> Result<u8> {
    let handover = Handover::receive(number)?;
    let _ = rustix::thread::set_name(c"usnea-monitor");
    let lock = take(handover.lock)?;
    let held = handover.held.iter().map(|number| take(*number)).collect::<Result<Vec<_>>>()?;
    let waited = Duration::from_millis(handover.waited);
    // Helpers and health checks are programs that this process starts.
    let sockets = handover.sockets.as_ref();
    let closed = sockets.map_or(Ok(()), |sockets| sockets.at_exec(AtExec::Close));
    closed.map_err(|(_, error)| error).context(|| "cannot keep the sockets")?;
    let mut monitor = Monitor::new(handover)?;
    // A kernel without CONFIG_DNOTIFY does not report removals: then a container without a record runs on.
    let _folder = match fd::tell_of_removals(&lock) {
        Ok(()) => None,
        // The lock is on a file in the folder (`files::locks`).
        Err(_) => File::open(&monitor.folder).ok().inspect(|folder| {
            let _ = fd::tell_of_removals(folder);
        }),
    };
    monitor.look_after_record();
    while monitor.ended.is_none() {
        monitor.turn(None)?;
    }
    monitor.hear_keeper();
    monitor.keeper = None;
    drop(held);
    let wait = monitor.end(waited)?;
    monitor.drain_clients()?;
    let again = match wait {
        Some(wait) => monitor.wait(wait)?.then_some(wait),
        None => None,
    };
    let _ = rustix::thread::set_name(c"usnea");
    if let Some(wait) = again {
        return monitor.hand_back(lock, wait, RELAUNCH).map(|never| match never {});
    }
    if monitor.record.auto_remove {
        monitor.notifier = None; // removes its socket
        let gone = monitor.hand_back(lock, Duration::ZERO, REMOVE);
        return gone.map(|never| match never {});
    }
    monitor.stop_listening();
    Ok(monitor.ended.map_or(0, Ended::status))
}

impl Monitor {
    fn new(handover: Handover) -> Result<Self> {
        let folder = &handover.folder;
        let gone = || Error::new(format!("{} is damaged", folder.display()));
        let record: Record = record::read(folder, CONTAINER)?.ok_or_else(gone)?;
        let state: State = record::read(folder, STATE)?.ok_or_else(gone)?;
        let pipe = |index: usize| handover.pipes[index].map(take).transpose();
        title::name_container(&record.name);
        title::set("monitor");
        let streams = match (handover.terminal, pipe(0)?, pipe(1)?, pipe(2)?) {
            (Some(master), ..) => Streams::terminal(take(master)?),
            (None, input, Some(output), Some(error)) => Streams::pipes(input, output, error),
            _ => Ok(Streams::default()),
        };
        let mut clients = Clients::default();
        if let Some(client) = handover.client {
            clients.add(take(client)?, Some(Pace::Waits));
        }
        let membership = Membership::take_over(handover.networks)?;
        let helper = handover.helper.map(HelperWatch::take_over).transpose()?;
        let mut monitor = Self {
            log: Log::open(folder, &record),
            oom: Oom::of(state.cgroup.clone()),
            keeper: handover.keeper.map(take).transpose()?,
            is_kept: true,
            network: RunningNetwork { membership, names: None, helper },
            notifier: handover.notifier.map_or(Ok(None), Notifier::take_over)?,
            uplink: handover.pod.map(UplinkWatch::of),
            record,
            state,
            streams: streams.context(|| "cannot watch the command's streams")?,
            clients,
            listener: handover.listener.map(take).transpose()?,
            signals: Signals::block(&SIGNALS).context(|| "cannot block signals")?,
            ends_all: handover.ends_all,
            deadline: None,
            timeout: None,
            ended: None,
            health: Timer::default(),
            is_to_restart: false,
            is_to_end: false,
            sockets: handover.sockets,
            room: vec![0; protocol::ROOM],
            was: None,
            has_worked: Cell::new(true),
            store: handover.store,
            folder: handover.folder,
        };
        // A running command is not ended for want of names.
        if let Err(error) = monitor.network.serve_names() {
            monitor.log.say(&error.to_string());
        }
        monitor.timeout = end_of_time(&monitor.record);
        for signal in handover.signals {
            monitor.hear(signal);
        }
        monitor.await_check(&HealthReport::default());
        // Children that ended before this point have sent their signal already.
        monitor.reap();
        Ok(monitor)
    }

    /// Waits for events, at most until `until`, and handles them.
    fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        let mut kills = false;
        for (place, events) in self.ready(until)? {
            match place {
                Place::Signals => {
                    while let Some(signal) =
                        self.signals.next().context(|| "cannot read signals")?
                    {
                        self.hear(signal);
                    }
                }
                Place::Source(source) => self.carry(source),
                Place::Input => self.streams.flush(),
                Place::Listener => {
                    if let Some(listener) = &self.listener {
                        self.clients.accept(listener);
                    }
                }
                Place::Oom => self.hear_oom(),
                Place::Notifier => self.notifier.iter_mut().for_each(Notifier::turn),
                Place::Names => self.network.turn_names(),
                Place::Keeper => self.hear_keeper(),
                Place::Helper => self.look_after_helper(),
                Place::PodUplink => self.watch_pod_uplink(),
                // A single client each turn: indices of the others change when a client is removed.
                Place::AttachedClient(index) if events.contains(PollFlags::OUT) => {
                    self.clients.flush(index);
                    break;
                }
                Place::AttachedClient(index) => {
                    self.hear_client(index);
                    break;
                }
            }
        }
        for deadline in [&mut self.deadline, &mut self.timeout] {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                *deadline = None;
                kills = true;
            }
        }
        if kills {
            self.signal(libc::SIGKILL);
        }
        self.turn_network();
        if self.health.due().is_some_and(|due| Instant::now() >= due) {
            self.check_health();
        }
        Ok(())
    }

    fn ready(&self, until: Option<Instant>) -> Result<Vec<(Place, PollFlags)>> {
        let mut places = vec![Place::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut add = |place, fd, flags| {
            places.push(place);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        for source in [Source::Output, Source::Error] {
            if let Some(fd) = self.streams.source(source).filter(|_| !self.clients.are_full()) {
                add(Place::Source(source), fd, PollFlags::IN);
            }
        }
        if let Some(fd) = self.streams.wants_room() {
            add(Place::Input, fd, PollFlags::OUT);
        }
        if let Some(listener) = &self.listener {
            add(Place::Listener, listener.as_fd(), PollFlags::IN);
        }
        if let Some(fd) = self.oom.events() {
            add(Place::Oom, fd, PollFlags::PRI);
        }
        if let Some(fd) = self.notifier.as_ref().and_then(Notifier::descriptor) {
            add(Place::Notifier, fd, PollFlags::IN);
        }
        if let Some(names) = &self.network.names {
            add(Place::Names, names.as_fd(), PollFlags::IN);
        }
        if let Some(keeper) = self.keeper.as_ref().filter(|_| self.is_kept) {
            add(Place::Keeper, keeper.as_fd(), PollFlags::IN);
        }
        for fd in self.network.helper.iter().flat_map(HelperWatch::descriptors) {
            add(Place::Helper, fd, PollFlags::IN);
        }
        let owner = self.uplink.as_ref().and_then(UplinkWatch::descriptor);
        owner.into_iter().for_each(|owner| add(Place::PodUplink, owner, PollFlags::IN));
        // Input that the command does not take is not fetched from the clients.
        let hears =
            if self.streams.wants_room().is_none() { PollFlags::IN } else { PollFlags::empty() };
        for index in 0..self.clients.count() {
            if let Some((fd, waits)) = self.clients.socket(index) {
                add(Place::AttachedClient(index), fd, if waits { PollFlags::OUT } else { hears });
            }
        }
        let deadline = self.next_deadline(until);
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let woken = match self.has_worked.replace(false) {
            // Once after the last work, not repeatedly: an idle monitor's pages are worth more elsewhere.
            true => match wait(&mut fds, Some(left().unwrap_or(LINGERING).min(LINGERING)))? {
                0 => {
                    let _ = pages::forget_program();
                    wait(&mut fds, left())?
                }
                woken => woken,
            },
            false => wait(&mut fds, left())?,
        };
        self.has_worked.set(woken > 0);
        let came = places.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(came.filter(|(_, events)| !events.is_empty()).collect())
    }

    /// Time of the next work without an event, at most `until`.
    fn next_deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let of_network = self.network_deadline();
        let deadlines = [until, self.deadline, self.timeout, self.health.due(), of_network];
        deadlines.into_iter().flatten().min()
    }

    /// Copies a chunk of output into the log, then to attached clients; returns its length. `None`: no output.
    fn carry_once(&mut self, source: Source) -> Option<usize> {
        let length = self.streams.read(source, &mut self.room[..CHUNK])?;
        let bytes = &self.room[..length];
        self.log.write(source, bytes);
        self.clients.tell(source, bytes);
        Some(length)
    }

    fn carry(&mut self, source: Source) {
        if !self.clients.are_full() {
            self.carry_once(source);
        }
    }

    /// Brings the command's output so far into the log. Bounded by the capacity of a pipe: a command that writes
    /// forever does not keep the monitor here.
    fn catch_up(&mut self) {
        for source in [Source::Output, Source::Error] {
            let mut left = MOST_IN_A_PIPE;
            while left > 0 && !self.clients.are_full() {
                let Some(length) = self.carry_once(source) else { break };
                left = left.saturating_sub(length);
            }
        }
    }

    fn hear_client(&mut self, index: usize) {
        match self.clients.hear(index, &mut self.room) {
            Some(Wish::Input(bytes)) => self.streams.input(&bytes),
            Some(Wish::CloseInput)
                if self.record.input == record::Input::Once || self.record.terminal =>
            {
                self.streams.close_input();
            }
            Some(Wish::Window(rows, columns)) => self.streams.resize(rows, columns),
            Some(Wish::Wait) => {
                if let Some(ended) = self.ended {
                    clients::answer(
                        &mut self.clients,
                        index,
                        &MonitorMessage::Ended(ended.status()),
                    );
                }
            }
            Some(Wish::CatchUp) => {
                self.catch_up();
                clients::answer(&mut self.clients, index, &MonitorMessage::CaughtUp);
            }
            Some(Wish::Networks(json)) => {
                let changed = serde_json::to_vec(&self.change_networks(&json)).unwrap_or_default();
                clients::answer(&mut self.clients, index, &MonitorMessage::Changed(&changed));
            }
            Some(Wish::CloseInput) | None => {}
        }
    }

    fn hear(&mut self, signal: i32) {
        match signal {
            libc::SIGCHLD => {
                self.reap();
                self.hear_child();
            }
            libc::SIGHUP => self.reload(),
            libc::SIGUSR1 => self.listen_anew(),
            fd::REMOVAL => self.look_after_record(),
            _ => {
                self.is_to_end = true;
                self.ask_to_end();
            }
        }
    }

    /// Passes on the reload request of a service manager (Type=notify-reload). Other senders are ignored: closing a
    /// terminal must not affect a detached container.
    fn reload(&self) {
        if let Some(notifier) = &self.notifier {
            notifier.is_reloading();
            self.signal(libc::SIGHUP);
            notifier.has_reloaded();
        }
    }

    /// Opens a new socket for clients: the old one's folder may have been removed.
    fn listen_anew(&mut self) {
        match protocol::listen(&self.store, &self.record.id) {
            Ok((socket, path)) => {
                self.listener = Some(socket);
                self.state.socket = Some(path);
                let _ = record::write(&self.folder, STATE, &self.state);
            }
            Err(error) => self.log.say(&error.to_string()),
        }
    }

    /// Receives one byte for each dead server of the container's files. A keeper that has closed its end sends no more.
    fn hear_keeper(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(keeper, &mut [0; 1][..], flags) {
            Ok((_, 1..)) => {
                self.has_trouble(engine::SERVER_DIED);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The socket stays open: closing it would end the container.
            _ => self.is_kept = false,
        }
    }

    /// Checks the record after a removal in the folder. Without a record no command could find the container, not even
    /// to stop it. The monitor then asks the command to end, and does not restart it.
    fn look_after_record(&mut self) {
        let there = self.folder.join(CONTAINER).symlink_metadata();
        let is_gone = there.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if is_gone && self.deadline.is_none() {
            self.ask_to_end();
        }
    }

    /// True if no restart follows: a command has stopped the container, or a signal ends the monitor.
    fn is_stopped(&self) -> bool {
        self.is_to_end || self.folder.join(STOPPED).exists()
    }

    /// Asks the command to end, and kills one that takes too long.
    fn ask_to_end(&mut self) {
        self.notifier.iter().for_each(Notifier::is_stopping);
        self.signal(self.record.stop_signal);
        let time = Duration::from_secs(self.record.stop_timeout);
        // No deadline is beyond what the clock can count: the wait is for ever.
        self.deadline = self.deadline.or_else(|| Instant::now().checked_add(time));
    }

    fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // An unreaped child: the PID is still its own.
            let _ = process::signal_child(self.state.process.pid, signal);
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, how))) = process::reap_any() {
            if pid == self.state.process.pid {
                self.ended = Some(how);
                self.health.stop();
            } else if self.health.is(pid) {
                self.has_checked();
            }
        }
    }

    /// Sets the time of the next health check, if the container has any.
    fn await_check(&mut self, report: &HealthReport) {
        self.health.next(&self.record, report, self.state.process.age());
    }

    fn check_health(&mut self) {
        match start_check(&self.folder) {
            Ok(pid) => self.health.begun(pid),
            Err(error) => {
                self.log.say(&error.to_string());
                self.await_check(&unknown_health());
            }
        }
    }

    /// Reads the result of a health check that has ended, and acts on it.
    fn has_checked(&mut self) {
        let report = match HealthReport::of(&self.folder, &self.state) {
            Ok(report) => report,
            Err(error) => {
                self.log.say(&error.to_string());
                unknown_health()
            }
        };
        let health = report.health;
        if self.was.replace(health).unwrap_or(Health::Starting) != health {
            self.log.say(&format!("health: {}", health.word()));
        }
        if health == Health::Healthy {
            self.notifier.iter_mut().for_each(Notifier::is_healthy);
        }
        self.await_check(&report);
        if self.deadline.is_some() {
            return;
        }
        if report.startup == StartupState::Failed {
            self.log.say("the startup check has failed: the container is restarted");
            self.is_to_restart = true;
            self.ask_to_end();
            return;
        }
        if health != Health::Unhealthy {
            return;
        }
        match self.record.health_on_failure {
            OnFailure::None => {}
            OnFailure::Kill => self.signal(libc::SIGKILL),
            OnFailure::Stop => {
                let _ = std::fs::write(self.folder.join(STOPPED), "");
                self.ask_to_end();
            }
            OnFailure::Restart => {
                self.is_to_restart = true;
                self.ask_to_end();
            }
        }
    }
}

/// Report in place of one that cannot be read: the regular check goes on, and nothing happens to the container.
fn unknown_health() -> HealthReport {
    let (health, startup) = (Health::Healthy, StartupState::Over);
    HealthReport { health, startup, ..HealthReport::default() }
}

/// Time at which the command has run too long; `None`: it may run for ever.
fn end_of_time(record: &Record) -> Option<Instant> {
    let time = Some(Duration::from_secs(record.timeout)).filter(|time| !time.is_zero());
    time.and_then(|time| Instant::now().checked_add(time))
}

/// Calls poll(2) for at most `limit`; returns the number of ready descriptors.
fn wait(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    let limit = limit.map(|limit| Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    });
    match poll(fds, limit.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        answer => answer.context(|| "cannot wait"),
    }
}
