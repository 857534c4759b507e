//! Running helper of a container, watched by its parent: the monitor, or the parent of a container in the foreground. A
//! helper that dies is started again in the same namespaces. A helper that cannot follow a change of the host's network
//! is replaced, and one that is stopped is continued. A helper that runs without answering is ended and started again
//! (see `answer_watch`). Nothing here waits: the parent's loop polls the descriptors and calls [`HelperWatch::turn`].
//!
//! ```text
//!          died, or does not answer: after a delay          ready
//! Running ---------------------------------> Waiting --> Starting --> Running
//!    \----- host's network changed -------------------------^
//! ```

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Network;
use super::answer_watch::AnswerWatch;
use super::host_network::{HostChanges, HostNetwork};
use super::host_ports::{HostPorts, PortClaim};
use super::membership::Membership;
use super::namespace;
use super::program::{
    Helper, HelperNamespaces, HelperPlan, HelperStart, NamespacesHandover, PATIENCE,
};
use crate::error::{Error, Result};
use crate::host::network_helper::NetworkHelper;
use crate::sys::process::{self, Child};

/// Number of further starts of helpers that could not listen at a port which is free.
const RESTARTS_FOR_PORTS: u32 = 5;

/// Delay before a dead helper is started again; doubled with each death in a row.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Age at which a helper is sound: its death is the first of a new row.
const SOUND: Duration = Duration::from_secs(60);

/// Helper that is getting ready for a container that is being launched.
#[derive(Debug)]
pub struct Starting {
    plan: HelperPlan,
    start: HelperStart,
    ports: HostPorts,
    /// Lock on the ports until a helper listens there.
    _claim: Option<PortClaim>,
}

/// Helper of a running container.
#[derive(Debug)]
pub struct HelperWatch {
    plan: HelperPlan,
    phase: Phase,
    /// The host's network at the helper's start.
    host: HostNetwork,
    /// Notifications for pasta, which does not follow every change. Opened by [`HelperWatch::begin`].
    changes: Option<HostChanges>,
    delay: Duration,
    reported: Reported,
    /// Reason of the running start.
    reason: Reason,
}

/// Start that failed, and the watch that starts the helpers again.
#[derive(Debug)]
pub struct FailedStart {
    /// Reasons of all helpers.
    pub error: Error,
    /// Watch that tries again, as after a death.
    pub retry: HelperWatch,
}

/// Reports about the current row of deaths.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reported {
    death: bool,
    failure: bool,
    restart: bool,
}

/// Reason for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reason {
    /// The container has had no uplink.
    Beginning,
    Death,
    /// The helper did not answer.
    Silence,
    Host,
}

#[derive(Debug)]
enum Phase {
    Running { child: Child, since: Instant, answers: AnswerWatch },
    Waiting { until: Instant },
    Starting(Box<HelperStart>),
}

/// Change of a helper.
#[derive(Debug)]
pub struct HelperNews {
    /// The change.
    pub change: HelperChange,
    /// Text for the log. `None`: the log has the like already.
    pub report: Option<String>,
    /// Program of the helper.
    pub program: NetworkHelper,
}

/// Kinds of changes of a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperChange {
    /// A container that was without an uplink has one.
    Begun,
    /// The helper has died, or could not be started: the container has no uplink.
    Down,
    /// The helper was started again after its death.
    Restarted,
    /// The helper was started again because it did not answer.
    Revived,
    /// The helper was started again for the host's new network.
    Replaced,
    /// The helper was stopped by a signal, and was continued.
    Continued,
}

/// Helper on its way through an exec of this program.
#[derive(Debug, Serialize, Deserialize)]
pub struct HelperHandover {
    /// PID; null: to be started.
    pid: Option<i32>,
    helpers: Vec<Helper>,
    namespaces: NamespacesHandover,
    host: HostNetwork,
    reported: Reported,
    reason: Reason,
}

impl Network {
    /// Starts the first of the helpers, for the network namespace of the process `pid`; the process `base` is in the base
    /// user namespace. `None`: no helper is needed.
    pub fn start(&self, base: i32, pid: i32) -> Result<Option<Starting>> {
        if self.helpers.is_empty() {
            return Ok(None);
        }
        let namespaces = HelperNamespaces::of(base, pid)?;
        let plan = HelperPlan { namespaces, helpers: self.helpers.clone() };
        let claim = self.ports.claim()?;
        let start = HelperStart::begin(&plan)?;
        Ok(Some(Starting { plan, start, ports: self.ports.clone(), _claim: claim }))
    }
}

