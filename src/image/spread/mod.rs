//! Spread of an image among the ranks of a job: one rank pulls from the registry, all others fetch from ranks.
//!
//! ```text
//!  registry --pull--> rank 0 --control (each rank): image, digests of blocks, addresses of ranks--> all ranks
//!                       |
//!                       +--data--> rank 1 --data--> rank 3, rank 4        a tree: parent of N is (N-1)/fanout
//!                       +--data--> rank 2 --data--> rank 5, rank 6
//! ```
//!
//! A file can be spread instead of an image (`file`): it is the only layer of a manifest.
//!
//! A rank pulls from a [`PeerSource`], by the code of every pull. Each block is compared with the digest from rank 0 before
//! it is written, and is passed on while later ones arrive. A rank that sends a wrong block, or none, is replaced: by its
//! parent, at last by rank 0 or a child of rank 0.
//!
//! Both ends of a connection prove the token of the job (`channel`). Frames of a control connection carry a MAC each, so
//! the digests are rank 0's. Data frames carry none: a changed block has another digest. Nothing is encrypted.

pub mod channel;
mod fetch;
mod file;
pub mod frame;
pub mod host_list;
pub mod ledger;
mod member;
mod members;
mod root;
mod serve;
mod shared_blob;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use channel::SpreadToken;
pub use fetch::PeerSource;
pub use file::{FileBlocks, spread_file};
pub use ledger::SpreadImage;
pub use member::run_member;
pub use root::{SharingSource, SpreadRoot, run_root};

/// Bytes of a block, except for a blob's end.
pub const BLOCK: u64 = 1 << 20;

/// Number of blocks of a blob of `size` bytes.
pub fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

/// Length of block `number` of a blob of `size` bytes.
pub fn block_length(size: u64, number: u64) -> u64 {
    size.saturating_sub(number.saturating_mul(BLOCK)).min(BLOCK)
}

/// Position of this process in the job, and the shape of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadShape {
    /// Number of this process, from 0 on.
    pub rank: u32,
    /// Number of processes.
    pub ranks: u32,
    /// Largest number of ranks that fetch from one rank, unless ranks fail.
    pub fanout: u32,
}

impl SpreadShape {
    /// Ranks to fetch from, in the order of preference: the ancestors, then the children of rank 0.
    pub fn candidates(&self) -> Vec<u32> {
        let fanout = self.fanout.max(1);
        let mut all = Vec::new();
        let mut at = self.rank;
        while at > 0 {
            at = (at - 1) / fanout;
            all.push(at);
        }
        let others = 1..=fanout.min(self.ranks.saturating_sub(1));
        let new: Vec<u32> = others.filter(|one| *one != self.rank && !all.contains(one)).collect();
        all.extend(new);
        all
    }
}

/// Time limits of a spread.
#[derive(Clone, Copy, Debug)]
pub struct SpreadTempo {
    /// Wait for ranks that have not come.
    pub arrival: Duration,
    /// Longest silence of a connection, which has a frame each second.
    pub silence: Duration,
    /// Longest wait for a block that rank 0 has, before another rank is asked.
    pub patience: Duration,
    /// Longest wait for a block that rank 0 has, from all ranks.
    pub give_up: Duration,
    /// Wait for the parent's address, before another rank is asked.
    pub grace: Duration,
    /// Time without any request after which a rank ends that has lost rank 0.
    pub linger: Duration,
}

impl SpreadTempo {
    /// The usual limits, with this wait for ranks.
    pub fn new(arrival: Duration) -> Self {
        Self {
            arrival,
            silence: Duration::from_secs(15),
            patience: Duration::from_secs(20),
            give_up: Duration::from_secs(120),
            grace: Duration::from_secs(3),
            linger: Duration::from_secs(5),
        }
    }
}

/// Settings of one rank.
#[derive(Clone, Debug)]
pub struct SpreadSettings {
    /// Position of this process.
    pub shape: SpreadShape,
    /// Secret of the job.
    pub token: SpreadToken,
    /// Image as the command names it: the same at all ranks.
    pub image: String,
    /// Host name or address of rank 0.
    pub host: String,
    /// Port of rank 0.
    pub port: u16,
    /// Address to listen at; `None`: for rank 0 all, for others the one that leads to rank 0.
    pub listen: Option<IpAddr>,
    /// Time limits.
    pub tempo: SpreadTempo,
}

impl SpreadSettings {
    /// Address to listen at for rank 0.
    fn root_listen(&self) -> SocketAddr {
        let literal = || self.host.trim_matches(['[', ']']).parse().ok();
        let address = self.listen.or_else(literal);
        SocketAddr::new(address.unwrap_or(IpAddr::from([0u16; 8])), self.port)
    }
}
