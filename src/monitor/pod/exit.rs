//! Way out of a pod: the network helper, the published ports and the named networks. It belongs to the monitor of one
//! member at a time, at first of the one that makes the network namespace. When that member ends, another one takes it
//! over. The file `exit.json` tells whose it is.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::record;
use crate::error::Result;
use crate::files::{self, Lock};
use crate::host::process_id::ProcessId;
use crate::net::{Helper, JoinPlan, MemberIdentity, Membership, Network};
use crate::network_attachment::MacAddress;

const EXIT: &str = "exit.json";
const EXIT_LOCK: &str = "exit.lock";

/// Plan of the way out, which each member has, to carry it out when the way out becomes its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodExit {
    /// Helpers to try, in this order. Empty: no helper is needed.
    pub helpers: Vec<Helper>,
    /// Named networks to join.
    pub joins: Vec<JoinPlan>,
    /// Identity of the pod on these networks.
    pub identity: MemberIdentity,
    /// True if ports of the host are published.
    pub publishes: bool,
}

impl PodExit {
    /// Returns the way out of a network that is decided.
    pub fn of(network: &Network) -> Self {
        Self {
            helpers: network.helpers.clone(),
            joins: network.joins.clone(),
            identity: network.identity.clone(),
            publishes: network.publishes,
        }
    }

    /// True if there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.helpers.is_empty() && self.joins.is_empty()
    }
}

/// Content of `exit.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitOwner {
    /// First process of the member whose monitor has the way out. When it ends, the way out is free.
    pub process: Option<ProcessId>,
    /// Addresses of the pod on its named networks: they stay the same when another member takes the way out over.
    #[serde(default)]
    pub endpoints: Vec<PodEndpoint>,
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

/// File that tells whose the way out of a pod is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitFile(PathBuf);

impl ExitFile {
    /// Names the file in the folder of a pod. Reads nothing.
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Reads the file. A missing or damaged one names no owner.
    pub fn read(&self) -> ExitOwner {
        record::read_if_whole(&self.0, EXIT).ok().flatten().unwrap_or_default()
    }

    /// Changes the content under a lock. Errors: the file cannot be written; the pod is removed.
    pub fn change<R>(&self, change: impl FnOnce(&mut ExitOwner) -> R) -> Result<R> {
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
        let file = ExitFile::of(folder.path());
        assert_eq!(file.read(), ExitOwner::default());
        let us = ProcessId::ourselves().unwrap();
        file.change(|owner| owner.process = Some(us)).unwrap();
        assert_eq!(file.read().process, Some(us));
        std::fs::write(folder.path().join(EXIT), b"{\"process\":").unwrap();
        assert_eq!(file.read(), ExitOwner::default());
        let other = file.change(|owner| owner.process.replace(us)).unwrap();
        assert_eq!((other, file.read().process), (None, Some(us)));
    }

    #[test]
    fn the_way_out_of_a_pod_that_is_gone_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let file = ExitFile::of(&folder.path().join("gone"));
        assert!(file.change(|_| ()).is_err());
        assert_eq!(file.read(), ExitOwner::default());
    }
}
