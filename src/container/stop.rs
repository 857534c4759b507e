//! `usnea stop` and `usnea kill`: send signals to the container's first process, by a pidfd, since a PID may be reused.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Container;
use crate::cgroup::{self, FreezerState};
use crate::error::{Context, Error, Result};
use crate::monitor::record::{self, EXIT, Exit, STOPPED, State};
use crate::monitor::{Status, events};
use crate::readiness::NOTIFY_SOCKET;
use crate::sys::process;

/// Time limit for the monitor's work after the container's end.
const SETTLING: Duration = Duration::from_secs(10);

/// Container that has received its stop signal, and the time at which it is killed.
#[derive(Debug)]
pub struct Stopping {
    state: State,
    /// First process of the container; `None`: no process to wait for.
    process: Option<OwnedFd>,
    /// Time of the kill; `None`: never.
    deadline: Option<Instant>,
}

/// Sends the stop signal, and kills the container after `time` (seconds; negative: never; `None`: the container's own
/// timeout). Returns false if the container did not run.
pub fn stop(container: &Container, time: Option<i64>) -> Result<bool> {
    match Stopping::begin(container, None, time)? {
        Some(stopping) => stopping.finish(container).map(|()| true),
        None => Ok(false),
    }
}

impl Stopping {
    /// Sends `signal` (`None`: the container's stop signal). The container has `time` to end (seconds; negative: no
    /// limit; `None`: its own timeout). Returns `None` if the container does not run. A caller signals several
    /// containers before it waits for the first, so that their timeouts run at the same time.
    pub fn begin(
        container: &Container,
        signal: Option<i32>,
        time: Option<i64>,
    ) -> Result<Option<Self>> {
        let status = container.status_here()?;
        let Some(state) = status.state() else { return Ok(None) };
        forbid_restart(container)?;
        if let Status::Restarting(..) = status {
            end_monitor(state);
            return Ok(Some(Self { state: state.clone(), process: None, deadline: None }));
        }
        let process = state.process.open();
        if let Some(process) = &process {
            let signal = signal.unwrap_or(container.record.stop_signal);
            log_kill(container, signal);
            let _ = process::pidfd_signal(process.as_fd(), signal);
        }
        if let (Status::Paused(_), Some(folder)) = (&status, &state.cgroup) {
            let _ = cgroup::freeze(folder, FreezerState::Running); // a frozen process gets no signal
        }
        let time = match time {
            Some(time) => u64::try_from(time).ok(),
            None => Some(container.record.stop_timeout),
        };
        let deadline = time.and_then(|time| Instant::now().checked_add(Duration::from_secs(time)));
        Ok(Some(Self { state: state.clone(), process, deadline }))
    }

    /// Waits for the end of the container, and kills it at its deadline.
    pub fn finish(self, container: &Container) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if !ended_within(process, left)? {
            log_kill(container, libc::SIGKILL);
            let _ = process::pidfd_signal(process.as_fd(), libc::SIGKILL);
            ended_within(process, Some(SETTLING))?;
        }
        wait_for_record(container, &self.state);
        wait_for_main_process(&self.state);
        events::of_container(&container.store, &container.record, "stop", &[]);
        Ok(())
    }
}

fn log_kill(container: &Container, signal: i32) {
    events::of_container(
        &container.store,
        &container.record,
        "kill",
        &[("signal", signal.to_string())],
    );
}

/// Sends the container a signal. Errors: the container does not run.
pub fn kill(container: &Container, signal: i32) -> Result<()> {
    let status = container.status_here()?;
    let not_running = || {
        Error::not_running(format!(
            "container {} is not running: it is {}",
            container.record.name,
            status.word()
        ))
    };
    let Some(state) = status.state() else { return Err(not_running()) };
    // docker's rule: the restart policy does not apply to a container that the user kills.
    if [libc::SIGKILL, container.record.stop_signal].contains(&signal) {
        forbid_restart(container)?;
    }
    let Some(process) = state.process.open() else { return Err(not_running()) };
    log_kill(container, signal);
    let sent = process::pidfd_signal(process.as_fd(), signal);
    sent.context(|| format!("cannot signal container {}", container.record.name))?;
    if signal == libc::SIGKILL && ended_within(&process, Some(SETTLING))? {
        wait_for_record(container, state);
    }
    Ok(())
}

/// Records that the container must not be restarted, for its monitor.
fn forbid_restart(container: &Container) -> Result<()> {
    let path = container.folder.join(STOPPED);
    // With a full disk the container is stopped anyway; its policy may restart it then.
    if let Err(error) = std::fs::write(&path, "") {
        log::warn!("{}", crate::files::cannot_write(error, &path));
    }
    Ok(())
}

/// Ends a monitor that waits for a restart.
pub(super) fn end_monitor(state: &State) {
    if let Some(monitor) = state.monitor.open() {
        let _ = process::pidfd_signal(monitor.as_fd(), libc::SIGTERM);
        let _ = ended_within(&monitor, Some(SETTLING));
    }
}

/// Waits until the monitor has recorded the container's end.
fn wait_for_record(container: &Container, state: &State) {
    let deadline = Instant::now() + SETTLING;
    let is_written = || match record::read::<Exit>(&container.folder, EXIT) {
        Ok(exit) => exit.is_some_and(|exit| exit.run >= state.run),
        Err(_) => true,
    };
    while Instant::now() < deadline && !is_written() && state.monitor.lives() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for the end of the monitor, if this is a command of a service (ExecStop=): the monitor may be the main process.
/// systemd sends it SIGTERM when the command has ended. It kills a lone one at once, since it does not wait for a main
/// process that was not its child when the process was named by MAINPID=.
fn wait_for_main_process(state: &State) {
    if std::env::var_os(NOTIFY_SOCKET).is_some()
        && let Some(monitor) = state.monitor.open()
    {
        let _ = ended_within(&monitor, Some(SETTLING));
    }
}

/// Waits for the end of a process. Returns false if it still runs after `limit`; `None`: no limit.
pub(super) fn ended_within(process: &OwnedFd, limit: Option<Duration>) -> Result<bool> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return Ok(answer.context(|| "cannot wait for the container")? > 0),
        }
    }
}