impl Starting {
    /// Waits until a helper is ready, or until it is certain that none can be before the host has a network. Errors: all
    /// helpers failed.
    pub fn wait(mut self) -> Result<HelperWatch, Box<FailedStart>> {
        let mut restarts = RESTARTS_FOR_PORTS;
        let patience = self.start.deadline();
        loop {
            let error = match self.start.advance(&self.plan, PATIENCE) {
                Ok(None) => continue,
                Ok(Some(child)) => match self.ports.check_served() {
                    Ok(()) => return Ok(HelperWatch::of(self.plan, self.start, child)),
                    Err(error) => {
                        let _ = child.signal(libc::SIGKILL);
                        let _ = child.wait();
                        error
                    }
                },
                Err(error) if self.plan.awaits_host(&error, &self.start.host) => {
                    log::debug!("{error}");
                    return Ok(HelperWatch::waiting(self.plan, self.start.host.clone()));
                }
                Err(error) => error,
            };
            // A program that has just begun to listen there: no helper could.
            let error = match self.ports.check() {
                Err(error) => error,
                Ok(())
                    if restarts > 0
                        && Instant::now() < patience
                        && !self.ports.forwards.is_empty() =>
                {
                    // A program had a port for a moment only, such as another user's launch that checked it.
                    log::debug!("{error}; the ports are free: once more");
                    restarts -= 1;
                    match HelperStart::begin(&self.plan) {
                        Ok(start) => {
                            self.start = start;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Ok(()) => error,
            };
            let host = self.start.host.clone();
            drop(self.start);
            let retry = HelperWatch::after_failure(self.plan, host);
            return Err(Box::new(FailedStart { error, retry }));
        }
    }
}

impl HelperWatch {
    /// Watches the helper that `start` has made ready.
    pub(super) fn of(plan: HelperPlan, start: HelperStart, child: Child) -> Self {
        let mut watch = Self::new(plan, start.host.clone(), Phase::running(child));
        watch.prefer(start.candidate());
        watch
    }

    fn new(plan: HelperPlan, host: HostNetwork, phase: Phase) -> Self {
        Self {
            plan,
            phase,
            host,
            changes: None,
            delay: FIRST_DELAY,
            reported: Reported::default(),
            reason: Reason::Death,
        }
    }

    /// Watches for a moment at which one of the helpers can start.
    pub(super) fn waiting(plan: HelperPlan, host: HostNetwork) -> Self {
        Self::new(plan, host, Phase::Waiting { until: Instant::now() })
    }

    /// Starts one of these helpers for a running container without an uplink, whose process is `pid`, at the next
    /// [`HelperWatch::turn`]. Errors: no helper can enter the container's network.
    pub(super) fn beginning(helpers: Vec<Helper>, pid: i32) -> Result<Self> {
        let plan = HelperPlan { namespaces: HelperNamespaces::of_running(pid)?, helpers };
        let watch = Self::waiting(plan, HostNetwork::read());
        Ok(Self { reason: Reason::Beginning, ..watch })
    }

    /// Starts the helpers again that have failed, and were reported.
    fn after_failure(plan: HelperPlan, host: HostNetwork) -> Self {
        let phase = Phase::Waiting { until: Instant::now() + FIRST_DELAY };
        let reported = Reported { failure: true, ..Reported::default() };
        Self { reported, reason: Reason::Beginning, ..Self::new(plan, host, phase) }
    }

    /// Starts one of these helpers for a network namespace that the process `pid` has joined, whose own helper has ended.
    /// The process `base` is in the base user namespace. Errors: one of these processes has ended.
    pub fn adopt(helpers: Vec<Helper>, base: i32, pid: i32) -> Result<Self> {
        let plan = HelperPlan { namespaces: HelperNamespaces::joined(base, pid)?, helpers };
        Ok(Self::waiting(plan, HostNetwork::read()))
    }

    /// Begins to listen to changes of the host's network, if the helper does not follow them itself.
    pub fn begin(&mut self) {
        if self.program() == NetworkHelper::Slirp4netns {
            self.changes = None;
        } else if self.changes.is_none() {
            match HostChanges::open() {
                Ok(mut changes) => {
                    if self.host.is_left_behind(&HostNetwork::read()) {
                        changes.look_soon();
                    }
                    self.changes = Some(changes);
                }
                Err(error) => log::debug!("cannot follow the host's network: {error}"),
            }
        }
    }

    /// Prepares an exec of this program, which the helper survives.
    pub fn hand_over(self) -> Result<HelperHandover> {
        let pid = match &self.phase {
            Phase::Running { child, .. } => Some(child.pid),
            Phase::Waiting { .. } | Phase::Starting(_) => None,
        };
        Ok(HelperHandover {
            pid,
            helpers: self.plan.helpers,
            namespaces: self.plan.namespaces.hand_over()?,
            host: self.host,
            reported: self.reported,
            reason: self.reason,
        })
    }

    /// Takes the helper over after the exec. Errors: a descriptor is missing.
    pub fn take_over(handover: HelperHandover) -> Result<Self> {
        let HelperHandover { pid, helpers, namespaces, host, reported, reason } = handover;
        let namespaces = HelperNamespaces::take_over(namespaces)?;
        // A child that is not reaped: its PID is still its own.
        let child = |pid| Ok::<_, Error>(Child { pid, pidfd: process::open_pidfd(pid)? });
        let phase = match pid.map(child).transpose()? {
            Some(child) => Phase::running(child),
            None => Phase::Waiting { until: Instant::now() },
        };
        let watch = Self::new(HelperPlan { namespaces, helpers }, host, phase);
        let mut watch = Self { reported, reason, ..watch };
        watch.begin();
        Ok(watch)
    }

    /// Stops watching, and returns the helper's process, which the caller ends. A helper that is not ready is ended here.
    pub fn into_child(self) -> Option<Child> {
        match self.phase {
            Phase::Running { child, .. } => Some(child),
            Phase::Waiting { .. } | Phase::Starting(_) => None,
        }
    }

    /// Program of the helper that runs, or is started next.
    pub fn program(&self) -> NetworkHelper {
        self.plan.helpers[0].program
    }

    /// Descriptors to poll for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (own, answers) = match &self.phase {
            Phase::Running { child, answers, .. } => {
                (Some(child.pidfd.as_fd()), answers.descriptor())
            }
            Phase::Starting(start) => (Some(start.readiness()), None),
            Phase::Waiting { .. } => (None, None),
        };
        let changes = self.changes.iter().flat_map(HostChanges::descriptors);
        own.into_iter().chain(answers).chain(changes)
    }

    /// Time of the next [`Self::turn`] without input.
    pub fn due(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Running { answers, .. } => answers.due(),
            Phase::Waiting { until } => Some(*until),
            Phase::Starting(start) => Some(start.deadline()),
        };
        own.into_iter().chain(self.changes.as_ref().and_then(HostChanges::due)).min()
    }

