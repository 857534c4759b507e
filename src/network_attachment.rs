//! Attachment of a container to a named network: `--network NAME[:KEY=VALUE,...]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of an interface in bytes (IFNAMSIZ without its NUL; netdevice(7)).
const INTERFACE_NAME: usize = 15;

/// Attachment of a container to a named network, with the addresses and names that the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// Name of the network.
    pub network: String,
    /// IPv4 address; `None`: the next free one.
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address; `None`: the next free one, on a network with IPv6.
    pub ip6: Option<Ipv6Addr>,
    /// Hardware address; `None`: one made of the container's ID.
    pub mac: Option<MacAddress>,
    /// Additional names of the container on this network.
    pub aliases: Vec<String>,
    /// Name of the interface in the container; `None`: the next of eth0, eth1, ...
    pub interface: Option<String>,
}

/// Hardware address of an Ethernet interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = String;

    /// Reads six hexadecimal bytes, separated by colons or hyphens. Errors: a multicast address, or all zeroes, which
    /// no interface can have.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text
            .split([':', '-'])
            .map(|byte| (byte.len() == 2).then(|| u8::from_str_radix(byte, 16).ok())?)
            .collect();
        let address = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        match address {
            Some(bytes) if bytes[0] & 1 == 0 && bytes != [0; 6] => Ok(Self(bytes)),
            _ => Err(format!("'{text}' is no hardware address such as 92:d0:c6:0a:29:33")),
        }
    }
}

impl Serialize for MacAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl NetworkAttachment {
    /// Attachment to the network `name` without requests.
    pub fn to(name: &str) -> Self {
        Self { network: name.to_owned(), ..Self::default() }
    }

    /// Adds an option of podman's (`ip=`) or docker's list. Errors: an unknown key, or a malformed value.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let address =
            || value.parse::<IpAddr>().map_err(|_| format!("{key}={value}: not an address"));
        match key {
            // podman's `ip` takes both families.
            "ip" | "ip6" => match address()? {
                IpAddr::V4(address) if key == "ip" => self.ip = Some(address),
                IpAddr::V6(address) => self.ip6 = Some(address),
                IpAddr::V4(_) => return Err(format!("{key}={value}: not an IPv6 address")),
            },
            "mac" | "mac-address" => self.mac = Some(value.parse()?),
            "alias" => self.aliases.push(checked_host_name(value)?),
            "interface_name" => self.interface = Some(checked_interface(value)?),
            _ => {
                return Err(format!(
                    "'{key}' is no option of a network: ip, ip6, mac, alias, interface_name"
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for NetworkAttachment {
    type Err = String;

    /// Reads podman's `NAME[:KEY=VALUE,...]` and docker's `name=NAME[,KEY=VALUE...]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut attachment = Self::default();
        let options = match text.split_once(':') {
            _ if text.starts_with("name=") || text.contains(",name=") => text,
            Some((name, options)) => {
                attachment.network = name.to_owned();
                options
            }
            None => {
                attachment.network = text.to_owned();
                ""
            }
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let Some((key, value)) = option.split_once('=') else {
                return Err(format!("'{option}' is not KEY=VALUE"));
            };
            match key {
                "name" if attachment.network.is_empty() => attachment.network = value.to_owned(),
                _ => attachment.set(key, value)?,
            }
        }
        if !is_network_name(&attachment.network) {
            return Err(format!("'{}' is not the name of a network", attachment.network));
        }
        Ok(attachment)
    }
}

/// True if a network may have this name or ID: docker's rule.
fn is_network_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.len() <= 128
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(is_inner)
}

/// Returns `name` if it can be asked for in DNS: labels of at most 63 bytes (RFC 1035), and underscores, as docker has.
pub fn checked_host_name(name: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(is_inner)
    };
    match name.len() <= 253 && name.split('.').all(is_label) {
        true => Ok(name.to_owned()),
        false => Err(format!("'{name}' is not a host name")),
    }
}

fn checked_interface(name: &str) -> Result<String, String> {
    let is_valid = (1..=INTERFACE_NAME).contains(&name.len())
        && !matches!(name, "." | ".." | "lo" | "all" | "default")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
    match is_valid {
        true => Ok(name.to_owned()),
        false => Err(format!("'{name}' is not the name of an interface")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_syntaxes_name_the_network_and_its_requests() {
        let podman: NetworkAttachment =
            "net1:ip=10.89.0.7,ip=fd00::7,mac=02:42:ac:11:00:02,alias=db,alias=db2,interface_name=x0"
                .parse()
                .unwrap();
        let docker: NetworkAttachment =
            "name=net1,ip=10.89.0.7,ip6=fd00::7,mac-address=02-42-AC-11-00-02,alias=db,alias=db2,interface_name=x0"
                .parse()
                .unwrap();
        assert_eq!(podman, docker);
        assert_eq!(podman.aliases, ["db", "db2"]);
        assert_eq!("a.b-c_d".parse(), Ok(NetworkAttachment::to("a.b-c_d")));
        for text in [
            "",
            ":ip=10.0.0.1",
            "-x",
            "a/b",
            "a:ip",
            "a:ip=x",
            "a:ip6=10.0.0.1",
            "a:mac=1",
            "a:alias=",
            "a:alias=x y",
            "a:interface_name=lo",
            "a:interface_name=0123456789abcdef",
            "a:x=1",
            "ip=10.0.0.1",
            "a:mac=01:00:00:00:00:00",
            "a:mac=00:00:00:00:00:00",
            "name=a,name=b",
        ] {
            assert!(text.parse::<NetworkAttachment>().is_err(), "{text}");
        }
    }

    #[test]
    fn host_names_fit_dns() {
        for name in ["a", "web-1", "_x", "a.b.c", "1"] {
            assert!(checked_host_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "a..b", "a b", "a.", &"a".repeat(64), &["abcdefg"; 32].join(".")] {
            assert!(checked_host_name(name).is_err(), "{name}");
        }
    }
}
