//! Subnets of named networks, and addresses of their members.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::fail;

/// Networks of the helpers inside of each container: its uplink.
const OF_HELPERS: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 2, 0), 24)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), 64)),
];

/// Networks whose addresses the kernel does not take for those of machines, or not without an interface beside them.
const SPECIAL: [IpNet; 7] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3)),
    // Unspecified, loopback, and IPv4 in IPv6.
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
];

/// Subnet of a named network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Network prefix, with no bits set behind it.
    pub prefix: IpNet,
    /// Address of the bridge, at which names are answered.
    pub gateway: IpAddr,
    /// Range of the addresses that members get unasked; `None`: all.
    #[serde(default)]
    pub range: Option<AddressRange>,
    /// Addresses that no member gets (docker's auxiliary addresses), by name.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// Range of addresses: a prefix, or FIRST-LAST as podman has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    /// First address.
    pub first: IpAddr,
    /// Last address.
    pub last: IpAddr,
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = (number(self.first) ^ number(self.last)).count_ones();
        let bits = if self.first.is_ipv4() { 32 } else { 128 };
        let prefix = IpNet::new(self.first, (bits - same).try_into().unwrap_or_default());
        match prefix {
            Ok(prefix) if (prefix.network(), prefix.broadcast()) == (self.first, self.last) => {
                prefix.fmt(f)
            }
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for AddressRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is neither a prefix such as 10.5.1.0/24 nor FIRST-LAST");
        if let Some((first, last)) = text.split_once('-') {
            let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| bad());
            let (first, last) = (parse(first)?, parse(last)?);
            let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
            return is_range.then_some(Self { first, last }).ok_or_else(bad);
        }
        let prefix: IpNet = text.parse().map_err(|_| bad())?;
        Ok(Self { first: prefix.network(), last: prefix.broadcast() })
    }
}

impl Subnet {
    /// Returns the subnet with its first address as the gateway. Errors: a prefix that is no subnet for machines.
    pub fn new(prefix: IpNet) -> Result<Self> {
        if prefix.trunc() != prefix {
            fail!(Invalid: "{prefix} has bits behind its prefix: the subnet is {}", prefix.trunc());
        }
        let longest = prefix.max_prefix_len() - 2;
        if prefix.prefix_len() > longest {
            fail!(Invalid: "{prefix} has no room for a gateway and a container: at most /{longest}");
        }
        if prefix.prefix_len() < 8 {
            fail!(Invalid: "{prefix} is no subnet of one network: at least /8");
        }
        if let Some(special) = SPECIAL.iter().find(|special| overlap(special, &prefix)) {
            fail!(Invalid: "{prefix} is in {special}, whose addresses are not for networks of containers");
        }
        let gateway = address(number(prefix.network()) + 1, &prefix);
        Ok(Self { prefix, gateway, range: None, reserved: BTreeMap::new() })
    }

    /// Addresses that machines can have.
    fn hosts(&self) -> RangeInclusive<u128> {
        let last = number(self.prefix.broadcast()) - u128::from(self.prefix.addr().is_ipv4());
        number(self.prefix.network()) + 1..=last
    }

    /// Checks an address of a member or of the gateway. Errors: the reason why no machine can have the address.
    fn check(&self, address: IpAddr) -> Result<()> {
        if !self.prefix.contains(&address) {
            fail!(Invalid: "{address} is outside of the subnet {}", self.prefix);
        }
        if address == self.prefix.network() {
            fail!(Invalid: "{address} is the address of the subnet {} itself", self.prefix);
        }
        if !self.hosts().contains(&number(address)) {
            fail!(Invalid: "{address} is the broadcast address of the subnet {}", self.prefix);
        }
        Ok(())
    }

    fn set_gateway(&mut self, gateway: IpAddr) -> Result<()> {
        self.check(gateway).context(|| "gateway")?;
        self.gateway = gateway;
        Ok(())
    }

