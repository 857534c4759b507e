//! Definition of a named network: the file `networks/NAME.json` of the store, which never changes.
//!
//! A command that makes a container with the network has the shared lock on the file ([`hold`]) until the container can
//! be found. For a container without a record, the lock lasts as long as the container runs. A command that removes the
//! network has the exclusive lock, and then searches the containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ipam::Subnet;
use super::network_options::NetworkOptions;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock};
use crate::hint;
use crate::network_attachment::MacAddress;
use crate::network_name::NetworkName;

/// Definition of a named network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDefinition {
    /// ID: 64 hexadecimal digits.
    pub id: String,
    /// Name of the network.
    pub name: NetworkName,
    /// Time when the network was made.
    pub created: Timestamp,
    /// Kind of the network.
    #[serde(default)]
    pub driver: NetworkDriver,
    /// Subnets, at most one of each family, IPv4 first.
    pub subnets: Vec<Subnet>,
    /// Uplink of the members; `exit` in files, as in those of earlier versions.
    #[serde(default, rename = "exit")]
    pub uplink: NetworkUplink,
    /// True if names are answered at the gateways' addresses.
    pub dns: bool,
    /// Name servers that are asked for names of other machines. Empty: the host's.
    #[serde(default)]
    pub dns_servers: Vec<IpAddr>,
    /// True if the user asked for docker's `attachable`; containers can join every network.
    #[serde(default)]
    pub attachable: bool,
    /// Labels of the network.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    #[serde(default)]
    pub options: NetworkOptions,
}

/// Kind of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkDriver {
    /// Linux bridge in a network namespace of its own.
    #[default]
    Bridge,
}

/// Uplink of a network's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkUplink {
    /// Helper of each member.
    #[default]
    Helper,
    /// None: docker's internal network.
    #[serde(rename = "internal")]
    None,
}

impl NetworkDefinition {
    /// Subnet of IPv4.
    pub fn v4(&self) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.prefix.addr().is_ipv4())
    }

    /// Subnet of IPv6.
    pub fn v6(&self) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.prefix.addr().is_ipv6())
    }

    /// Hardware address of the bridge: the same each time that the network is made. It comes from the gateway's address,
    /// which no member has.
    pub fn bridge_mac(&self) -> MacAddress {
        let of_id = || {
            let byte = |at: usize| u8::from_str_radix(self.id.get(at..at + 2)?, 16).ok();
            [0, 2, 4, 6].map(|at| byte(at).unwrap_or_default())
        };
        let [a, b, c, d] = match self.v4().map(|subnet| subnet.gateway) {
            Some(IpAddr::V4(gateway)) => gateway.octets(),
            _ => of_id(),
        };
        MacAddress([0x02, 0x42, a, b, c, d])
    }

    /// True if the members have no uplink.
    pub fn is_internal(&self) -> bool {
        self.uplink == NetworkUplink::None
    }
}

/// Returns the folder of a store's networks.
pub fn folder(store: &Path) -> PathBuf {
    store.join("networks")
}

/// Returns the file of a definition.
pub fn path(store: &Path, name: &NetworkName) -> PathBuf {
    folder(store).join(format!("{name}.json"))
}

/// Reads the network of this name. Errors: a damaged definition.
pub fn find(store: &Path, name: &NetworkName) -> Result<Option<NetworkDefinition>> {
    let path = path(store, name);
    let phrase = || format!("network {name}: {}", path.display());
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        answer => answer.context(phrase)?,
    };
    let definition: NetworkDefinition =
        serde_json::from_slice(&text).map_err(Error::new).context(phrase)?;
    if definition.name != *name {
        fail!("network {name}: {} defines network {}", path.display(), definition.name);
    }
    Ok(Some(definition))
}

/// Returns the names of all networks, in order, of damaged ones too.
pub fn names(store: &Path) -> Result<Vec<NetworkName>> {
    let folder = folder(store);
    let phrase = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(phrase)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.context(phrase)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
        names.extend(name.and_then(|name| name.parse::<NetworkName>().ok()));
    }
    names.sort();
    Ok(names)
}

/// Returns all networks, by name. Leaves out a network with a damaged definition, with a warning.
pub fn all(store: &Path) -> Result<Vec<NetworkDefinition>> {
    let mut all = Vec::new();
    for name in names(store)? {
        match find(store, &name) {
            Ok(definition) => all.extend(definition),
            Err(error) => log::warn!("{error}"),
        }
    }
    Ok(all)
}

