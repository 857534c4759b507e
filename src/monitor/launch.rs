//! Launch of a monitor. A process of its own launches the container, writes `state.json`, and reports to its caller
//! that the command runs (or why not). Then the process becomes the small watching program (see [`super::handover`]).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::pipe::{PipeFlags, pipe_with};

use super::events;
use super::handover::{Handover, MONITOR};
use super::pod::{PodHandover, PodUplink, UplinkFile};
use super::protocol;
use super::record::{self, EXIT, Exit, Input, LogDriver, Record, STATE, State};
use crate::cgroup::ContainerCgroup;
use crate::engine::{
    self, CallerStreams, CommandStreams, LaunchStreams, Launched, ListenSockets, Plan, ReportTarget,
};
use crate::error::{Context, Error, Result, Setting};
use crate::host::process_id::{self, ProcessId};
use crate::net::HelperWatch;
use crate::phrase;
use crate::readiness::Notifier;
use crate::sys::fd::AtExec;
use crate::sys::process::{self, Forked};
use crate::sys::signal::{self, Signals};
use crate::sys::{fd, title};

/// Signals that a monitor handles: requests to end, the end of a child, SIGUSR1 for a new socket, removals in the
/// container's folder.
pub const SIGNALS: [i32; 7] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGCHLD,
    libc::SIGUSR1,
    fd::REMOVAL,
];

/// Launch job: a container to start, with its locks and streams.
#[derive(Debug)]
pub struct Job {
    /// Root folder of the store.
    pub store: PathBuf,
    /// The container's folder.
    pub folder: PathBuf,
    /// Exclusive lock on the container's folder.
    pub lock: OwnedFd,
    /// Descriptors to keep open while the container runs: locks of its image.
    pub held: Vec<OwnedFd>,
    /// The container's record.
    pub record: Record,
    /// Launch plan for the engine.
    pub plan: Plan,
    /// Start of a member of a pod; `None`: the container is in none.
    pub pod: Option<PodJob>,
    /// Streams of the caller. `None`: the launch is a restart, which no caller waits for.
    pub streams: Option<CallerStreams<'static>>,
    /// Client attached from the start.
    pub client: Option<OwnedFd>,
    /// Listening socket and its path. `None`: the launch opens one.
    pub listener: Option<(OwnedFd, PathBuf)>,
    /// Number of restarts by the restart policy.
    pub restarts: u32,
    /// The last wait before a restart, in milliseconds.
    pub waited: u64,
}

/// Start of a member of a pod.
#[derive(Debug)]
pub struct PodJob {
    /// Lock on the starts of members, until the member runs.
    pub start: File,
    /// File that names the owner of the pod's uplink.
    pub file: UplinkFile,
    /// Plan of the uplink. `None`: the members do not share the network namespace.
    pub uplink: Option<PodUplink>,
    /// First process of the member whose namespaces are joined. `None`: this one makes them, and so owns the uplink.
    pub joined: Option<ProcessId>,
    /// Names of the member on named networks, its container's name first.
    pub names: Vec<String>,
}

impl PodJob {
    /// Records a member that runs, and lets the next one start.
    fn has_started(self, launched: &Launched) -> Result<Option<PodHandover>> {
        let Self { start, file, uplink, joined, names } = self;
        let handover = |uplink| {
            let pid = launched.command.pid;
            let process = ProcessId::of(pid).ok_or_else(|| Error::new("the command is gone"))?;
            let base = launched.base_pid();
            let pod = PodHandover { file, uplink, process, base, is_owner: joined.is_none() };
            pod.record(&launched.membership, names)?;
            Ok::<_, Error>(pod)
        };
        let handover = uplink.map(handover).transpose();
        // Processes of the container may have the file open as well: its closing alone would not unlock it.
        let _ = start.unlock();
        handover
    }
}