    fn set_range(&mut self, range: AddressRange) -> Result<()> {
        if !(self.prefix.contains(&range.first) && self.prefix.contains(&range.last)) {
            fail!(Invalid: "address range {range} is outside of the subnet {}", self.prefix);
        }
        self.range = Some(range);
        Ok(())
    }
}

/// Picks the address of a new member: the asked one, else the lowest free one. `taken` are the addresses of the other
/// members. Errors: the asked address is taken, or not for members; no address is left.
pub fn allocate(
    subnet: &Subnet,
    taken: &BTreeSet<IpAddr>,
    asked: Option<IpAddr>,
) -> Result<IpAddr> {
    let of_subnet = |address: &IpAddr| {
        (*address == subnet.gateway).then(|| "the gateway's".to_owned()).or_else(|| {
            let reserved = subnet.reserved.iter().find(|(_, reserved)| *reserved == address);
            reserved.map(|(name, _)| format!("reserved for {name}"))
        })
    };
    if let Some(address) = asked {
        subnet.check(address)?;
        if let Some(owner) = of_subnet(&address) {
            fail!(Conflict: "{address} is {owner}");
        }
        if taken.contains(&address) {
            fail!(Conflict: "{address} is in use by another container of the network");
        }
        return Ok(address);
    }
    let hosts = subnet.hosts();
    let (first, last) = match &subnet.range {
        Some(range) => {
            (number(range.first).max(*hosts.start()), number(range.last).min(*hosts.end()))
        }
        None => hosts.into_inner(),
    };
    let free = (first..=last).map(|number| address(number, &subnet.prefix));
    let mut free = free.filter(|one| of_subnet(one).is_none() && !taken.contains(one));
    free.next().ok_or_else(|| {
        let place = subnet.range.map_or(subnet.prefix.to_string(), |range| range.to_string());
        Error::conflict(format!("no address is left in {place}"))
    })
}

/// Subnets that a user asks for. Gateways, ranges and reserved addresses belong to the subnet that contains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// Subnets, at most one of each family.
    pub subnets: Vec<IpNet>,
    /// Addresses of gateways.
    pub gateways: Vec<IpAddr>,
    /// Ranges of addresses of members.
    pub ranges: Vec<AddressRange>,
    /// Addresses that no member gets, by name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// Use of IPv6.
    pub ipv6: Ipv6Use,
}

/// Use of IPv6 in a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6Use {
    /// IPv6 if there is a subnet of it.
    #[default]
    AsSubnets,
    /// IPv6, with a subnet chosen at random if there is none.
    Wanted,
}

/// Network whose addresses are not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSubnet {
    /// Owner as a message names it, such as `network web`.
    pub owner: String,
    /// Addresses of the owner.
    pub prefix: IpNet,
}

/// Decides the subnets of a new network. Automatic ones overlap neither with `taken` nor with `routes`, the
/// destinations of the host's routes. Errors: an asked subnet that is taken or not valid; a gateway, a range or a
/// reserved address in no subnet; no subnet left.
pub fn subnets(
    request: &SubnetRequest,
    taken: &[TakenSubnet],
    routes: &[IpNet],
) -> Result<Vec<Subnet>> {
    let mut subnets = Vec::new();
    for prefix in &request.subnets {
        subnets.push(asked(*prefix, taken).context(|| "subnet")?);
    }
    let is_v4 = |subnet: &Subnet| subnet.prefix.addr().is_ipv4();
    // IPv4 first: sort_by_key is stable, and false goes before true.
    subnets.sort_by_key(|subnet| !is_v4(subnet));
    if let [one, other, ..] = &subnets[..]
        && (subnets.len() > 2 || is_v4(one) == is_v4(other))
    {
        fail!(Invalid: "a network has at most one subnet of IPv4 and one of IPv6");
    }
    let is_free = |prefix: &IpNet| {
        let others = taken.iter().map(|taken| &taken.prefix).chain(routes).chain(&OF_HELPERS);
        others.into_iter().all(|other| !overlap(other, prefix))
    };
    if !subnets.iter().any(is_v4) {
        subnets.insert(0, Subnet::new(automatic_v4(is_free)?)?);
    }
    if request.ipv6 == Ipv6Use::Wanted && subnets.iter().all(is_v4) {
        subnets.push(Subnet::new(automatic_v6(is_free)?)?);
    }
    assign(request, &mut subnets)?;
    Ok(subnets)
}

