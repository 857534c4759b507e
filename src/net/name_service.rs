//! Name service of a member: answers questions about the names of its networks, from their live files.
//!
//! A question comes from any member of the network, whose address says who asks. The names of all networks of the asking
//! container count, so a container on two networks needs one name server.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::dns::{
    Asker, DNS_PORT, Directory, DnsSockets, DnsTransport, NameTable, Responder, ReverseName,
    Upstream,
};
use super::live::{LiveFile, LiveNetwork, NetworkMember};
use super::membership::{Membership, NetworkEndpoint};
use super::{names, namespace};
use crate::error::{Context, Result};

/// docker's and podman's names for the host, and docker's for its gateway.
const HOST_NAMES: [&str; 3] =
    ["host.docker.internal", "host.containers.internal", "gateway.docker.internal"];

/// Answers for the networks of one member. The owner polls the descriptor for input.
#[derive(Debug)]
pub struct NameService {
    responder: Responder,
    directory: MemberDirectory,
}

impl AsFd for NameService {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.responder.as_fd()
    }
}

impl NameService {
    /// Serves the networks of a member, whose sockets for questions it takes. `None`: no network has names.
    pub fn of(membership: &mut Membership) -> Result<Option<Self>> {
        let mut service = None;
        for endpoint in &mut membership.endpoints {
            Self::serve(&mut service, endpoint)?;
        }
        Ok(service)
    }

    /// Serves one more network, by `service` or by a new one. Does nothing for a network without names.
    pub fn serve(service: &mut Option<Self>, endpoint: &mut NetworkEndpoint) -> Result<()> {
        let has_names = endpoint.namespace.as_ref().is_some_and(|one| !one.names.is_empty());
        if !has_names {
            return Ok(());
        }
        let service = match service {
            Some(service) => service,
            None => service.insert(Self::new().context(|| "cannot answer for names")?),
        };
        service.attach(endpoint)
    }

    fn new() -> io::Result<Self> {
        let responder = Responder::new("/etc/resolv.conf")?;
        Ok(Self { responder, directory: MemberDirectory::default() })
    }

    /// Serves one more network.
    fn attach(&mut self, endpoint: &mut NetworkEndpoint) -> Result<()> {
        let fds = match &mut endpoint.namespace {
            Some(namespace) => std::mem::take(&mut namespace.names),
            None => Vec::new(),
        };
        let cannot = || "cannot answer for names";
        let sockets = DnsSockets::from_fds(fds).context(cannot)?;
        let id = &endpoint.definition.id;
        self.responder.attach(id, sockets).context(cannot)?;
        self.directory.add(id, &endpoint.live);
        Ok(())
    }

    /// Stops serving the network with this ID.
    pub fn detach(&mut self, id: &str) {
        self.responder.detach(id);
    }

    /// Time at which [`NameService::turn`] must be called without any event. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        self.responder.deadline()
    }

    /// Handles what has arrived, and what is overdue.
    pub fn turn(&mut self) {
        self.responder.turn(&mut self.directory);
    }
}

/// Names of networks, read again when their live files have changed.
#[derive(Debug, Default)]
struct MemberDirectory {
    /// Folder of the live files.
    folder: Option<PathBuf>,
    /// Networks by ID.
    networks: BTreeMap<String, KnownNames>,
    /// Networks by ID, of a container.
    memberships: BTreeMap<String, BTreeSet<String>>,
}

/// Names of one network.
#[derive(Debug)]
struct KnownNames {
    file: LiveFile,
    /// Device, inode, size and time of change of the file that was read.
    version: Option<FileVersion>,
    live: LiveNetwork,
    table: NameTable,
    /// Index in `live` of the member that has an address.
    owners: BTreeMap<IpAddr, usize>,
}

/// State of a file: a file that is replaced has another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    changed: (i64, i64),
}

impl FileVersion {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { inode: metadata.ino(), changed })
    }
}

impl KnownNames {
    fn new(file: LiveFile) -> Self {
        Self {
            file,
            version: None,
            live: LiveNetwork::default(),
            table: NameTable::default(),
            owners: BTreeMap::new(),
        }
    }

    /// Reads the file if it has changed; true if so.
    fn refresh(&mut self) -> bool {
        // Before the file is read: a change after that is seen the next time.
        let version = FileVersion::of(self.file.path());
        if version == self.version {
            return false;
        }
        self.version = version;
        self.live = self.file.read();
        self.table = NameTable::default();
        self.owners.clear();
        for subnet in &self.live.subnets {
            self.table.add_subnet(subnet.addr(), subnet.prefix_len());
        }
        for (index, member) in self.live.members.iter().enumerate() {
            let addresses: Vec<IpAddr> = member.addresses().collect();
            self.table.add_member(member.names.iter().map(String::as_str), &addresses);
            for shared in &member.shared {
                self.table.add_member(shared.names.iter().map(String::as_str), &addresses);
            }
            self.owners.extend(addresses.iter().map(|address| (*address, index)));
        }
        true
    }

    fn owner(&self, address: IpAddr) -> Option<&NetworkMember> {
        self.live.members.get(*self.owners.get(&address)?)
    }