/// Returns the network that `text` names: its name, its ID, or the beginning of a single ID. Errors: no such network;
/// several.
pub fn named(store: &Path, text: &str) -> Result<NetworkDefinition> {
    let none = || {
        Error::not_found(format!("no network is called '{}'", text.escape_debug()))
            .hint(hint::LIST_NETWORKS)
    };
    if let Ok(name) = text.parse::<NetworkName>()
        && let Some(definition) = find(store, &name)?
    {
        return Ok(definition);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    let mut fitting = all(store)?;
    fitting.retain(|network| network.id.starts_with(text));
    if fitting.len() > 1 {
        let names: Vec<_> = fitting.iter().map(|network| network.name.as_str()).collect();
        fail!(Conflict: "several networks have an ID that begins with {text}: {}", names.join(", "));
    }
    fitting.pop().ok_or_else(none)
}

/// Returns the network that `text` names, and a shared lock that keeps it from being removed.
pub fn hold(store: &Path, text: &str) -> Result<(NetworkDefinition, File)> {
    let definition = named(store, text)?;
    let path = path(store, &definition.name);
    let held = files::hold(&path, Lock::Shared);
    let held = held.context(|| format!("cannot lock {}", path.display()))?;
    let gone = || Error::not_found(format!("network {} was removed meanwhile", definition.name));
    let held = held.ok_or_else(gone)?;
    Ok((definition, held))
}

/// Writes a new definition, whose name no other network has. The caller has the lock of all networks.
pub fn write(store: &Path, definition: &NetworkDefinition) -> Result<()> {
    let folder = crate::config::open_private(&folder(store))?;
    let tmp = crate::config::open_private(&store.join("tmp"))?;
    let content = serde_json::to_vec(definition).map_err(Error::new)?;
    files::replace(&tmp, &folder.join(format!("{}.json", definition.name)), &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, id: &str) -> NetworkDefinition {
        NetworkDefinition {
            id: id.repeat(64 / id.len()),
            name: name.parse().unwrap(),
            created: Timestamp::UNIX_EPOCH,
            driver: NetworkDriver::Bridge,
            subnets: vec![
                Subnet::new("10.89.0.0/24".parse().unwrap()).unwrap(),
                Subnet::new("fd00:1::/64".parse().unwrap()).unwrap(),
            ],
            uplink: NetworkUplink::Helper,
            dns: true,
            dns_servers: vec!["9.9.9.9".parse().unwrap()],
            attachable: false,
            labels: [("a".to_owned(), "1".to_owned())].into(),
            options: [("mtu".to_owned(), "1400".to_owned())]
                .into_iter()
                .collect::<BTreeMap<_, _>>()
                .try_into()
                .unwrap(),
        }
    }

    #[test]
    fn a_written_definition_is_read_by_name_and_by_a_unique_id() {
        let store = tempfile::tempdir().unwrap();
        let store = store.path();
        assert!(all(store).unwrap().is_empty());
        let (web, data) = (definition("web", "ab"), definition("ab", "ac"));
        write(store, &web).unwrap();
        write(store, &data).unwrap();
        assert_eq!(named(store, "web").unwrap(), web);
        assert_eq!(named(store, "aba").unwrap(), web);
        assert_eq!(named(store, "ab").unwrap(), data, "a name goes before an ID");
        assert!(named(store, "a").unwrap_err().to_string().contains("several"));
        for none in ["", "b", "x", "../web", "host"] {
            assert!(named(store, none).unwrap_err().to_string().contains("no network"), "{none}");
        }
        assert_eq!(all(store).unwrap(), [data, web]);
    }

    #[test]
    fn a_definition_is_private_and_a_damaged_one_is_reported() {
        use std::os::unix::fs::PermissionsExt;
        let store = tempfile::tempdir().unwrap();
        let store = store.path();
        let web = definition("web", "ab");
        write(store, &web).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path(store, &web.name)), 0o600);
        assert_eq!(mode(&folder(store)), 0o700);
        std::fs::copy(path(store, &web.name), folder(store).join("other.json")).unwrap();
        assert!(named(store, "other").unwrap_err().to_string().contains("defines network web"));
        std::fs::write(path(store, &web.name), "{").unwrap();
        assert!(named(store, "web").is_err());
        assert!(all(store).unwrap().is_empty());
    }

    #[test]
    fn a_held_network_is_not_removed() {
        let store = tempfile::tempdir().unwrap();
        let web = definition("web", "ab");
        write(store.path(), &web).unwrap();
        let (_, held) = hold(store.path(), "web").unwrap();
        assert!(files::try_exclusive(&path(store.path(), &web.name)).is_none());
        drop(held);
        assert!(files::try_exclusive(&path(store.path(), &web.name)).is_some());
    }
}