    /// Handles input, and what is due. Returns the change to report.
    pub fn turn(&mut self, membership: &Membership) -> Option<HelperNews> {
        self.follow_host();
        let now = Instant::now();
        let result = match &mut self.phase {
            Phase::Running { .. } => return self.look_after_running(now),
            Phase::Waiting { until } if now < *until => return None,
            Phase::Waiting { .. } => self.start().map(|()| None),
            Phase::Starting(start) => start.advance(&self.plan, Duration::ZERO),
        };
        match result {
            Ok(None) => None,
            Ok(Some(child)) => Some(self.rise(child, membership)),
            Err(error) => {
                let failed =
                    format!("cannot start network helper {}: {error}", self.program().name());
                let is_known = std::mem::replace(&mut self.reported.failure, true);
                Some(self.fall((!is_known).then_some(failed)))
            }
        }
    }

    /// Handles the end of a running helper, and the want of its answers.
    fn look_after_running(&mut self, now: Instant) -> Option<HelperNews> {
        let pid = self.plan.namespaces.pid();
        let interface = &self.plan.helpers[0].interface;
        let Phase::Running { child, since, answers } = &mut self.phase else { return None };
        let what = if child.has_ended() {
            "died"
        } else if answers.has_ceased(pid, interface) {
            self.reason = Reason::Silence;
            let _ = child.signal(libc::SIGKILL);
            "does not answer"
        } else {
            return None;
        };
        let _ = child.wait();
        if now.duration_since(*since) >= SOUND {
            (self.delay, self.reported) = (FIRST_DELAY, Reported::default());
        }
        let report = format!("network helper {} {what}; starting it again", self.program().name());
        let is_known = std::mem::replace(&mut self.reported.death, true);
        Some(self.fall((!is_known).then_some(report)))
    }

