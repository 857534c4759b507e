//! Verbs that apply to all members of a pod: start, stop, restart, kill, pause. The failure of one member does not end
//! the work on the others.

use super::known::Pod;
use crate::container::start::start_beside;
use crate::container::{self, Container, Stopping, Usnea};
use crate::error::{Context, Error, Result};
use crate::monitor::Status;

/// Outcome of a verb: the failures, one for each member that failed.
#[derive(Debug, Default)]
pub struct PodOutcome {
    /// Failures, with the names of the members.
    pub failures: Vec<Error>,
}

impl PodOutcome {
    fn add(&mut self, member: &Container, result: Result<()>) {
        let result = result.context(|| format!("container {}", member.record.name));
        self.failures.extend(result.err());
    }

    fn end(self, pod: &Pod, action: &str) -> Self {
        if self.failures.is_empty() {
            pod.log_event(action);
        }
        self
    }
}

/// Starts the members that do not run.
pub fn start(usnea: &Usnea, pod: &Pod) -> Result<PodOutcome> {
    Ok(start_all(usnea, &pod.members()?)?.end(pod, "start"))
}

fn start_all(usnea: &Usnea, members: &[Container]) -> Result<PodOutcome> {
    let mut outcome = PodOutcome::default();
    for member in members {
        match member.status()? {
            Status::Created | Status::Exited(_) => {
                outcome.add(member, start_beside(usnea, member).map(drop));
            }
            Status::Running(_) | Status::Paused(_) | Status::Restarting(..) => {}
        }
    }
    Ok(outcome)
}

/// Stops the running members, all at the same time. `time`: seconds until the kill; `None`: the stop timeout of each
/// member.
pub fn stop(pod: &Pod, time: Option<i64>) -> Result<PodOutcome> {
    Ok(stop_all(&pod.members()?, time).end(pod, "stop"))
}

fn stop_all(members: &[Container], time: Option<i64>) -> PodOutcome {
    let mut outcome = PodOutcome::default();
    let begun: Vec<_> =
        members.iter().map(|member| (member, Stopping::begin(member, None, time))).collect();
    for (member, stopping) in begun {
        let stopped = stopping.and_then(|stopping| match stopping {
            Some(stopping) => stopping.finish(member),
            None => Ok(()),
        });
        outcome.add(member, stopped);
    }
    outcome
}

/// Stops the members, and starts all of them again.
pub fn restart(usnea: &Usnea, pod: &Pod, time: Option<i64>) -> Result<PodOutcome> {
    let members = pod.members()?;
    let mut outcome = stop_all(&members, time);
    if outcome.failures.is_empty() {
        outcome = start_all(usnea, &members)?;
    }
    Ok(outcome.end(pod, "restart"))
}

/// Sends a signal to the running members.
pub fn kill(pod: &Pod, signal: i32) -> Result<PodOutcome> {
    each(pod, Status::is_running, |member| container::kill(member, signal))
        .map(|outcome| outcome.end(pod, "kill"))
}

/// Freezes the running members.
pub fn pause(pod: &Pod) -> Result<PodOutcome> {
    let runs = |status: &Status| matches!(status, Status::Running(_));
    Ok(each(pod, runs, container::pause)?.end(pod, "pause"))
}

/// Thaws the paused members.
pub fn unpause(pod: &Pod) -> Result<PodOutcome> {
    let is_paused = |status: &Status| matches!(status, Status::Paused(_));
    Ok(each(pod, is_paused, container::unpause)?.end(pod, "unpause"))
}

fn each(
    pod: &Pod,
    fits: impl Fn(&Status) -> bool,
    work: impl Fn(&Container) -> Result<()>,
) -> Result<PodOutcome> {
    let mut outcome = PodOutcome::default();
    for member in pod.members()? {
        if fits(&member.status()?) {
            outcome.add(&member, work(&member));
        }
    }
    Ok(outcome)
}
