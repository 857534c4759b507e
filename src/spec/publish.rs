//! `--publish [[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]`, `--expose PORT[/PROTOCOL]`: docker's syntax, ranges included.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::forward::Protocol;

/// Ports that a program listens on, from an image or from `--expose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPorts {
    /// Range of port numbers.
    pub ports: RangeInclusive<u16>,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Parsed value of `--publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPorts {
    /// The value as typed.
    pub text: String,
    /// Address of the host; `None`: all its addresses.
    pub host: Option<IpAddr>,
    /// Ports of the host: as many as the container's, or a range for a single one of them. `None`: any free port.
    pub host_ports: Option<RangeInclusive<u16>>,
    /// Ports of the container.
    pub container: ExposedPorts,
}

impl FromStr for ExposedPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        Ok(Self { ports: range(ports)?, protocol })
    }
}

impl FromStr for PublishedPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (before, container) = match text.rsplit_once(':') {
            Some((before, container)) => (Some(before), container),
            None => (None, text),
        };
        let (host, host_ports) = match before {
            None => (None, ""),
            Some(before) => match before.rsplit_once(':') {
                Some((address, ports)) => (address_of(address)?, ports),
                None => (None, before),
            },
        };
        let container: ExposedPorts = container.parse()?;
        let host_ports = match host_ports {
            "" | "0" => None,
            ports => Some(range(ports)?),
        };
        if let Some(host_ports) = &host_ports
            && host_ports.len() != container.ports.len()
            && container.ports.len() != 1
        {
            return Err("there are not as many ports of the host as of the container".into());
        }
        Ok(Self { text: text.to_owned(), host, host_ports, container })
    }
}

/// Parses an address. All addresses of a family count as all of the host: a listener at one family listens at the other
/// (docker's rule).
fn address_of(text: &str) -> Result<Option<IpAddr>, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    let address: IpAddr =
        bare.parse().map_err(|_| format!("'{text}' is no address of a host (IP numbers alone)"))?;
    if address.is_ipv6() && bare == text {
        return Err(format!("an IPv6 address stands in brackets: [{text}]"));
    }
    Ok(Some(address).filter(|address| *address != IpAddr::from([0, 0, 0, 0])))
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| format!("'{text}' is no port: it is a number from 1 to 65535"))
    };
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            match first <= last {
                true => Ok(first..=last),
                false => Err(format!("'{text}' ends before it begins")),
            }
        }
        None => port(text).map(|port| port..=port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(
        text: &str,
    ) -> (Option<String>, Option<RangeInclusive<u16>>, RangeInclusive<u16>, Protocol) {
        let publish: PublishedPorts = text.parse().unwrap();
        let host = publish.host.map(|host| host.to_string());
        (host, publish.host_ports, publish.container.ports, publish.container.protocol)
    }

    #[test]
    fn what_docker_takes_is_taken() {
        use Protocol::{Tcp, Udp};
        let local = || Some("127.0.0.1".to_owned());
        assert_eq!(parsed("80"), (None, None, 80..=80, Tcp));
        assert_eq!(parsed("8080:80"), (None, Some(8080..=8080), 80..=80, Tcp));
        assert_eq!(parsed("127.0.0.1:8080:80/udp"), (local(), Some(8080..=8080), 80..=80, Udp));
        assert_eq!(parsed("127.0.0.1::80"), (local(), None, 80..=80, Tcp));
        assert_eq!(parsed("0.0.0.0:0:80/TCP"), (None, None, 80..=80, Tcp));
        assert_eq!(parsed("[::1]:53:53"), (Some("::1".into()), Some(53..=53), 53..=53, Tcp));
        assert_eq!(parsed("8000-8002:80-82"), (None, Some(8000..=8002), 80..=82, Tcp));
        assert_eq!(parsed("8000-9000:80"), (None, Some(8000..=9000), 80..=80, Tcp));
        assert_eq!(parsed("80-82"), (None, None, 80..=82, Tcp));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "0",
            "65536",
            "80/sctp",
            "80/",
            "a:80",
            "localhost:80:80",
            "::1:80:80",
            "2-1",
            "1-3:1-2",
            "80:",
            "+80",
            "-",
            "1:2:3:4",
            "80:80:80",
            "1-2-3",
            " 80",
        ] {
            assert!(text.parse::<PublishedPorts>().is_err(), "{text}");
        }
    }
}