/// Forks a monitor, which launches the container; returns its pidfd once the command runs. The caller's standard streams stay the
/// caller's, except with a log driver that passes them through. Signals that the caller has `blocked` for itself are
/// not blocked for the container.
pub fn start(job: Job, blocked: Option<&Signals>) -> Result<OwnedFd> {
    let (near, far) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    match process::fork().context(|| "cannot make the monitor")? {
        Forked::Child => {
            drop(near);
            if let Some(blocked) = blocked {
                blocked.restore();
            }
            // A session of its own: the monitor survives the end of the terminal's session.
            let _ = rustix::process::setsid();
            let Err(error) = become_monitor(job, &far);
            tell(&far, &Err(error));
            process::exit_now(1)
        }
        Forked::Parent(monitor) => {
            drop(far);
            drop(job);
            let mut answer = Vec::new();
            let read = std::io::Read::read_to_end(&mut std::fs::File::from(near), &mut answer);
            read.context(|| "cannot hear the monitor")?;
            let answer: Result<()> = serde_json::from_slice(&answer)
                .unwrap_or_else(|_| Err(Error::new("the monitor ended before the command ran")));
            if answer.is_err() {
                let _ = monitor.wait();
            }
            answer.map(|()| monitor.pidfd)
        }
    }
}

/// Launches the container's next run in a process that is a monitor already.
pub fn start_again(job: Job) -> Result<std::convert::Infallible> {
    let null = null()?;
    become_monitor(job, &null)
}

fn become_monitor(mut job: Job, told: &OwnedFd) -> Result<std::convert::Infallible> {
    title::name_container(&job.record.name);
    // The monitor handles these signals even if its caller ignored them (nohup(1), background jobs of scripts).
    signal::set_default(&SIGNALS);
    let signals = Signals::block(&SIGNALS).context(|| "cannot block signals")?;
    // The monitor reaps the container's orphans.
    process::adopt_orphans().context(|| "cannot adopt orphans")?;
    let run = next_run(&job.folder)?;
    let listener = match job.listener.take() {
        Some(listener) => Some(listener),
        None => Some(protocol::listen(&job.store, &job.record.id)?),
    };
    let (pipes, command) = wire(&job)?;
    let streams = LaunchStreams { command, caller: job.streams };
    let mut notifier = Notifier::of(job.plan.options.notify.as_ref())?;
    let launched = engine::launch(&job.plan, streams, &signals)?;
    let socket = listener.as_ref().map(|(_, path)| path);
    let pod = match recorded(&mut job, &launched, run, socket) {
        Ok(pod) => pod,
        Err(error) => {
            abandon(launched);
            return Err(error);
        }
    };
    let sockets = sockets_for_restart(&mut job)?;
    drop(job.plan);
    notifier.iter_mut().for_each(Notifier::has_started);
    let networks = launched.membership.definitions();
    events::of_networks(&job.store, &job.record.id, "connect", networks);
    events::of_container(&job.store, &job.record, "start", &[]);
    let number = |fd: OwnedFd| fd::hand_over(fd).map_err(Error::from);
    let some = |fd: Option<OwnedFd>| fd.map(number).transpose();
    let [input, output, error] = pipes;
    let held = job.held.into_iter().map(number).collect::<Result<Vec<RawFd>>>()?;
    let handover = Handover {
        lock: number(job.lock)?,
        held,
        keeper: Some(number(launched.alive)?),
        helper: launched.helper.map(HelperWatch::hand_over).transpose()?,
        networks: launched.membership.hand_over()?,
        notifier: notifier.map(Notifier::hand_over).transpose()?,
        pod,
        sockets,
        listener: some(listener.map(|(socket, _)| socket))?,
        client: some(job.client)?,
        terminal: some(launched.terminal)?,
        pipes: [some(input)?, some(output)?, some(error)?],
        ends_all: launched.owns_pid_namespace,
        waited: job.waited,
        signals: launched.early_signals,
        store: job.store,
        folder: job.folder,
        status: 0,
    };
    leave_streams()?;
    tell(told, &Ok(()));
    handover.exec(MONITOR)
}

/// Ends a container that runs without a record.
fn abandon(launched: Launched) {
    let _ = launched.command.signal(libc::SIGKILL);
    engine::end_children();
    launched.cgroup.into_iter().for_each(ContainerCgroup::remove);
}

/// Number of the start that follows the last one of the container in `folder`.
fn next_run(folder: &Path) -> Result<u64> {
    let run = record::read_if_whole::<State>(folder, STATE)?.map_or(0, |state| state.run);
    let exit = record::read_if_whole::<Exit>(folder, EXIT)?.map_or(0, |exit| exit.run);
    Ok(run.max(exit) + 1)
}

