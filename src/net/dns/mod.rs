//! DNS responder of named networks: names of the members, and all other names from servers.
//!
//! ```text
//! Responder      the loop's part: sockets, connections, pending questions      (owner: a poll loop)
//!   decide       one packet: silence, an answer, or a question to a server     (no input or output)
//!     message    reading of questions, writing of answers
//!     Directory  the names, as the owner knows them;  NameTable: a table for it
//!   bounds       most entries in total and of one client
//!   client       TCP connection of a client
//!   exchange     question to one server after the other;  host_servers: those of /etc/resolv.conf
//! DnsSockets     sockets at the gateway's address, opened in the network's namespace
//! ```
//!
//! Each member's process has sockets of its own at the same address (SO_REUSEPORT), so the end of one is not noticed.
//! Packets come from programs that nobody trusts: all that is held for them has a bound, and the oldest gives way.

mod bounds;
mod client;
mod decide;
mod directory;
mod event_set;
mod exchange;
mod host_servers;
mod message;
mod name_table;
mod responder;
mod sockets;
#[cfg(test)]
mod tests;

pub use decide::{Verdict, decide};
pub use directory::{Asker, Directory, ReverseName, Upstream};
pub use exchange::open as open_upstream;
pub use message::{DnsQuestion, DnsTransport, MOST_QUESTION};
pub use name_table::NameTable;
pub use responder::Responder;
pub use sockets::{DNS_PORT, DnsSockets};
