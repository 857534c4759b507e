//! Uplink of a pod: the network helper, the published ports and the named networks. The monitor of one member owns the
//! uplink, at first of the member that makes the network namespace. When the owner ends, another member takes the uplink
//! over. The file `exit.json` names the owner.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::record;
use crate::error::Result;
use crate::files::{self, Lock};
use crate::host::process_id::ProcessId;
use crate::net::{Helper, JoinPlan, LiveFile, MemberIdentity, Membership, Network, ProcessNames};
use crate::network_attachment::MacAddress;

const EXIT: &str = "exit.json";
const EXIT_LOCK: &str = "exit.lock";

/// Plan of the uplink. Each member has the plan, and carries it out when it becomes the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUplink {
    /// Helpers to try, in this order. Empty: no helper is needed.
    pub helpers: Vec<Helper>,
    /// Named networks to join.
    pub joins: Vec<JoinPlan>,
    /// Identity of the pod on these networks.
    pub identity: MemberIdentity,
    /// True if ports of the host are published.
    pub publishes: bool,
}

impl PodUplink {
    /// Returns the uplink of a planned network.
    pub fn of(network: &Network) -> Self {
        Self {
            helpers: network.helpers.clone(),
            joins: network.joins.clone(),
            identity: network.identity.clone(),
            publishes: network.publishes,
        }
    }

    /// Live files of the named networks.
    pub(super) fn live_files(&self) -> impl Iterator<Item = &LiveFile> {
        self.joins.iter().map(|plan| &plan.live)
    }

    /// True if there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.helpers.is_empty() && self.joins.is_empty()
    }
}

/// Content of `exit.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkOwner {
    /// First process of the member whose monitor owns the uplink. When the process ends, the uplink has no owner.
    pub process: Option<ProcessId>,
    /// Addresses of the pod on its named networks: they stay the same when another member takes the uplink over.
    #[serde(default)]
    pub endpoints: Vec<PodEndpoint>,
    /// Names of the members that were started. Those of a member that has ended do not count.
    #[serde(default)]
    pub members: Vec<ProcessNames>,
}

impl UplinkOwner {
    /// Makes the named networks know the names of the members, at the addresses of the pod with this ID. Without that
    /// the members run nevertheless.
    pub fn tell<'a>(&self, pod: &str, networks: impl Iterator<Item = &'a LiveFile>) {
        for live in networks {
            if let Err(error) = live.share(pod, &self.members) {
                log::debug!("{}: {error}", live.path().display());
            }
        }
    }
}

/// Addresses of a pod on a named network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEndpoint {
    /// ID of the network.
    pub network: String,
    /// Name of the interface in the pod.
    pub interface: String,
    /// IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: MacAddress,
}

impl PodEndpoint {
    /// Returns the endpoints of a membership.
    pub fn all(membership: &Membership) -> Vec<Self> {
        let endpoint = |one: &crate::net::NetworkEndpoint| Self {
            network: one.definition.id.clone(),
            interface: one.member.interface.clone(),
            v4: one.member.v4,
            v6: one.member.v6,
            mac: one.member.mac,
        };
        membership.endpoints.iter().map(endpoint).collect()
    }
}

/// File that names the owner of a pod's uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkFile(PathBuf);

impl UplinkFile {
    /// Names the file in the folder of a pod. Reads nothing.
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Reads the file. A missing or damaged one names no owner.
    pub fn read(&self) -> UplinkOwner {
        record::read_if_whole(&self.0, EXIT).ok().flatten().unwrap_or_default()
    }

    /// Changes the content under a lock. Errors: the file cannot be written; the pod is removed.
    pub fn change<R>(&self, change: impl FnOnce(&mut UplinkOwner) -> R) -> Result<R> {
        let lock: File = files::lock_file(&self.0.join(EXIT_LOCK), Lock::Exclusive)?;
        let before = self.read();
        let mut owner = before.clone();
        let result = change(&mut owner);
        if owner != before {
            record::write(&self.0, EXIT, &owner)?;
        }
        drop(lock);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_is_written_and_a_damaged_file_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = UplinkFile::of(folder.path());
        assert_eq!(file.read(), UplinkOwner::default());
        let us = ProcessId::ourselves().unwrap();
        file.change(|owner| owner.process = Some(us)).unwrap();
        assert_eq!(file.read().process, Some(us));
        std::fs::write(folder.path().join(EXIT), b"{\"process\":").unwrap();
        assert_eq!(file.read(), UplinkOwner::default());
        let other = file.change(|owner| owner.process.replace(us)).unwrap();
        assert_eq!((other, file.read().process), (None, Some(us)));
    }

    #[test]
    fn the_uplink_of_a_removed_pod_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = UplinkFile::of(&folder.path().join("gone"));
        assert!(file.change(|_| ()).is_err());
        assert_eq!(file.read(), UplinkOwner::default());
    }
}
