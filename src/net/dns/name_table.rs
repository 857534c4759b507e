//! Table of the names of one network: kept in memory by a directory, and made anew when its source changes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::directory::ReverseName;

/// Names and addresses of one network. Several members may share a name, which then has all their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, String>,
    subnets: Vec<LocalSubnet>,
}

/// Addresses that no server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalSubnet {
    address: IpAddr,
    prefix: u8,
}

impl LocalSubnet {
    fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
        self.address.is_ipv4() == address.is_ipv4()
            && (bits(self.address) ^ bits(address)) & mask == 0
    }
}

impl NameTable {
    /// Adds a member with all its names; the first one is the name of its addresses.
    pub fn add_member<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        addresses: &[IpAddr],
    ) {
        let names: Vec<_> = names.into_iter().map(normalized).collect();
        for (name, address) in
            names.iter().take(1).flat_map(|name| addresses.iter().map(move |one| (name, one)))
        {
            self.names.entry(*address).or_insert_with(|| name.clone());
        }
        for name in names {
            self.add(&name, addresses);
        }
    }

    /// Adds addresses to a name, such as the host's. The addresses have no name by this.
    pub fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        let known = self.addresses.entry(normalized(name)).or_default();
        for address in addresses {
            if !known.contains(address) {
                known.push(*address);
            }
        }
    }

    /// Adds a subnet, by any address in it and the length of its prefix in bits.
    pub fn add_subnet(&mut self, address: IpAddr, prefix: u8) {
        self.subnets.push(LocalSubnet { address, prefix });
    }

    /// Returns the addresses of a name, in either case, with or without a dot at its end.
    pub fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        self.addresses.get(&normalized(name)).map(Vec::as_slice)
    }

    /// Returns the name of an address.
    pub fn name_of(&self, address: IpAddr) -> ReverseName {
        match self.names.get(&address) {
            Some(name) => ReverseName::Known(name.clone()),
            None if self.subnets.iter().any(|subnet| subnet.contains(address)) => {
                ReverseName::Unknown
            }
            None => ReverseName::Foreign,
        }
    }
}

fn normalized(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_shared_name_has_all_addresses_and_each_address_its_first_name() {
        let mut table = NameTable::default();
        table.add_member(["web1", "Web", "abc123"], &[ip("10.89.0.2"), ip("fd00::2")]);
        table.add_member(["web2", "web"], &[ip("10.89.0.3")]);
        table.add("host.docker.internal", &[ip("10.89.0.1")]);
        assert_eq!(
            table.addresses("WEB.").unwrap(),
            [ip("10.89.0.2"), ip("fd00::2"), ip("10.89.0.3")]
        );
        assert_eq!(table.addresses("abc123").unwrap().len(), 2);
        assert_eq!(table.addresses("we"), None);
        assert_eq!(table.name_of(ip("fd00::2")), ReverseName::Known("web1".into()));
        assert_eq!(table.name_of(ip("10.89.0.1")), ReverseName::Foreign);
    }

    #[test]
    fn addresses_of_a_subnet_are_local() {
        let mut table = NameTable::default();
        table.add_subnet(ip("10.89.4.1"), 22);
        table.add_subnet(ip("fd00:1::1"), 64);
        for local in ["10.89.4.0", "10.89.7.255", "fd00:1::ffff"] {
            assert_eq!(table.name_of(ip(local)), ReverseName::Unknown, "{local}");
        }
        for foreign in ["10.89.8.0", "10.89.3.255", "fd00:1:0:1::1", "::10.89.4.1"] {
            assert_eq!(table.name_of(ip(foreign)), ReverseName::Foreign, "{foreign}");
        }
        table.add_subnet(ip("10.0.0.0"), 0);
        assert_eq!(table.name_of(ip("1.1.1.1")), ReverseName::Unknown);
        assert_eq!(table.name_of(ip("::1")), ReverseName::Foreign);
    }
}