    /// Continues a helper that a signal has stopped (SIGCHLD reports it). Its connections go on, unlike those of one that
    /// is started again. Returns the change to report.
    pub fn continue_if_stopped(&self) -> Option<HelperNews> {
        let Phase::Running { child, .. } = &self.phase else { return None };
        if !child.was_stopped() {
            return None;
        }
        let _ = child.signal(libc::SIGCONT);
        let program = self.program();
        let report = format!("network helper {} was stopped; continuing it", program.name());
        Some(HelperNews { change: HelperChange::Continued, report: Some(report), program })
    }

    fn start(&mut self) -> Result<()> {
        self.plan.namespaces.check()?;
        self.phase = Phase::Starting(Box::new(HelperStart::begin(&self.plan)?));
        Ok(())
    }

    /// Replaces a helper that does not follow a change of the host's network.
    fn follow_host(&mut self) {
        let Some(changes) = &mut self.changes else { return };
        changes.hear();
        let Some(now) = changes.settled().filter(|now| self.host.is_left_behind(now)) else {
            return;
        };
        if let Phase::Running { child, .. } = &self.phase {
            self.reason = Reason::Host;
            let _ = child.signal(libc::SIGKILL);
            // The helper's interface and ports are free only after its end.
            let _ = child.wait();
        }
        self.host = now;
        self.phase = Phase::Waiting { until: Instant::now() };
    }

    fn fall(&mut self, report: Option<String>) -> HelperNews {
        self.phase = Phase::Waiting { until: Instant::now() + self.delay };
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        HelperNews { change: HelperChange::Down, report, program: self.program() }
    }

    fn rise(&mut self, child: Child, membership: &Membership) -> HelperNews {
        let running = Phase::running(child);
        if let Phase::Starting(start) = std::mem::replace(&mut self.phase, running) {
            self.host = start.host.clone();
            self.prefer(start.candidate());
        }
        self.begin();
        if let Err(error) = self.prefer_addresses(membership) {
            log::debug!("{error}");
        }
        let program = self.program();
        match std::mem::replace(&mut self.reason, Reason::Death) {
            Reason::Beginning => {
                let report = Some(format!("network helper {} started", program.name()));
                HelperNews { change: HelperChange::Begun, report, program }
            }
            reason @ (Reason::Death | Reason::Silence) => {
                let is_known = std::mem::replace(&mut self.reported.restart, true);
                let report = format!("network helper {} restarted", program.name());
                let report = (!is_known).then_some(report);
                let change = match reason {
                    Reason::Silence => HelperChange::Revived,
                    _ => HelperChange::Restarted,
                };
                HelperNews { change, report, program }
            }
            Reason::Host => {
                let report = "the host's network changed; network helper";
                let report = Some(format!("{report} {} restarted", program.name()));
                HelperNews { change: HelperChange::Replaced, report, program }
            }
        }
    }

    /// Gives the new default route the source address that the dead helper's had.
    fn prefer_addresses(&self, membership: &Membership) -> Result<()> {
        if membership.endpoints.is_empty() {
            return Ok(());
        }
        let pid = self.plan.namespaces.pid();
        membership.prefer_addresses(&namespace::netlink_of_process(pid)?)
    }

    /// Moves the helper that serves to the head of the plan.
    fn prefer(&mut self, candidate: usize) {
        self.plan.helpers[..=candidate].rotate_right(1);
    }
}

impl Phase {
    fn running(child: Child) -> Self {
        let answers = AnswerWatch::of_young_helper();
        Self::Running { child, since: Instant::now(), answers }
    }
}