fn asked(prefix: IpNet, taken: &[TakenSubnet]) -> Result<Subnet> {
    let subnet = Subnet::new(prefix)?;
    if let Some(other) = taken.iter().find(|other| overlap(&other.prefix, &prefix)) {
        fail!(Conflict: "{prefix} overlaps with {} of {}", other.prefix, other.owner);
    }
    if let Some(helper) = OF_HELPERS.iter().find(|helper| overlap(helper, &prefix)) {
        fail!(Conflict: "{prefix} overlaps with {helper}, by which each container reaches other machines");
    }
    Ok(subnet)
}

/// Gives gateways, ranges and reserved addresses to the subnets that contain them.
fn assign(request: &SubnetRequest, subnets: &mut [Subnet]) -> Result<()> {
    let (mut gateways, mut ranges) = (BTreeSet::new(), BTreeSet::new());
    for gateway in &request.gateways {
        let subnet = containing(subnets, *gateway).context(|| "gateway")?;
        if !gateways.insert(subnet.prefix) {
            fail!(Invalid: "gateway {gateway}: the subnet {} has another one", subnet.prefix);
        }
        subnet.set_gateway(*gateway)?;
    }
    for range in &request.ranges {
        let subnet = containing(subnets, range.first).context(|| "address range")?;
        if !ranges.insert(subnet.prefix) {
            fail!(Invalid: "address range {range}: the subnet {} has another one", subnet.prefix);
        }
        subnet.set_range(*range)?;
    }
    for (name, address) in &request.reserved {
        let subnet = containing(subnets, *address).context(|| format!("address of {name}"))?;
        subnet.check(*address).context(|| format!("address of {name}"))?;
        if *address == subnet.gateway {
            fail!(Conflict: "address of {name}: {address} is the gateway's");
        }
        subnet.reserved.insert(name.clone(), *address);
    }
    Ok(())
}

fn containing(subnets: &mut [Subnet], address: IpAddr) -> Result<&mut Subnet> {
    let all: Vec<String> = subnets.iter().map(|subnet| subnet.prefix.to_string()).collect();
    let found = subnets.iter_mut().find(|subnet| subnet.prefix.contains(&address));
    let outside = || Error::invalid(format!("{address} is outside of {}", all.join(" and ")));
    found.ok_or_else(outside)
}

/// Picks podman's subnets in their order, 10.89.0.0/24 to 10.255.255.0/24, then 192.168.0.0/24 and up.
fn automatic_v4(is_free: impl Fn(&IpNet) -> bool) -> Result<IpNet> {
    let of_ten = (89..=255u8).flat_map(|second| (0..=255u8).map(move |third| (10, second, third)));
    let all = of_ten.chain((0..=255u8).map(|third| (192, 168, third)));
    for (first, second, third) in all {
        let prefix = IpNet::new_assert(Ipv4Addr::new(first, second, third, 0).into(), 24);
        if is_free(&prefix) {
            return Ok(prefix);
        }
    }
    fail!(Conflict: "no subnet of IPv4 is free: networks and routes of the host overlap with all of 10.89.0.0 to 10.255.255.255 and 192.168.0.0/16")
}

/// Picks a random unique local subnet (RFC 4193).
fn automatic_v6(is_free: impl Fn(&IpNet) -> bool) -> Result<IpNet> {
    for _ in 0..1000 {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes[1..8], rustix::rand::GetRandomFlags::empty())
            .context(|| "cannot get random bytes")?;
        bytes[0] = 0xfd;
        let prefix = IpNet::new_assert(Ipv6Addr::from(bytes).into(), 64);
        if is_free(&prefix) {
            return Ok(prefix);
        }
    }
    fail!(Conflict: "no subnet of IPv6 is free: routes of the host overlap with fd00::/8")
}

