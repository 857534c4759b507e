//! Value of the option for DNS servers.

use std::net::IpAddr;
use std::str::FromStr;

/// DNS server, as the option names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsServer {
    /// Server at an address.
    Address(IpAddr),
    /// No /etc/resolv.conf of the container's own (`none`, as podman's).
    None,
}

impl DnsServer {
    /// Returns the address, if the option names one.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::None => None,
        }
    }
}

impl FromStr for DnsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            address => address
                .parse()
                .map(Self::Address)
                .map_err(|_| "expected an IP address or none".to_owned()),
        }
    }
}
