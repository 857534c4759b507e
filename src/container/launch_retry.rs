//! Second launch of a member of a pod: the member whose namespaces the first one was to join has ended meanwhile.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::stop::ended_within;
use crate::engine::ListenSockets;
use crate::error::{Context, Error, Result};
use crate::host::process_id::ProcessId;
use crate::monitor::Job;

/// Parts of a launch that joins a member of its pod, for another launch: the member may end meanwhile.
pub(super) struct LaunchRetry {
    /// First process of that member.
    member: ProcessId,
    lock: OwnedFd,
    client: Option<OwnedFd>,
    listener: Option<(OwnedFd, PathBuf)>,
    sockets: Option<ListenSockets>,
    restarts: u32,
    waited: u64,
}

impl LaunchRetry {
    /// Time in which a process whose namespaces cannot be entered any more ends entirely.
    const ENDING: Duration = Duration::from_millis(50);

    /// Copies the parts. `None`: the launch joins no member of a pod.
    pub(super) fn of(job: &Job) -> Result<Option<Self>> {
        let Some(member) = job.pod.as_ref().and_then(|pod| pod.joined) else { return Ok(None) };
        let copy = |fd: &OwnedFd| fd.try_clone().context(|| "cannot copy a descriptor");
        let listener = |(fd, path): &(OwnedFd, PathBuf)| Ok::<_, Error>((copy(fd)?, path.clone()));
        Ok(Some(Self {
            member,
            lock: copy(&job.lock)?,
            client: job.client.as_ref().map(copy).transpose()?,
            listener: job.listener.as_ref().map(listener).transpose()?,
            sockets: job.plan.options.sockets.clone(),
            restarts: job.restarts,
            waited: job.waited,
        }))
    }

    /// True if the member has ended: a launch that failed may succeed with another one, or with new namespaces.
    pub(super) fn is_due(&self) -> bool {
        let Some(pidfd) = self.member.open() else { return true };
        ended_within(&pidfd, Some(Self::ENDING)).unwrap_or(false)
    }

    /// Plans the launch again, by `plan`, which takes the lock on the container's folder.
    pub(super) fn again(self, plan: impl FnOnce(OwnedFd) -> Result<Job>) -> Result<Job> {
        let Self { lock, client, listener, sockets, restarts, waited, .. } = self;
        let mut job = plan(lock)?;
        job.plan.options.sockets = sockets;
        Ok(Job { client, listener, restarts, waited, ..job })
    }
}
