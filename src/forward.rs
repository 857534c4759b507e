//! Published ports: ports of the host that lead into a container. Shared by `--publish`, by the helper that listens,
//! and by commands that list the ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// tcp(7)
    Tcp,
    /// udp(7)
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err("sctp is not forwarded: neither pasta nor slirp4netns carries it".into()),
            _ => Err(format!("'{text}' is neither tcp nor udp")),
        }
    }
}

/// Published port of the host, with its port in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Forward {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port in the container.
    pub port: u16,
    /// Address of the host; `None`: all its addresses.
    #[serde(default)]
    pub host: Option<IpAddr>,
    /// Port of the host.
    pub host_port: u16,
}

impl Forward {
    /// Address of the host, as shown and listened on.
    pub fn address(&self) -> IpAddr {
        self.host.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }

    /// Addresses of the host at which a helper listens, if it can: docker's two for a port without an address.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self.host {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }

    /// True if two helpers could not listen at both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| {
            let is_covered = |address: IpAddr| match one.host {
                None => true,
                Some(own) if own.is_unspecified() => own.is_ipv4() == address.is_ipv4(),
                Some(own) => own == address,
            };
            other.addresses().into_iter().any(is_covered)
        };
        (self.protocol, self.host_port) == (other.protocol, other.host_port)
            && (covers(self, other) || covers(other, self))
    }

    /// End at the host, such as `0.0.0.0:8080` or `[::1]:8080`.
    pub fn host_end(&self) -> String {
        std::net::SocketAddr::new(self.address(), self.host_port).to_string()
    }

    /// End in the container, such as `80/tcp`.
    pub fn container_end(&self) -> String {
        format!("{}/{}", self.port, self.protocol)
    }
}

/// Sorts ports, and returns the first and the last one of each run of consecutive ones at one address.
pub fn ranges(mut forwards: Vec<Forward>) -> Vec<(Forward, Forward)> {
    forwards.sort_by_key(|forward| {
        (forward.protocol, forward.address(), forward.port, forward.host_port)
    });
    let mut ranges: Vec<(Forward, Forward)> = Vec::new();
    for forward in forwards {
        match ranges.last_mut() {
            Some((_, last))
                if last.protocol == forward.protocol
                    && last.host == forward.host
                    && last.port.checked_add(1) == Some(forward.port)
                    && last.host_port.checked_add(1) == Some(forward.host_port) =>
            {
                *last = forward;
            }
            _ => ranges.push((forward, forward)),
        }
    }
    ranges
}

/// Formats ports: `0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9002->9000-9002/tcp`, with consecutive ones as a range
/// (podman's).
pub fn shown(forwards: &[Forward]) -> String {
    let range = |first: u16, last: u16| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let line = |(first, last): &(Forward, Forward)| {
        let host = match first.address() {
            IpAddr::V6(address) => format!("[{address}]"),
            address => address.to_string(),
        };
        let host_ports = range(first.host_port, last.host_port);
        format!("{host}:{host_ports}->{}/{}", range(first.port, last.port), first.protocol)
    };
    ranges(forwards.to_vec()).iter().map(line).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_overlap_where_their_addresses_do() {
        let at = |host: Option<&str>| Forward {
            protocol: Protocol::Tcp,
            port: 80,
            host: host.map(|host| host.parse().unwrap()),
            host_port: 8080,
        };
        for (one, other, is_same) in [
            (None, None, true),
            (None, Some("::1"), true),
            (Some("0.0.0.0"), Some("127.0.0.1"), true),
            (Some("0.0.0.0"), Some("::1"), false),
            (Some("0.0.0.0"), Some("::"), false),
            (Some("::"), Some("::1"), true),
            (Some("127.0.0.1"), Some("127.0.0.2"), false),
        ] {
            assert_eq!(at(one).overlaps(&at(other)), is_same, "{one:?} {other:?}");
            assert_eq!(at(other).overlaps(&at(one)), is_same, "{other:?} {one:?}");
        }
        assert!(!at(None).overlaps(&Forward { protocol: Protocol::Udp, ..at(None) }));
        assert!("sctp".parse::<Protocol>().unwrap_err().contains("slirp4netns"));
    }

    #[test]
    fn neighbours_are_shown_as_ranges() {
        let tcp =
            |host_port, port| Forward { protocol: Protocol::Tcp, port, host: None, host_port };
        let six = Forward { host: Some("::1".parse().unwrap()), ..tcp(53, 53) };
        let all = [
            tcp(8081, 81),
            tcp(8080, 80),
            tcp(9000, 82),
            Forward { protocol: Protocol::Udp, ..six },
        ];
        assert_eq!(
            shown(&all),
            "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:9000->82/tcp, [::1]:53->53/udp"
        );
        assert_eq!(shown(&[tcp(1, 65535)]), "0.0.0.0:1->65535/tcp");
        assert_eq!(shown(&[]), "");
    }
}
