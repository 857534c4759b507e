//! Live state of a named network: its members, in a file of the runtime folder. The file is replaced as a whole, under a
//! lock. A member whose process has ended does not count; the next change of the file removes its entry.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::host::process_id::ProcessId;
use crate::network_attachment::MacAddress;
use crate::sys::namespace::{self, Namespaces};

/// Members of a named network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveNetwork {
    /// Name of the network.
    #[serde(default)]
    pub name: String,
    /// Subnets of the network.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
    /// Name servers that are asked for names of other machines. Empty: the host's.
    #[serde(default)]
    pub dns_servers: Vec<IpAddr>,
    /// Members, in the order in which they joined.
    pub members: Vec<NetworkMember>,
}

/// Container on a named network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkMember {
    /// ID of the container: 64 hexadecimal digits.
    pub container: String,
    /// Random ID of this membership: 64 hexadecimal digits.
    pub endpoint: String,
    /// Name of the container; `None`: a disposable one without a name.
    pub name: Option<String>,
    /// Names under which the member is found, the container's name first.
    pub names: Vec<String>,
    /// IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: MacAddress,
    /// Name of the interface in the container.
    pub interface: String,
    /// Name servers of the container's own (`--dns`).
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// True if the container has an uplink, through whichever network; `has_exit` in files.
    #[serde(rename = "has_exit")]
    pub has_uplink: bool,
    /// Process that holds the network's namespace.
    pub holder: ProcessId,
    /// Number of the holder's descriptor of the namespace.
    pub namespace: RawFd,
    /// Names of the containers of a pod, which share the member's addresses. Empty for a container.
    #[serde(default)]
    pub shared: Vec<ProcessNames>,
}

/// Names that count as long as a process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessNames {
    /// Names, the container's name first.
    pub names: Vec<String>,
    /// First process of the container.
    pub process: ProcessId,
}

impl NetworkMember {
    /// Name of the bridge's end of the member's pair of interfaces.
    pub fn port(&self) -> String {
        format!("veth{}", self.endpoint.get(..8).unwrap_or(&self.endpoint))
    }

    /// Addresses of the member.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// True if the member lives, and with it what has the name: a container that was killed has not changed the file.
    pub fn answers_to(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        let is_in = |names: &[String]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        let is_shared = |one: &ProcessNames| is_in(&one.names) && one.process.lives();
        (is_in(&self.names) || self.shared.iter().any(is_shared)) && self.holder.lives()
    }

    /// Opens the network's namespace through the holder. `None`: the holder has ended, or has left the network.
    pub fn open_namespace(&self) -> Option<OwnedFd> {
        let path = format!("/proc/{}/fd/{}", self.holder.pid, self.namespace);
        let file = File::open(path).ok()?;
        let is_network = namespace::kind(file.as_fd()).is_ok_and(|kind| kind == Namespaces::NET);
        // Checked after the open: the descriptor is then of the process that was meant.
        (is_network && self.holder.lives()).then(|| file.into())
    }
}

/// File with the live state of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile(PathBuf);

impl LiveFile {
    /// Names the file of the network `id` in `folder`. Reads nothing.
    pub fn of(folder: &Path, id: &str) -> Self {
        Self(folder.join(format!("{id}.json")))
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the members that live. A missing or damaged file has none.
    pub fn read(&self) -> LiveNetwork {
        let mut live = self.read_all();
        live.members.retain(|member| member.holder.lives());
        live
    }

    fn read_all(&self) -> LiveNetwork {
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::debug!("{}: {error}", self.0.display());
                LiveNetwork::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::debug!("{}: {error}", self.0.display());
                }
                LiveNetwork::default()
            }
        }
    }

    /// Changes the members under the lock of the file. The file goes with the last member. Errors: those of `change`,
    /// which then changes nothing; the file cannot be written.
    pub fn change<R>(&self, change: impl FnOnce(&mut LiveNetwork) -> Result<R>) -> Result<R> {
        let lock = self.lock()?;
        let before = self.read_all();
        let mut live = before.clone();
        live.members.retain(|member| member.holder.lives());
        let result = change(&mut live)?;
        if live.members.is_empty() {
            let _ = std::fs::remove_file(&self.0);
            let _ = files::remove_held(&self.lock_path(), lock);
            // Only an empty folder is removed.
            let _ = self.0.parent().map(std::fs::remove_dir);
        } else if live != before {
            let bytes = serde_json::to_vec(&live).map_err(Error::new)?;
            let written = files::replace_quickly(&self.0, &bytes);
            // Released before `result` is dropped: a dropped membership changes the file as well.
            drop(lock);
            written.context(|| format!("cannot write {}", self.0.display()))?;
        }
        Ok(result)
    }

    /// Replaces the names that a member shares its addresses with. Does nothing without the member.
    pub fn share(&self, member: &str, names: &[ProcessNames]) -> Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        self.change(|state| {
            for one in state.members.iter_mut().filter(|one| one.container == member) {
                one.shared = names.to_vec();
            }
            Ok(())
        })
    }

    fn lock_path(&self) -> PathBuf {
        self.0.with_extension("lock")
    }

    /// Locks the file. The lock file is removed with the last member, so the lock may be of a file that is gone.
    fn lock(&self) -> Result<File> {
        let path = self.lock_path();
        loop {
            crate::config::open_private(self.0.parent().unwrap_or(Path::new("/")))?;
            match files::lock_file(&path, Lock::Exclusive) {
                Ok(lock) if files::leads_to(&path, &lock) => return Ok(lock),
                Ok(_) => {}
                Err(_) if !path.parent().is_some_and(Path::is_dir) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
