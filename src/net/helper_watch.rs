//! Running helper of a container, watched by its parent: the monitor, or the parent of a container in the foreground. A
//! helper that dies is started again in the same namespaces. A helper that cannot follow a change of the host's network
//! is replaced. Nothing here waits: the parent's loop polls the descriptors and calls [`HelperWatch::turn`].
//!
//! ```text
//!          died: after a delay                 ready
//! Running --------------------> Waiting --> Starting --> Running
//!    \----- host's network changed ------------^
//! ```

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::host_network::{HostChanges, HostNetwork};
use super::membership::Membership;
use super::netlink::NetlinkSocket;
use super::program::{Helper, HelperNamespaces, HelperPlan, HelperStart, NamespacesHandover};
use crate::error::{Error, Result};
use crate::host::network_helper::NetworkHelper;
use crate::sys::fd;
use crate::sys::process::{self, Child};

/// Delay before a dead helper is started again; doubled with each death in a row.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Age at which a helper is sound: its death is the first of a new row.
const SOUND: Duration = Duration::from_secs(60);

/// Helper of a running container.
#[derive(Debug)]
pub struct HelperWatch {
    plan: HelperPlan,
    phase: Phase,
    /// Netlink socket of the container's network namespace, if the container is on named networks.
    netlink: Option<NetlinkSocket>,
    /// The host's network at the helper's start.
    host: HostNetwork,
    /// Notifications for pasta, which does not follow every change. Opened by [`HelperWatch::begin`].
    changes: Option<HostChanges>,
    delay: Duration,
    reported: Reported,
    /// Reason of the running start.
    reason: Reason,
}

/// Reports about the current row of deaths.
#[derive(Debug, Default)]
struct Reported {
    death: bool,
    failure: bool,
    restart: bool,
}

/// Reason for a new start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Death,
    Host,
}

#[derive(Debug)]
enum Phase {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
    Starting(HelperStart),
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
    /// The helper has died, or could not be started: the container has no way out.
    Down,
    /// The helper was started again after its death.
    Restarted,
    /// The helper was started again for the host's new network.
    Replaced,
}

/// Helper on its way through an exec of this program.
#[derive(Debug, Serialize, Deserialize)]
pub struct HelperHandover {
    /// PID; null: to be started.
    pid: Option<i32>,
    helpers: Vec<Helper>,
    namespaces: NamespacesHandover,
    netlink: Option<RawFd>,
    host: HostNetwork,
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
            netlink: None,
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

    /// Keeps a socket of the container's network namespace: a new helper brings a new default route.
    pub fn keep_netlink(&mut self, netlink: NetlinkSocket) {
        self.netlink = Some(netlink);
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
        let number = |netlink: NetlinkSocket| fd::hand_over(netlink.into());
        Ok(HelperHandover {
            pid,
            helpers: self.plan.helpers,
            namespaces: self.plan.namespaces.hand_over()?,
            netlink: self.netlink.map(number).transpose()?,
            host: self.host,
        })
    }

    /// Takes the helper over after the exec. Errors: a descriptor is missing.
    pub fn take_over(handover: HelperHandover) -> Result<Self> {
        let HelperHandover { pid, helpers, namespaces, netlink, host } = handover;
        let namespaces = HelperNamespaces::take_over(namespaces)?;
        // A child that is not reaped: its PID is still its own.
        let child = |pid| Ok::<_, Error>(Child { pid, pidfd: process::open_pidfd(pid)? });
        let phase = match pid.map(child).transpose()? {
            Some(child) => Phase::running(child),
            None => Phase::Waiting { until: Instant::now() },
        };
        let mut watch = Self::new(HelperPlan { namespaces, helpers }, host, phase);
        watch.netlink = netlink.map(fd::take).transpose()?.map(NetlinkSocket::from);
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
        let own = match &self.phase {
            Phase::Running { child, .. } => Some(child.pidfd.as_fd()),
            Phase::Starting(start) => Some(start.readiness()),
            Phase::Waiting { .. } => None,
        };
        own.into_iter().chain(self.changes.iter().flat_map(HostChanges::descriptors))
    }

    /// Time of the next [`Self::turn`] without input.
    pub fn due(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Running { .. } => None,
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
            Phase::Running { child, since } => {
                if !child.has_ended() {
                    return None;
                }
                let _ = child.wait();
                if now.duration_since(*since) >= SOUND {
                    (self.delay, self.reported) = (FIRST_DELAY, Reported::default());
                }
                let died =
                    format!("network helper {} died; starting it again", self.program().name());
                let is_known = std::mem::replace(&mut self.reported.death, true);
                return Some(self.fall((!is_known).then_some(died)));
            }
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

    fn start(&mut self) -> Result<()> {
        self.plan.namespaces.check()?;
        self.phase = Phase::Starting(HelperStart::begin(&self.plan)?);
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
            // Its interface and its ports are free only then.
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
        let preferred = self.netlink.as_ref().map(|netlink| membership.prefer_addresses(netlink));
        if let Some(Err(error)) = preferred {
            log::debug!("{error}");
        }
        let program = self.program();
        match std::mem::replace(&mut self.reason, Reason::Death) {
            Reason::Death => {
                let is_known = std::mem::replace(&mut self.reported.restart, true);
                let report = format!("network helper {} restarted", program.name());
                let report = (!is_known).then_some(report);
                HelperNews { change: HelperChange::Restarted, report, program }
            }
            Reason::Host => {
                let report = "the host's network changed; network helper";
                let report = Some(format!("{report} {} restarted", program.name()));
                HelperNews { change: HelperChange::Replaced, report, program }
            }
        }
    }

    /// Moves the helper that serves to the head of the plan.
    fn prefer(&mut self, candidate: usize) {
        self.plan.helpers[..=candidate].rotate_right(1);
    }
}

impl Phase {
    fn running(child: Child) -> Self {
        Self::Running { child, since: Instant::now() }
    }
}