    /// Addresses of a name, of members whose processes live: one that was killed has not changed the file.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        // docker's NAME.NETWORK.
        let of_network = name
            .strip_suffix(&self.live.name.to_ascii_lowercase())
            .and_then(|rest| rest.strip_suffix('.'));
        self.living(name).or_else(|| self.living(of_network?))
    }

    fn living(&self, name: &str) -> Option<Vec<IpAddr>> {
        let answers =
            |address: &&IpAddr| self.owner(**address).is_some_and(|member| member.answers_to(name));
        let living: Vec<IpAddr> =
            self.table.addresses(name)?.iter().filter(answers).copied().collect();
        (!living.is_empty()).then_some(living)
    }

    fn name_of(&self, address: IpAddr) -> ReverseName {
        match self.table.name_of(address) {
            ReverseName::Known(name) => match self.owner(address) {
                Some(member) if member.holder.lives() => {
                    ReverseName::Known(format!("{name}.{}", self.live.name))
                }
                _ => ReverseName::Unknown,
            },
            other => other,
        }
    }
}

impl MemberDirectory {
    fn add(&mut self, id: &str, file: &LiveFile) {
        self.folder = file.path().parent().map(Path::to_owned);
        self.networks.insert(id.to_owned(), KnownNames::new(file.clone()));
    }

    /// Container that asks.
    fn client(&mut self, asker: Asker<'_>) -> Option<NetworkMember> {
        let network = self.networks.get_mut(asker.network)?;
        network.refresh();
        network.owner(asker.client).cloned()
    }

    /// Brings the names of all networks of the container up to date; returns their IDs, the asked network first.
    fn networks_of(&mut self, asker: Asker<'_>) -> Vec<String> {
        let mut ids = vec![asker.network.to_owned()];
        let Some(client) = self.client(asker) else { return ids };
        let mut has_changed = !self.memberships.contains_key(&client.container);
        let files: Vec<_> = self.folder.iter().flat_map(std::fs::read_dir).flatten().collect();
        for file in files.into_iter().flatten() {
            let name = file.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            let known = self.networks.entry(id.to_owned()).or_insert_with(|| {
                KnownNames::new(LiveFile::of(
                    &file.path().parent().map(Path::to_owned).unwrap_or_default(),
                    id,
                ))
            });
            has_changed |= known.refresh();
        }
        if has_changed {
            self.memberships.clear();
            for (id, network) in &self.networks {
                for member in &network.live.members {
                    let of_container = self.memberships.entry(member.container.clone());
                    of_container.or_default().insert(id.clone());
                }
            }
        }
        let all = self.memberships.get(&client.container).into_iter().flatten();
        ids.extend(all.filter(|id| *id != asker.network).cloned());
        ids
    }
}

impl MemberDirectory {
    /// Network of the asking container in whose subnets `address` is.
    fn network_at(&mut self, asker: Asker<'_>, address: IpAddr) -> Option<&KnownNames> {
        let ids = self.networks_of(asker);
        let networks = ids.iter().filter_map(|id| self.networks.get(id));
        let mut networks = networks
            .filter(|known| known.live.subnets.iter().any(|subnet| subnet.contains(&address)));
        networks.next()
    }
}

impl Directory for MemberDirectory {
    fn addresses(&mut self, asker: Asker<'_>, name: &str) -> Option<Vec<IpAddr>> {
        if HOST_NAMES.contains(&name) {
            let has_uplink = self.client(asker).is_some_and(|client| client.has_uplink);
            return names::address_of_host().filter(|_| has_uplink).map(|address| vec![address]);
        }
        let networks = self.networks_of(asker);
        networks.iter().find_map(|id| self.networks.get(id)?.addresses(name))
    }

    fn name_of(&mut self, asker: Asker<'_>, address: IpAddr) -> ReverseName {
        let networks = self.networks_of(asker);
        let names = networks.iter().filter_map(|id| self.networks.get(id));
        let mut found = names.map(|network| network.name_of(address));
        found.find(|name| *name != ReverseName::Foreign).unwrap_or(ReverseName::Foreign)
    }

    fn upstream(&mut self, asker: Asker<'_>) -> Upstream {
        // No member has this address.
        let Some(client) = self.client(asker) else { return Upstream::None };
        let of_network = self.networks.get(asker.network).map(|network| &network.live.dns_servers);
        let servers = match client.dns.is_empty() {
            false => client.dns.clone(),
            true => of_network.cloned().unwrap_or_default(),
        };
        let mut reachable = servers;
        if !client.has_uplink {
            reachable.retain(|server| self.network_at(asker, *server).is_some());
        }
        match reachable.is_empty() {
            false => Upstream::Servers(
                reachable.into_iter().map(|server| SocketAddr::new(server, DNS_PORT)).collect(),
            ),
            true if client.has_uplink => Upstream::Host,
            true => Upstream::None,
        }
    }

    fn inner_socket(
        &mut self,
        asker: Asker<'_>,
        server: SocketAddr,
        transport: DnsTransport,
    ) -> Option<OwnedFd> {
        let members = &self.network_at(asker, server.ip())?.live.members;
        let network = members.iter().find_map(NetworkMember::open_namespace)?;
        let socket = namespace::upstream_socket(&network, server, transport);
        socket.inspect_err(|error| log::debug!("{server}: {error}")).ok()
    }
}
