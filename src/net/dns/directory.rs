//! Names of the networks, as the owner of a responder knows them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use super::message::DnsTransport;

/// Client that asks, and the network from which the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker<'a> {
    /// Key under which the network was attached.
    pub network: &'a str,
    /// Source address of the question. A member can forge the address of another member of its network.
    pub client: IpAddr,
}

/// Servers for the questions that no local name answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// No server: the name does not exist. For a client on internal networks alone.
    None,
    /// Servers of the host's resolv.conf(5), as it is at the time of the question.
    Host,
    /// Servers in the order in which they are asked; the first three alone. Over the host's network, or those of
    /// [`Directory::inner_socket`].
    Servers(Vec<SocketAddr>),
}

/// Owner of an address, for a PTR question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReverseName {
    /// Name of the member that has the address.
    Known(String),
    /// No member has this address of a local subnet: the name does not exist, and no server is asked.
    Unknown,
    /// Address outside of the local subnets: a server is asked.
    Foreign,
}

/// Source of the local names. Called for each question, so an implementation keeps its answers in memory.
pub trait Directory {
    /// Returns the addresses of a local name, in any order; `None`: the name is not local. `name` is in lower case,
    /// of printable ASCII, without a dot at its end.
    fn addresses(&mut self, asker: Asker<'_>, name: &str) -> Option<Vec<IpAddr>>;

    /// Returns the name of an address.
    fn name_of(&mut self, asker: Asker<'_>, address: IpAddr) -> ReverseName;

    /// Returns the servers that are asked on behalf of the client.
    fn upstream(&mut self, asker: Asker<'_>) -> Upstream;

    /// Opens a socket for a server in one of the client's networks: not blocking, close-on-exec. `None`: the server is
    /// elsewhere, and is asked over the host's network.
    fn inner_socket(
        &mut self,
        _asker: Asker<'_>,
        _server: SocketAddr,
        _transport: DnsTransport,
    ) -> Option<OwnedFd> {
        None
    }
}
