//! Addresses in the container's network: its gateway, its resolver, and the container's own.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::IpNet;

use super::definition::NetworkDefinition;
use super::ipam::overlap;

/// IPv4 network of at least 128 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    network: Ipv4Addr,
    /// Length of the network prefix in bits.
    pub prefix: u8,
}

impl Default for Addresses {
    /// slirp4netns's network, as in QEMU from its beginnings.
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 0, 2, 0), prefix: 24 }
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address = address.parse::<Ipv4Addr>().ok()?;
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| (8..=25).contains(prefix))?;
            let host_bits = u32::MAX >> prefix;
            (u32::from(address) & host_bits == 0).then_some(Self { network: address, prefix })
        };
        parse().ok_or_else(|| {
            format!(
                "'{text}' is no network such as 10.0.2.0/24 (with /8 to /25, its first address)"
            )
        })
    }
}

impl Addresses {
    fn number(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + number)
    }

    /// Address of the gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.number(2)
    }

    /// Address of the resolver, which forwards to the host's name server.
    pub fn resolver(&self) -> Ipv4Addr {
        self.number(3)
    }

    /// Address of the container.
    pub fn container(&self) -> Ipv4Addr {
        self.number(100)
    }

    /// Returns the default addresses, or ones like them that no subnet of `networks` has.
    pub fn beside(networks: &[NetworkDefinition]) -> Self {
        let subnets = || networks.iter().flat_map(|network| &network.subnets);
        let is_free = |candidate: &Self| {
            let own = ipnet::Ipv4Net::new(candidate.network, candidate.prefix).map(IpNet::V4);
            own.is_ok_and(|own| !subnets().any(|subnet| overlap(&subnet.prefix, &own)))
        };
        let of = |first, second| Self { network: Ipv4Addr::new(first, second, 2, 0), prefix: 24 };
        let mut candidates =
            (0..=255).map(|number| of(10, number)).chain((16..32).map(|number| of(172, number)));
        candidates.find(is_free).unwrap_or_default()
    }

    /// The network in the form of `cidr=`.
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.network, self.prefix)
    }

    /// Netmask, such as `255.255.255.0`.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(!(u32::MAX >> self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_usual_numbers() {
        let addresses: Addresses = "172.20.0.0/16".parse().unwrap();
        assert_eq!(addresses.container().to_string(), "172.20.0.100");
        assert_eq!(addresses.gateway().to_string(), "172.20.0.2");
        assert_eq!(addresses.mask().to_string(), "255.255.0.0");
        assert_eq!(Addresses::default().cidr().parse(), Ok(Addresses::default()));
        for text in ["10.0.2.0", "10.0.2.1/24", "10.0.2.0/26", "x/24", "10.0.2.0/7", ""] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
    }
}
