//! Health check: runs a command in the container, and records its output and status.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Container, find_in};
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::monitor::health::{Check, HEALTH, HealthReport, RunProgress};
use crate::monitor::record::{self, Healthcheck};
use crate::monitor::{Status, events, record::State};
use crate::sys::fd;

/// Returns the health of a running container. `None`: no health check, or not running.
pub fn health(container: &Container, status: &Status) -> Option<HealthReport> {
    let state = status.state().filter(|_| status.is_running())?;
    container.record.health.as_ref().filter(|check| check.is_on())?;
    HealthReport::of(&container.folder, state).ok()
}

/// Result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The command exited with 0.
    Passed,
    /// The command exited with another status, or timed out.
    Failed,
}

/// Runs the check now; returns the result of this check alone. Errors: the container has no health check, or does not
/// run.
pub fn check_health(container: &Container) -> Result<CheckOutcome> {
    let name = &container.record.name;
    let Some(settings) = container.record.health.as_ref().filter(|check| check.is_on()) else {
        return Err(Error::conflict(format!("container {name} has no check of health"))
            .hint(hint::NEW_HEALTH_COMMAND));
    };
    let Status::Running(state) = container.status_here()? else {
        return Err(Error::not_running(format!("container {name} is not running")));
    };
    let age = state.process.age();
    let report = HealthReport::of(&container.folder, &state)?;
    let command = match report.startup_check(&container.record) {
        Some(startup) => CheckCommand { test: &startup.test, timeout: startup.timeout() },
        None => CheckCommand { test: &settings.test, timeout: settings.timeout() },
    };
    let check = check(container, &command)?;
    let passed = if check.exit_code == 0 { CheckOutcome::Passed } else { CheckOutcome::Failed };
    note(container, settings, &RunAge { state: &state, age }, check)?;
    Ok(passed)
}

/// Runs the health check of the container in this folder. Called in a child of its monitor.
pub fn check_of_monitor(folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let gone = || Error::not_found("the container is gone");
    let store = folder.parent().and_then(Path::parent).ok_or_else(gone)?;
    let id = folder.file_name().and_then(|name| name.to_str()).ok_or_else(gone)?;
    let container = find_in(store, id)?;
    // A paused container is not unhealthy, and no command can run in it.
    if matches!(container.status()?, Status::Paused(_)) {
        return Ok(());
    }
    check_health(&container).map(|_| ())
}

/// Command of a check.
struct CheckCommand<'a> {
    test: &'a [String],
    timeout: Duration,
}

/// State of a running container, and the time since its start.
struct RunAge<'a> {
    state: &'a State,
    age: Duration,
}

fn note(
    container: &Container,
    settings: &Healthcheck,
    run: &RunAge<'_>,
    check: Check,
) -> Result<()> {
    let mut report = HealthReport::of(&container.folder, run.state)?;
    let before = report.health;
    let log = &container.record.health_log;
    match report.startup_check(&container.record) {
        Some(startup) => report.note_startup(check, startup, log),
        None => report.note(check, settings, RunProgress { age: run.age, log }),
    }
    record::write(&container.folder, HEALTH, &report)?;
    if let Some(folder) = &log.folder {
        let name = format!("{}-healthcheck.log", container.record.id);
        record::write(folder, &name, &report)?;
    }
    if report.health != before {
        let action = format!("health_status: {}", report.health.word());
        events::of_container(&container.store, &container.record, &action, &[]);
    }
    Ok(())
}

/// Runs the check, as `usnea exec` does. Executes this program again in a child: entering the container's namespaces
/// changes a process for good, and the caller must stay as it is.
fn check(container: &Container, command: &CheckCommand<'_>) -> Result<Check> {
    let timeout = command.timeout;
    let start = Timestamp::now();
    let (near, far) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .context(|| "cannot make a pipe")?;
    let words = match command.test.split_first() {
        Some((kind, words)) if kind == "CMD" => words.to_vec(),
        Some((_, words)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), words.join(" ")],
        None => Vec::new(),
    };
    let mut child = Command::new("/proc/self/exe")
        .arg("--root")
        .arg(&container.store)
        .args(["exec", "--check", &container.record.id])
        .args(words)
        .stdin(Stdio::null())
        .stdout(far.try_clone().context(|| "cannot copy a pipe")?)
        .stderr(far)
        .spawn()
        .context(|| "cannot run our own program")?;
    fd::set_nonblocking(&near).context(|| "cannot read a pipe")?;
    let mut output =
        CheckOutput { bytes: Vec::new(), most: container.record.health_log.output_limit() };
    let ended = wait_with_output(&mut child, near.into(), &mut output, timeout)?;
    let mut output = String::from_utf8_lossy(&output.bytes).into_owned();
    let exit_code = match ended {
        Some(status) => status.code().unwrap_or(128),
        None => {
            output.push_str(&format!("Health check exceeded timeout ({timeout:?})"));
            -1
        }
    };
    Ok(Check { start, end: Timestamp::now(), exit_code, output })
}

/// Beginning of a check's output.
struct CheckOutput {
    bytes: Vec<u8>,
    most: usize,
}

/// Collects the output until the command has ended; `None`: the command timed out and was killed.
fn wait_with_output(
    child: &mut Child,
    mut output: std::fs::File,
    kept: &mut CheckOutput,
    timeout: Duration,
) -> Result<Option<std::process::ExitStatus>> {
    let pidfd = crate::sys::process::open_pidfd(child.id() as i32);
    let pidfd = pidfd.context(|| "cannot watch the check")?;
    let deadline = Instant::now() + timeout;
    let mut is_open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        if is_open {
            fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
        }
        let woken = poll(&mut fds, Some(&limit));
        let has_ended = woken.is_ok() && !fds[0].revents().is_empty();
        let mut room = [0; 4096];
        while is_open {
            match output.read(&mut room) {
                Ok(0) => is_open = false,
                Ok(length) => {
                    let free = kept.most - kept.bytes.len();
                    kept.bytes.extend(&room[..length.min(free)]);
                }
                Err(_) => break,
            }
        }
        if has_ended {
            return child.wait().map(Some).context(|| "cannot wait for the check");
        }
        if Instant::now() >= deadline {
            // The command in the container dies with that child.
            let _ = child.kill();
            child.wait().context(|| "cannot wait for the check")?;
            return Ok(None);
        }
    }
}
