//! Bounds of what is held for clients: when a bound is reached, the oldest entry gives way.

use std::net::IpAddr;

/// Bounds of the pending questions.
pub(super) const PENDING: Bounds = Bounds { total: 512, of_client: 128 };
/// Bounds of those asked over TCP, whose answers are held in parts.
pub(super) const PENDING_STREAMS: Bounds = Bounds { total: 64, of_client: 16 };
/// Bounds of the TCP connections.
pub(super) const CLIENTS: Bounds = Bounds { total: 64, of_client: 16 };

/// Most entries in total, and of one client: a client that floods displaces its own entries.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    total: usize,
    of_client: usize,
}

impl Bounds {
    /// Chooses the entry that makes room for another one of `client`: the oldest of the client's or of all. `None`:
    /// there is room. `entries` are in the order of their age.
    pub(super) fn displaced(
        self,
        client: IpAddr,
        entries: impl Iterator<Item = (u64, IpAddr)>,
    ) -> Option<u64> {
        let (mut total, mut of_client, mut first, mut first_of_client) = (0, 0, None, None);
        for (number, owner) in entries {
            total += 1;
            first = first.or(Some(number));
            if owner == client {
                of_client += 1;
                first_of_client = first_of_client.or(Some(number));
            }
        }
        if of_client >= self.of_client {
            return first_of_client;
        }
        first.filter(|_| total >= self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_many_entries_displaces_its_own() {
        let [one, two] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        let bounds = Bounds { total: 4, of_client: 3 };
        let mut entries = vec![(1, two), (2, one)];
        let displaced = |client, entries: &Vec<(u64, IpAddr)>| {
            bounds.displaced(client, entries.iter().copied())
        };
        assert_eq!(displaced(one, &entries), None);
        entries.extend([(3, one), (4, one)]);
        assert_eq!(displaced(one, &entries), Some(2));
        assert_eq!(displaced(two, &entries), Some(1));
        entries.pop();
        assert_eq!(displaced(one, &entries), None);
    }
}
