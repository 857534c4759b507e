//! Ports of the filters `publish` and `expose`: `80`, `80/udp`, `8000-8010/tcp`.

use std::str::FromStr;

use crate::forward::Forward;

/// Range of ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a port is PORT[-PORT][/tcp|udp|sctp]".to_owned();
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = (port(first).ok_or_else(wrong)?, port(last).ok_or_else(wrong)?);
        let protocol = protocol.to_ascii_lowercase();
        match first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            true => Ok(Self { first, last, protocol }),
            false => Err(wrong()),
        }
    }
}

impl Ports {
    fn has(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }

    /// True if a host port published for the container is in the range.
    pub(super) fn have_host_port(&self, forwards: &[Forward]) -> bool {
        forwards.iter().any(|forward| self.has_end(&forward.container_end(), forward.host_port))
    }

    /// True if a published or exposed port is in the range.
    pub(super) fn have_container_port(&self, forwards: &[Forward], exposed: &[String]) -> bool {
        let published = forwards.iter().map(Forward::container_end);
        published.chain(exposed.iter().cloned()).any(|end| {
            let port = end.split('/').next().and_then(|port| port.parse().ok());
            port.is_some_and(|port| self.has_end(&end, port))
        })
    }

    /// True if `port` is in the range, with the protocol of `end` (`80/tcp`).
    fn has_end(&self, end: &str, port: u16) -> bool {
        self.has(port, end.split_once('/').map_or("tcp", |(_, protocol)| protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_ranges_of_a_protocol() {
        let ports = |text: &str| text.parse::<Ports>();
        assert!(ports("80").unwrap().has(80, "tcp") && !ports("80").unwrap().has(80, "udp"));
        assert!(ports("8000-8010/udp").unwrap().has(8005, "udp"));
        assert!(!ports("8000-8010/udp").unwrap().has(8011, "udp"));
        for wrong in ["", "0", "x", "80/icmp", "2-1", "70000", "80-"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        let exposed = ["53/udp".to_owned()];
        assert!(ports("53/udp").unwrap().have_container_port(&[], &exposed));
        assert!(!ports("53").unwrap().have_container_port(&[], &exposed));
    }
}
