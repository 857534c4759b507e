//! Uplink of a pod in the monitor of a member: the monitor waits for the end of the owner, and takes the uplink over.
//! Nothing here waits: the monitor's loop polls the descriptor and calls [`UplinkWatch::turn`].
//!
//! ```text
//!                owner ended            networks joined
//! Waiting (pidfd) ---------> Taking ---------------------> Ours
//!        ^------ another was first      (again after a delay, while the dead owner's addresses are taken)
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::uplink::{PodEndpoint, PodUplink, UplinkFile};
use crate::error::Result;
use crate::host::process_id::ProcessId;
use crate::net::{HelperWatch, JoinPlan, Membership, ProcessNames, RunningNetwork};

/// Delay before the next attempt; doubled with each.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Number of attempts with the pod's addresses, before others are taken: a foreign container may have got them.
const TRIES_FOR_ADDRESSES: u32 = 8;

/// Part of a member in its pod's uplink, handed over to the monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodHandover {
    /// File that names the owner of the uplink.
    pub file: UplinkFile,
    /// Plan of the uplink.
    pub uplink: PodUplink,
    /// First process of the member.
    pub process: ProcessId,
    /// Process of the member in the base user namespace.
    pub base: i32,
    /// True if the member owns the uplink from its start.
    pub is_owner: bool,
}

/// Uplink of a pod, as the monitor of one member sees it.
#[derive(Debug)]
pub struct UplinkWatch {
    pod: PodHandover,
    phase: UplinkPhase,
    delay: Duration,
    tries: u32,
    /// Text of the last reported failure.
    reported: Option<String>,
}

#[derive(Debug)]
enum UplinkPhase {
    /// Another member owns the uplink: pidfd of its process.
    Waiting(OwnedFd),
    /// The uplink is to be taken over at this time.
    Taking(Instant),
    /// This member owns the uplink, or the pod has none.
    Settled,
}

/// Result of a turn.
#[derive(Debug)]
pub enum UplinkNews {
    /// This member owns the uplink now: its networks, and its helper, which is about to start.
    Taken(Box<RunningNetwork>),
    /// The uplink could not be taken over, with the reason. The monitor tries again.
    Failed(String),
}

impl UplinkWatch {
    /// Begins to watch.
    pub fn of(pod: PodHandover) -> Self {
        let phase = match pod.is_owner || pod.uplink.is_empty() {
            true => UplinkPhase::Settled,
            false => UplinkPhase::Taking(Instant::now()),
        };
        Self { pod, phase, delay: FIRST_DELAY, tries: 0, reported: None }
    }

    /// True if ports of the host are published.
    pub fn publishes(&self) -> bool {
        self.pod.uplink.publishes
    }

    /// Descriptor to poll for input.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            UplinkPhase::Waiting(owner) => Some(owner.as_fd()),
            UplinkPhase::Taking(_) | UplinkPhase::Settled => None,
        }
    }

    /// Time of the next [`Self::turn`] without input.
    pub fn due(&self) -> Option<Instant> {
        match &self.phase {
            UplinkPhase::Taking(at) => Some(*at),
            UplinkPhase::Waiting(_) | UplinkPhase::Settled => None,
        }
    }

    /// Handles the end of the owner, and what is due.
    pub fn turn(&mut self) -> Option<UplinkNews> {
        match &self.phase {
            UplinkPhase::Settled => return None,
            UplinkPhase::Taking(at) if Instant::now() < *at => return None,
            UplinkPhase::Waiting(_) | UplinkPhase::Taking(_) => {}
        }
        match self.take() {
            Ok(news) => news,
            Err(error) => {
                self.tries += 1;
                self.phase = UplinkPhase::Taking(Instant::now() + self.delay);
                self.delay = (self.delay * 2).min(LONGEST_DELAY);
                let text = format!("cannot take over the pod's network: {error}");
                // The first failures are those of an owner that is just leaving.
                let is_news =
                    self.tries > TRIES_FOR_ADDRESSES && self.reported.as_ref() != Some(&text);
                is_news.then(|| {
                    self.reported = Some(text.clone());
                    UplinkNews::Failed(text)
                })
            }
        }
    }

    fn take(&mut self) -> Result<Option<UplinkNews>> {
        let us = self.pod.process;
        let (owner, endpoints) = self.pod.file.change(|owner| {
            if !owner.process.is_some_and(|process| process.lives()) {
                owner.process = Some(us);
            }
            (owner.process, owner.endpoints.clone())
        })?;
        if let Some(other) = owner.filter(|owner| *owner != us) {
            // No descriptor: the process has just ended, and the next attempt takes over.
            self.phase = match other.open() {
                Some(pidfd) => UplinkPhase::Waiting(pidfd),
                None => UplinkPhase::Taking(Instant::now()),
            };
            return Ok(None);
        }
        let plans = self.plans(&endpoints);
        let membership = Membership::move_to(
            &plans,
            &self.pod.uplink.identity,
            &interfaces(&endpoints),
            us.pid,
        )?;
        let helpers = self.pod.uplink.helpers.clone();
        let helper = (!helpers.is_empty())
            .then(|| HelperWatch::adopt(helpers, self.pod.base, us.pid))
            .transpose()?;
        let endpoints = PodEndpoint::all(&membership);
        let uplink = &self.pod.uplink;
        // Under the lock, as a member that starts: no name is lost.
        self.pod.file.change(|owner| {
            owner.endpoints = endpoints;
            owner.tell(&uplink.identity.id, uplink.live_files());
        })?;
        self.phase = UplinkPhase::Settled;
        (self.delay, self.tries, self.reported) = (FIRST_DELAY, 0, None);
        Ok(Some(UplinkNews::Taken(Box::new(RunningNetwork { membership, names: None, helper }))))
    }

    /// Returns the plans of the networks, with the addresses that the pod has had.
    fn plans(&self, endpoints: &[PodEndpoint]) -> Vec<JoinPlan> {
        let mut plans = self.pod.uplink.joins.clone();
        for plan in &mut plans {
            let known = endpoints.iter().find(|one| one.network == plan.definition.id);
            let Some(known) = known else { continue };
            let asked = &mut plan.attachment;
            asked.interface = Some(known.interface.clone());
            if self.tries < TRIES_FOR_ADDRESSES {
                asked.ip = known.v4;
                asked.ip6 = known.v6;
                asked.mac = Some(known.mac);
            }
        }
        plans
    }
}

fn interfaces(endpoints: &[PodEndpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| endpoint.interface.clone()).collect()
}

impl PodHandover {
    /// Records a member that has started, with its names. The owner of the uplink is recorded with the networks that its
    /// launch has joined.
    pub fn record(&self, membership: &Membership, names: Vec<String>) -> Result<()> {
        let endpoints = self.is_owner.then(|| PodEndpoint::all(membership));
        self.file.change(|owner| {
            if let Some(endpoints) = endpoints {
                owner.process = Some(self.process);
                owner.endpoints = endpoints;
            }
            owner.members.retain(|member| member.process.lives());
            owner.members.push(ProcessNames { names, process: self.process });
            owner.tell(&self.uplink.identity.id, self.uplink.live_files());
        })
    }
}
