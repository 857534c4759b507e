//! `usnea wait`: waits until a container has ended, or is in another requested state.

use std::str::FromStr;
use std::time::Duration;

use super::Container;
use super::stop::ended_within;
use crate::error::{Error, Result};
use crate::fail;
use crate::hint;
use crate::monitor::log::LogChanges;
use crate::monitor::protocol::{self, MonitorMessage, Request};
use crate::monitor::record::State;
use crate::monitor::{Status, health::Health};

/// State to wait for, in the words of podman and of docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// Created, and never started.
    Created,
    /// Running, and not paused.
    Running,
    /// Paused: its processes are stopped.
    Paused,
    /// Ended, with or without a restart to come.
    Ended,
    /// Healthy, according to its health checks.
    Healthy,
    /// Unhealthy: too many consecutive health checks have failed.
    Unhealthy,
    /// Removed.
    Removed,
}

impl FromStr for WaitCondition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "created" | "configured" | "initialized" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "exited" | "stopped" | "not-running" => Self::Ended,
            "healthy" => Self::Healthy,
            "unhealthy" => Self::Unhealthy,
            "removing" | "removed" => Self::Removed,
            _ => {
                return Err(
                    "created, running, paused, exited, stopped, healthy, unhealthy or removed"
                        .into(),
                );
            }
        })
    }
}

/// Waits until the container has ended; returns its exit status. Asks the monitor, since a container with `--rm` leaves
/// no record; without an answer, reads the record.
pub fn wait(container: &Container) -> Result<u8> {
    let status = container.status_here()?;
    match &status {
        // docker's rule: the exit status of a container that never ran is 0.
        Status::Created => return Ok(0),
        Status::Exited(exit) | Status::Restarting(_, exit) => return Ok(exit.status),
        Status::Running(state) | Status::Paused(state) => {
            if let Some(status) = asked(state) {
                return Ok(status);
            }
            if let Some(process) = state.process.open() {
                ended_within(&process, None)?;
            }
        }
    }
    let gone = |_| Error::not_found(format!("container {} was removed", container.record.name));
    match container.status().map_err(gone)? {
        Status::Exited(exit) | Status::Restarting(_, exit) => Ok(exit.status),
        _ => Err(Error::conflict(format!("container {} was started again", container.record.name))),
    }
}

/// Waits until any of `conditions` holds. Returns the exit status of an ended container, and -1 in any other state, as
/// podman does. Changes that do not show in a file of the container (a pause) are polled for every `interval`. Errors:
/// the container is removed, and `Removed` is not among `conditions`; it has no health check, and all conditions need
/// one.
pub fn wait_for(
    container: &Container,
    conditions: &[WaitCondition],
    interval: Duration,
) -> Result<i32> {
    let is_about_health =
        |one: &WaitCondition| matches!(one, WaitCondition::Healthy | WaitCondition::Unhealthy);
    let has_check = container.record.health.as_ref().is_some_and(|check| check.is_on());
    if !has_check && conditions.iter().all(is_about_health) {
        return Err(Error::conflict(format!(
            "container {} has no health check",
            container.record.name
        ))
        .hint(hint::NEW_HEALTH_COMMAND));
    }
    let is_removed = || !container.folder.exists();
    loop {
        // The watch begins before the state is read, so that no change is missed in between.
        let changes = LogChanges::of(&container.folder);
        let status = container.status();
        if is_removed() {
            if conditions.contains(&WaitCondition::Removed) {
                return Ok(-1);
            }
            fail!(NotFound: "container {} was removed", container.record.name);
        }
        let status = status?;
        // The monitor reports the exit status of a container with `--rm`, too.
        if status.is_running() && conditions == [WaitCondition::Ended] {
            return wait(container).map(i32::from);
        }
        if conditions.iter().any(|condition| condition.holds(container, &status)) {
            return Ok(match (&status, status.exit()) {
                (Status::Running(_) | Status::Paused(_), _) | (_, None) => -1,
                (_, Some(exit)) => exit.status.into(),
            });
        }
        match changes {
            Ok(changes) => changes.wait(None, Some(interval))?,
            Err(_) => std::thread::sleep(interval),
        }
    }
}

impl WaitCondition {
    fn holds(self, container: &Container, status: &Status) -> bool {
        let health = || super::health(container, status).map(|report| report.health);
        match self {
            Self::Created => matches!(status, Status::Created),
            Self::Running => matches!(status, Status::Running(_)),
            Self::Paused => matches!(status, Status::Paused(_)),
            Self::Ended => !status.is_running() && !matches!(status, Status::Created),
            Self::Healthy => health() == Some(Health::Healthy),
            Self::Unhealthy => health() == Some(Health::Unhealthy),
            Self::Removed => false,
        }
    }
}

fn asked(state: &State) -> Option<u8> {
    let socket = protocol::connect(state.socket.as_ref()?).ok()?;
    protocol::send(&socket, &Request::Wait.bytes()).ok()?;
    let mut room = [0; 64];
    loop {
        let (length, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&socket, &mut room[..], rustix::net::RecvFlags::empty())
        })
        .ok()?;
        match MonitorMessage::parse(&room[..length])? {
            MonitorMessage::Ended(status) => return Some(status),
            _ => continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_podmans_and_dockers() {
        for (text, condition) in [
            ("running", WaitCondition::Running),
            ("exited", WaitCondition::Ended),
            ("stopped", WaitCondition::Ended),
            ("not-running", WaitCondition::Ended),
            ("healthy", WaitCondition::Healthy),
            ("removed", WaitCondition::Removed),
        ] {
            assert_eq!(text.parse(), Ok(condition));
        }
        assert!("well".parse::<WaitCondition>().is_err());
    }
}