/// Records a container that runs, also for its pod.
fn recorded(
    job: &mut Job,
    launched: &Launched,
    run: u64,
    socket: Option<&PathBuf>,
) -> Result<Option<PodHandover>> {
    write_state(&job.folder, &job.record, launched, run, job.restarts, socket)?;
    job.pod.take().map_or(Ok(None), |pod| pod.has_started(launched))
}

fn tell(to: &OwnedFd, answer: &Result<()>) {
    // A caller that has ended is no reason to stop.
    let bytes = serde_json::to_vec(answer).unwrap_or_default();
    let _ = rustix::io::write(to, &bytes);
}

/// Pipes to the command's streams. None with a terminal, or with the caller's own streams.
type Pipes = [Option<OwnedFd>; 3];

fn wire(job: &Job) -> Result<(Pipes, Option<CommandStreams>)> {
    let record = &job.record;
    if record.terminal {
        return Ok(([None, None, None], None));
    }
    if record.log.driver == LogDriver::Passthrough {
        if let Some(caller) = &job.streams {
            caller.open_to_all();
        }
        return Ok(([None, None, None], None));
    }
    let pipe = || engine::pipe_for_container().context(|| "cannot make a pipe");
    let (output, output_far) = pipe()?;
    let (error, error_far) = pipe()?;
    let (input_far, input) = match record.input {
        Input::Closed => (None, None),
        Input::Open | Input::Once => {
            let (far, near) = pipe()?;
            (Some(far), Some(near))
        }
    };
    let reports = ReportTarget::CommandStderr;
    let streams =
        CommandStreams { input: input_far, output: output_far, error: error_far, reports };
    Ok(([input, Some(output), Some(error)], Some(streams)))
}

fn write_state(
    folder: &Path,
    record: &Record,
    launched: &Launched,
    run: u64,
    restarts: u32,
    socket: Option<&PathBuf>,
) -> Result<()> {
    let state = state(launched, run, restarts, socket)?;
    record::write(folder, STATE, &state)?;
    record::keep_room_for_exit(folder)?;
    let numbers = [
        (Setting::Pidfile, &record.pidfile, launched.command.pid),
        (Setting::ConmonPidfile, &record.monitor_pidfile, state.monitor.pid),
    ];
    for (setting, path, number) in numbers {
        let Some(path) = path else { continue };
        std::fs::write(path, format!("{number}\n"))
            .context(|| phrase!(setting, format!(": cannot write {}", path.display())))?;
    }
    Ok(())
}

/// Builds the state of a container whose monitor is this process.
pub fn state(
    launched: &Launched,
    run: u64,
    restarts: u32,
    socket: Option<&PathBuf>,
) -> Result<State> {
    // A command that has ended already is not reaped yet, so its PID is still valid.
    let process =
        ProcessId::of(launched.command.pid).ok_or_else(|| Error::new("the command is gone"))?;
    Ok(State {
        run,
        process,
        monitor: ProcessId::ourselves()?,
        boot: process_id::boot_id()?,
        host: process_id::host_name(),
        pid_namespace: process_id::pid_namespace(),
        started: Timestamp::now(),
        restarts,
        restarting: false,
        socket: socket.cloned(),
        trouble: None,
        offline: launched.offline.as_ref().map(Error::to_string),
        cgroup: launched.cgroup.as_ref().map(|group| group.folder().to_owned()),
    })
}

/// Takes the sockets, and keeps them at the next exec, if the monitor may start the container again.
fn sockets_for_restart(job: &mut Job) -> Result<Option<ListenSockets>> {
    let sockets = job.plan.options.sockets.take().filter(|_| job.record.restarts_itself());
    keep_sockets(sockets.as_ref())?;
    Ok(sockets)
}

/// Keeps the sockets at the next exec; all others close there.
pub(super) fn keep_sockets(sockets: Option<&ListenSockets>) -> Result<()> {
    let kept = sockets.map_or(Ok(()), |sockets| sockets.at_exec(AtExec::Keep));
    kept.map_err(|(_, error)| error).context(|| "cannot keep the sockets")
}

fn null() -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .context(|| "/dev/null")
}

/// Replaces the standard streams by `/dev/null`: readers of the caller's output must see its end, not wait for the
/// monitor's.
fn leave_streams() -> Result<()> {
    let null = null()?;
    for number in 0..=2 {
        fd::install(null.as_fd(), number).context(|| "/dev/null")?;
    }
    rustix::process::chdir("/").context(|| "/")
}