/// True if the networks have addresses in common.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Address with this number in the family of `prefix`.
fn address(number: u128, prefix: &IpNet) -> IpAddr {
    match (prefix, u32::try_from(number)) {
        (IpNet::V4(_), Ok(number)) => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> SubnetRequest {
        SubnetRequest {
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
            ..SubnetRequest::default()
        }
    }

    fn taken(prefixes: &[&str]) -> Vec<TakenSubnet> {
        let one = |text: &&str| TakenSubnet {
            owner: "network web".into(),
            prefix: text.parse().unwrap(),
        };
        prefixes.iter().map(one).collect()
    }

    fn shown(subnets: &[Subnet]) -> Vec<String> {
        let show = |subnet: &Subnet| format!("{} {}", subnet.prefix, subnet.gateway);
        subnets.iter().map(show).collect()
    }

    #[test]
    fn automatic_subnets_leave_out_networks_and_routes() {
        let none = SubnetRequest::default();
        let pick = |taken_ones: &[&str], routes: &[&str]| {
            let routes: Vec<IpNet> = routes.iter().map(|text| text.parse().unwrap()).collect();
            shown(&subnets(&none, &taken(taken_ones), &routes).unwrap()).join(",")
        };
        assert_eq!(pick(&[], &[]), "10.89.0.0/24 10.89.0.1");
        assert_eq!(pick(&["10.89.0.0/25"], &["10.89.1.5/32"]), "10.89.2.0/24 10.89.2.1");
        assert_eq!(pick(&[], &["10.0.0.0/8", "192.168.0.0/23"]), "192.168.2.0/24 192.168.2.1");
        let all = ["10.0.0.0/8".parse().unwrap(), "192.168.0.0/16".parse().unwrap()];
        assert!(subnets(&none, &[], &all).unwrap_err().to_string().contains("no subnet of IPv4"));
        let both = SubnetRequest { ipv6: Ipv6Use::Wanted, ..none };
        let found = subnets(&both, &[], &[]).unwrap();
        let unique_local: IpNet = "fd00::/8".parse().unwrap();
        assert!(unique_local.contains(&found[1].prefix) && found[1].prefix.prefix_len() == 64);
        let other = subnets(&both, &[], &[]).unwrap();
        assert_ne!(found[1].prefix, other[1].prefix);
        assert!(subnets(&both, &[], &[unique_local]).is_err());
    }

    #[test]
    fn gateways_and_ranges_belong_to_the_subnets_that_contain_them() {
        let asked = request(
            &["fd12::/64", "10.5.0.0/16"],
            &["10.5.0.254", "fd12::9"],
            &["10.5.1.0/24", "fd12::100-fd12::1ff"],
        );
        let found = subnets(&asked, &[], &["10.0.0.0/8".parse().unwrap()]).unwrap();
        assert_eq!(shown(&found), ["10.5.0.0/16 10.5.0.254", "fd12::/64 fd12::9"]);
        assert_eq!(found[0].range.unwrap().to_string(), "10.5.1.0/24");
        // A range that is a prefix is shown as one, as docker's documents have it.
        assert_eq!(found[1].range.unwrap().to_string(), "fd12::100/120");
        let alone = subnets(&request(&["fd12::/64"], &[], &[]), &[], &[]).unwrap();
        assert_eq!(shown(&alone), ["10.89.0.0/24 10.89.0.1", "fd12::/64 fd12::1"]);
    }

    #[test]
    fn addresses_outside_of_the_subnets_are_refused() {
        for (subnet, gateway, range, why) in [
            (&["10.5.0.1/24"][..], &[][..], &[][..], "the subnet is 10.5.0.0/24"),
            (&["10.5.0.0/31"], &[], &[], "at most /30"),
            (&["fd12::/127"], &[], &[], "at most /126"),
            (&["0.0.0.0/0"], &[], &[], "at least /8"),
            (&["127.1.0.0/16"], &[], &[], "127.0.0.0/8"),
            (&["224.1.0.0/16"], &[], &[], "224.0.0.0/3"),
            (&["fe80::/64"], &[], &[], "fe80::/10"),
            (&["10.0.0.0/16"], &[], &[], "10.0.2.0/24"),
            (&["10.88.0.0/13"], &[], &[], "overlaps with 10.90.0.0/24 of network web"),
            (&["10.90.0.128/25"], &[], &[], "overlaps"),
            (&["10.5.0.0/24", "10.6.0.0/24"], &[], &[], "at most one"),
            (&["10.5.0.0/24"], &["10.6.0.1"], &[], "10.6.0.1 is outside of 10.5.0.0/24"),
            (&["10.5.0.0/24"], &["10.5.0.0"], &[], "subnet 10.5.0.0/24 itself"),
            (&["10.5.0.0/24"], &["10.5.0.255"], &[], "broadcast"),
            (&["10.5.0.0/24"], &["10.5.0.1", "10.5.0.2"], &[], "another one"),
            (&["10.5.0.0/24"], &[], &["10.5.0.0/16"], "outside"),
            (&["10.5.0.0/24"], &[], &["10.5.0.9-10.5.1.9"], "outside"),
            (&["10.5.0.0/24"], &[], &["fd12::/64"], "outside"),
        ] {
            let error = subnets(&request(subnet, gateway, range), &taken(&["10.90.0.0/24"]), &[]);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(why), "{subnet:?}: {error}");
        }
        for text in ["", "10.5.0.0", "10.5.0.9-10.5.0.1", "10.5.0.1-fd12::1", "a-b", "10.5.0.0/33"]
        {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_member_gets_the_lowest_free_address() {
        let mut subnet = Subnet::new("10.5.0.0/29".parse().unwrap()).unwrap();
        subnet.reserved.insert("router".into(), "10.5.0.3".parse().unwrap());
        let mut given = BTreeSet::new();
        while let Ok(address) = allocate(&subnet, &given, None) {
            assert!(given.insert(address));
        }
        let shown: Vec<String> = given.iter().map(IpAddr::to_string).collect();
        assert_eq!(shown, ["10.5.0.2", "10.5.0.4", "10.5.0.5", "10.5.0.6"]);
        let error = allocate(&subnet, &given, None).unwrap_err().to_string();
        assert!(error.contains("no address is left in 10.5.0.0/29"), "{error}");
        subnet.range = Some("10.5.0.5-10.5.0.7".parse().unwrap());
        assert_eq!(allocate(&subnet, &BTreeSet::new(), None).unwrap().to_string(), "10.5.0.5");
        let wide = Subnet::new("fd12::/64".parse().unwrap()).unwrap();
        assert_eq!(allocate(&wide, &BTreeSet::new(), None).unwrap().to_string(), "fd12::2");
        let last = "fd12::ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(allocate(&wide, &BTreeSet::new(), Some(last)).unwrap(), last);
    }

    #[test]
    fn an_asked_address_is_given_or_its_trouble_told() {
        let mut subnet = Subnet::new("10.5.0.0/24".parse().unwrap()).unwrap();
        subnet.reserved.insert("router".into(), "10.5.0.3".parse().unwrap());
        subnet.range = Some("10.5.0.128/25".parse().unwrap());
        let taken = BTreeSet::from(["10.5.0.9".parse().unwrap()]);
        let ask = |text: &str| allocate(&subnet, &taken, Some(text.parse().unwrap()));
        assert_eq!(ask("10.5.0.7").unwrap().to_string(), "10.5.0.7", "outside of the range alone");
        for (text, why) in [
            ("10.6.0.1", "outside of the subnet 10.5.0.0/24"),
            ("fd12::1", "outside"),
            ("10.5.0.0", "itself"),
            ("10.5.0.255", "broadcast"),
            ("10.5.0.1", "the gateway's"),
            ("10.5.0.3", "reserved for router"),
            ("10.5.0.9", "in use by another container"),
        ] {
            let error = ask(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
