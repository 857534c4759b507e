//! `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use super::{Addresses, Mode, Resolver};
use crate::error::{Context, Error, Result, Setting};
use crate::host_entry::HostEntry;

/// Lines of localhost.
const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// docker's and podman's names for the host.
const HOST_NAMES: &str = "host.docker.internal host.containers.internal";
/// Number of name servers that the C library asks (resolv.h, MAXNS).
const MOST_SERVERS: usize = 3;

/// Builds the lines of hosts(5). Errors: a line for the host, when the host has no address.
pub(super) fn hosts(
    mode: Mode,
    base: Option<&str>,
    lines: &[HostEntry],
    hostname: &str,
    addresses: Option<&Addresses>,
) -> Result<String> {
    let mut text = match (base, mode) {
        (Some(base), _) => base.to_owned(),
        (None, Mode::Host) => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        (None, _) => LOCALHOST.to_owned(),
    };
    let mut words = text.lines().flat_map(|line| {
        line.split('#').next().unwrap_or_default().split_ascii_whitespace().skip(1)
    });
    if base.is_some() && !words.any(|word| word == "localhost") {
        text.insert_str(0, LOCALHOST);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let host = match mode {
        Mode::Host => Some(Ipv4Addr::LOCALHOST.into()),
        Mode::Helper | Mode::Named => address_of_host(),
        Mode::None | Mode::Joined => None,
    };
    for line in lines {
        let Some(address) = line.address.or(host) else {
            return Err(Error::invalid("the host has no address"))
                .context(|| Setting::AddHost.with(&line.name));
        };
        let _ = writeln!(text, "{address}\t{}", line.name);
    }
    if let (Some(host), Mode::Helper | Mode::Named) = (host, mode) {
        let _ = writeln!(text, "{host}\t{HOST_NAMES}");
    }
    match (mode, addresses) {
        // The lines of named networks are added when they are joined.
        (Mode::Host | Mode::Named, _) => {}
        (_, Some(addresses)) => {
            let _ = writeln!(text, "{}\t{}", addresses.container(), names_of(hostname));
        }
        (_, None) => {
            let _ = writeln!(text, "127.0.0.1\t{}", names_of(hostname));
        }
    }
    Ok(text)
}

/// Joins a host name with its domain, and without: `hostname -f` and `hostname -s` look for these.
pub(super) fn names_of(hostname: &str) -> String {
    match hostname.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{hostname} {short}"),
        _ => hostname.to_owned(),
    }
}

/// Returns the host's address on the default route. No packet is sent: the kernel only looks up the route.
pub(super) fn address_of_host() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // In TEST-NET-3 (RFC 5737), which belongs to nobody.
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Name servers that a container asks without options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameServers {
    /// Servers of the host.
    Host,
    /// The helper, which asks the host's, and the host's that are reachable.
    Helper(IpAddr),
    /// Gateways of named networks. They know names that no other server knows, so no other is asked, and servers of
    /// the container's own are asked by them.
    Gateways(Vec<IpAddr>),
}

/// Builds the lines of resolv.conf(5): from the options, else the host's. The host's name server is asked through the
/// helper.
pub(super) fn resolv_conf(resolver: &Resolver, servers: &NameServers) -> String {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    resolv_conf_over(&host, resolver, servers)
}

fn resolv_conf_over(host: &str, resolver: &Resolver, default: &NameServers) -> String {
    let all = |key: &str| -> Vec<&str> {
        let lines = host.lines().map(str::split_whitespace);
        lines.filter_map(|mut words| (words.next()? == key).then_some(words)).flatten().collect()
    };
    let of_host = || all("nameserver").into_iter().filter_map(|server| server.parse().ok());
    let mut servers = match default {
        NameServers::Gateways(gateways) => gateways.clone(),
        _ if !resolver.servers.is_empty() => resolver.servers.clone(),
        NameServers::Host => of_host().collect(),
        // A server on the loopback device is unreachable, except on the host's network.
        NameServers::Helper(helper) => {
            let far = of_host().filter(|server: &IpAddr| !server.is_loopback());
            [*helper].into_iter().chain(far).collect()
        }
    };
    if resolver.servers.is_empty() {
        servers.truncate(MOST_SERVERS);
    }
    let said_or = |said: &[String], of_host: Vec<&str>| -> Vec<String> {
        match said {
            [] => of_host.into_iter().map(str::to_owned).collect(),
            [one] if one == "." => Vec::new(),
            said => said.to_vec(),
        }
    };
    // The last line counts (resolv.conf(5)); domain is its old form.
    let last = |key: &str| {
        let mut lines = host.lines().rev().map(str::split_whitespace);
        lines.find_map(|mut words| (words.next()? == key).then(|| words.collect::<Vec<_>>()))
    };
    let search =
        said_or(&resolver.search, last("search").or_else(|| last("domain")).unwrap_or_default());
    let options = said_or(&resolver.options, all("options"));
    let mut text = String::new();
    for (key, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{key} {}", words.join(" "));
        }
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# by hand\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\noptions edns0 trust-ad\nsearch a.org\nsearch b.org c.org\n";

    #[test]
    fn what_is_not_said_is_the_hosts() {
        let inside = NameServers::Helper(Addresses::default().resolver().into());
        let text = resolv_conf_over(HOST, &Resolver::default(), &inside);
        assert_eq!(
            text,
            "search b.org c.org\noptions edns0 trust-ad\nnameserver 10.0.2.3\nnameserver 9.9.9.9\n"
        );
        let text = resolv_conf_over(HOST, &Resolver::default(), &NameServers::Host);
        assert!(text.contains("nameserver 127.0.0.53\n"), "{text}");
        let gateways = NameServers::Gateways(vec!["10.89.0.1".parse().unwrap()]);
        let text = resolv_conf_over(HOST, &Resolver::default(), &gateways);
        assert!(text.ends_with("trust-ad\nnameserver 10.89.0.1\n"), "{text}");
    }

    #[test]
    fn what_is_said_counts() {
        let resolver = Resolver {
            servers: vec!["1.1.1.1".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:2".into()],
        };
        let helper = NameServers::Helper(Addresses::default().resolver().into());
        let text = resolv_conf_over(HOST, &resolver, &helper);
        assert_eq!(text, "options ndots:2\nnameserver 1.1.1.1\n");
        // Servers of the container's own are asked by the gateway.
        let gateways = NameServers::Gateways(vec!["10.89.0.1".parse().unwrap()]);
        let text = resolv_conf_over(HOST, &resolver, &gateways);
        assert_eq!(text, "options ndots:2\nnameserver 10.89.0.1\n");
    }

    #[test]
    fn a_container_knows_itself_and_the_names_that_were_added() {
        let lines = ["db:10.1.1.1".parse().unwrap()];
        let text = hosts(Mode::Helper, None, &lines, "box", Some(&Addresses::default())).unwrap();
        assert!(text.contains("10.1.1.1\tdb\n") && text.ends_with("10.0.2.100\tbox\n"), "{text}");
        let text = hosts(Mode::None, None, &[], "box.example.org", None).unwrap();
        assert!(text.contains("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("127.0.0.1\tbox.example.org box\n"), "{text}");
        let up = ["up:host-gateway".parse().unwrap()];
        assert!(hosts(Mode::None, None, &up, "box", None).is_err());
    }
}
