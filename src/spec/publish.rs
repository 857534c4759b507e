//! `--publish [[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]`, `--publish published=PORT,target=PORT[,protocol=PROTOCOL]`,
//! `--expose PORT[/PROTOCOL]`: docker's syntax, ranges included.

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

/// Value of `--publish`: one port in docker's long form, or several ports between commas, as in podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishValue(pub Vec<PublishedPorts>);

impl FromStr for PublishValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('=') {
            true => Ok(Self(vec![text.parse()?])),
            false => text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self),
        }
    }
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
        if text.contains('=') {
            let short = short_form(text)?;
            return Ok(Self { text: text.to_owned(), ..short.parse()? });
        }
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
            return Err(format!(
                "there are not as many ports of the host ({}) as of the container ({})",
                host_ports.len(),
                container.ports.len()
            ));
        }
        Ok(Self { text: text.to_owned(), host, host_ports, container })
    }
}

/// Converts docker's long form to the short one. `mode` is for swarms: its values mean the same for one machine.
fn short_form(text: &str) -> Result<String, String> {
    let (mut address, mut published, mut target, mut protocol) = ("", "", None, "tcp");
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("'{field}' is no field such as target=80"))?;
        match key {
            "published" => published = value,
            "target" => target = Some(value),
            "protocol" => protocol = value,
            "host_ip" => address = value,
            "mode" if ["host", "ingress"].contains(&value) => {}
            _ => {
                return Err(format!(
                    "'{field}' is none of its fields (published, target, protocol, host_ip)"
                ));
            }
        }
    }
    let target = target.ok_or("the long form needs target=PORT")?;
    let address = match address.contains(':') && !address.starts_with('[') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    Ok(format!("{address}:{published}:{target}/{protocol}"))
}

/// Parses an address; an IPv4 address in an IPv6 one is that IPv4 address.
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
    Ok(Some(address.to_canonical()))
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
    fn ports_that_docker_accepts_are_accepted() {
        use Protocol::{Tcp, Udp};
        let local = || Some("127.0.0.1".to_owned());
        assert_eq!(parsed("80"), (None, None, 80..=80, Tcp));
        assert_eq!(parsed("8080:80"), (None, Some(8080..=8080), 80..=80, Tcp));
        assert_eq!(parsed("127.0.0.1:8080:80/udp"), (local(), Some(8080..=8080), 80..=80, Udp));
        assert_eq!(parsed("127.0.0.1::80"), (local(), None, 80..=80, Tcp));
        let (v4, v6) = (|| Some("0.0.0.0".to_owned()), || Some("::".to_owned()));
        assert_eq!(parsed("0.0.0.0:0:80/TCP"), (v4(), None, 80..=80, Tcp));
        assert_eq!(parsed("[::]::80"), (v6(), None, 80..=80, Tcp));
        assert_eq!(parsed(":8080:80"), (None, Some(8080..=8080), 80..=80, Tcp));
        assert_eq!(parsed("[::ffff:127.0.0.1]:1:2"), (local(), Some(1..=1), 2..=2, Tcp));
        assert_eq!(parsed("published=8080,target=80"), parsed("8080:80"));
        assert_eq!(parsed("target=53,protocol=udp,mode=host"), parsed("53/udp"));
        assert_eq!(parsed("host_ip=::1,published=8-9,target=1-2"), parsed("[::1]:8-9:1-2"));
        assert_eq!(parsed("[::1]:53:53"), (Some("::1".into()), Some(53..=53), 53..=53, Tcp));
        assert_eq!(parsed("8000-8002:80-82"), (None, Some(8000..=8002), 80..=82, Tcp));
        assert_eq!(parsed("8000-9000:80"), (None, Some(8000..=9000), 80..=80, Tcp));
        assert_eq!(parsed("80-82"), (None, None, 80..=82, Tcp));
    }

    #[test]
    fn commas_part_ports_in_the_short_form_alone() {
        let texts = |text: &str| {
            let PublishValue(all) = text.parse().unwrap();
            all.into_iter().map(|one| one.text).collect::<Vec<_>>()
        };
        assert_eq!(texts("80,81:82/udp"), ["80", "81:82/udp"]);
        assert_eq!(texts("target=80,published=81"), ["target=80,published=81"]);
        assert!("80,,81".parse::<PublishValue>().is_err());
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
            "published=80",
            "target=0",
            "target=80,protocol=sctp",
            "target=80,mode=other",
            "target=80,x",
            "target=80:90",
            " 80",
        ] {
            assert!(text.parse::<PublishedPorts>().is_err(), "{text}");
        }
    }
}
