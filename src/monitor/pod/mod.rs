//! Pods: containers that share namespaces. A pod has no process of its own: its namespaces live as long as a member runs.
//!
//! ```text
//! pods/ID/pod.json     the settings, which never change
//! pods/ID/start.lock   locked while a member starts: two that start at once would each make the namespaces
//! pods/ID/exit.json    the owner of the uplink, the pod's addresses, the names of the members (see `uplink`)
//! pods/ID/exit.lock    locked while exit.json is changed
//! ```
//!
//! The container's record names the pod; the pod does not name its members. A command that makes a member has the
//! shared lock on the pod's folder until the container can be found. A command that removes the pod has the exclusive
//! lock.

mod uplink;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::RestartPolicy;
use super::record;
use crate::error::Result;
use crate::net::NetworkRequest;

pub use uplink::{PodUplink, UplinkFile};
pub use watch::{PodHandover, UplinkNews, UplinkWatch};

/// File of the settings.
pub const POD: &str = "pod.json";
/// File that is locked while a member starts.
pub const START_LOCK: &str = "start.lock";

/// Kind of a namespace that the members of a pod share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedKind {
    /// IPC namespace, with `/dev/shm`.
    Ipc,
    /// Network namespace.
    Net,
    /// PID namespace.
    Pid,
    /// UTS namespace: the host name.
    Uts,
}

impl SharedKind {
    /// All kinds, in the order of documents.
    pub const ALL: [Self; 4] = [Self::Ipc, Self::Net, Self::Pid, Self::Uts];

    /// podman's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Uts => "uts",
        }
    }
}

/// Settings of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// ID: 64 hexadecimal digits.
    pub id: String,
    /// Name of the pod.
    pub name: String,
    /// Time of the creation.
    pub created: Timestamp,
    /// Host name of the members, if they share the UTS namespace.
    pub hostname: String,
    /// Labels of the pod.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Namespaces that the members share, in the order of [`SharedKind::ALL`].
    pub shares: Vec<SharedKind>,
    /// Network of the members, if they share the network namespace.
    #[serde(default)]
    pub network: NetworkRequest,
    /// Restart policy of members that have none of their own.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Volumes of all members, as typed.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Mode of the members' user namespaces, as typed.
    #[serde(default)]
    pub userns: Option<String>,
    /// Parent cgroup of members that have none of their own.
    #[serde(default)]
    pub cgroup_parent: Option<PathBuf>,
    /// Size of `/dev/shm` in bytes; `None`: the default one.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// Command line that created the pod.
    #[serde(default)]
    pub create_command: Vec<String>,
}

impl PodRecord {
    /// True if the members share the namespace.
    pub fn shares(&self, kind: SharedKind) -> bool {
        self.shares.contains(&kind)
    }

    /// True if the pod has the network namespace of the members.
    pub fn has_network(&self) -> bool {
        self.shares(SharedKind::Net)
    }
}

/// Returns the folder of a store's pods.
pub fn pods(store: &Path) -> PathBuf {
    store.join("pods")
}

/// Returns the folder of the pod with this ID.
pub fn folder(store: &Path, id: &str) -> PathBuf {
    pods(store).join(id)
}

/// Reads the pod with this ID. `None`: no such pod. Errors: a damaged record.
pub fn open(store: &Path, id: &str) -> Result<Option<PodRecord>> {
    record::read(&folder(store, id), POD)
}
