//! Destinations of the host's routes, from proc_net(5).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Returns the destinations of all routes of this network namespace, default routes aside.
pub fn destinations() -> Vec<IpNet> {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let mut all = in_route(&read("route"));
    all.extend(in_ipv6_route(&read("ipv6_route")));
    all
}

/// True if the host has a default route for IPv4.
pub fn has_default() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    // Destination and mask of the routes that are up (proc_net(5)).
    routes.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        words.nth(1) == Some("00000000") && words.nth(5) == Some("00000000")
    })
}

/// Destinations in the text of /proc/net/route: numbers in hexadecimal as they lie in memory.
fn in_route(text: &str) -> Vec<IpNet> {
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    let destination = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = Ipv4Addr::from(number(words.get(1)?)?.to_ne_bytes());
        let mask = Ipv4Addr::from(number(words.get(7)?)?.to_ne_bytes());
        let net = Ipv4Net::with_netmask(address, mask).ok()?;
        (net.prefix_len() > 0).then_some(IpNet::V4(net))
    };
    text.lines().skip(1).filter_map(destination).collect()
}

/// Destinations in the text of /proc/net/ipv6_route, without the loopback interface's, multicast and link-local ones.
fn in_ipv6_route(text: &str) -> Vec<IpNet> {
    let destination = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let prefix = u8::from_str_radix(words.next()?, 16).ok()?;
        let address = Ipv6Addr::from(address);
        let is_far = !(address.is_loopback()
            || address.is_multicast()
            || address.is_unicast_link_local()
            || prefix == 0);
        is_far.then(|| Ipv6Net::new(address, prefix).ok().map(IpNet::V6)).flatten()
    };
    text.lines().filter_map(destination).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn routes_are_read_without_the_default_one() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
            tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\nodd\n";
        let found: Vec<String> = in_route(text).iter().map(IpNet::to_string).collect();
        assert_eq!(found, ["192.168.0.0/24", "10.0.0.0/8"]);
    }

    #[test]
    fn ipv6_routes_are_those_to_other_machines() {
        let zero = "0".repeat(32);
        let text = format!(
            "fd120000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
             00000000000000000000000000000001 80 {zero} 00 {zero} 00000000 00000003 00000000 80200001 lo\n\
             ff000000000000000000000000000000 08 {zero} 00 {zero} 00000100 00000002 00000000 00000001 eth0\n"
        );
        let found: Vec<String> = in_ipv6_route(&text).iter().map(IpNet::to_string).collect();
        assert_eq!(found, ["fd12::/64"]);
    }
}
