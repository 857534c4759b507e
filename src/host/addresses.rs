//! Addresses of the host, from proc_pid_net(5).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the addresses of this network namespace, IPv4 first, without link-local ones of IPv6.
pub fn of_host() -> BTreeSet<IpAddr> {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let mut all = in_fib_trie(&read("fib_trie"));
    all.extend(in_if_inet6(&read("if_inet6")));
    all
}

/// Addresses in the text of /proc/net/fib_trie: an address, and below it the kind of its route.
fn in_fib_trie(text: &str) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    let mut address = None;
    for line in text.lines().map(str::trim_start) {
        match line.strip_prefix("|-- ") {
            Some(text) => address = text.parse::<Ipv4Addr>().ok(),
            None if line.trim_end() == "/32 host LOCAL" => all.extend(address.map(IpAddr::V4)),
            None => {}
        }
    }
    all
}

/// Addresses in the text of /proc/net/if_inet6: hexadecimal digits at the beginning of each line.
fn in_if_inet6(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines()
        .filter_map(|line| u128::from_str_radix(line.split_whitespace().next()?, 16).ok())
        .map(Ipv6Addr::from)
        .filter(|address| !address.is_unicast_link_local())
        .map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            Local:\n     |-- 127.0.0.0\n        /8 host LOCAL\n        |-- 127.0.0.1\n\
            \x20          /32 host LOCAL\n           |-- 127.255.255.255\n\
            \x20             /32 link BROADCAST\n        |-- 192.0.2.2\n           /32 host LOCAL\n";
        let texts = |all: BTreeSet<IpAddr>| all.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(texts(in_fib_trie(trie)), ["127.0.0.1", "192.0.2.2"]);
        let lines = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
            00000000000000000000000000000001 01 80 10 80       lo\nodd\n";
        assert_eq!(texts(in_if_inet6(lines).collect()), ["::1"]);
        assert!(of_host().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
