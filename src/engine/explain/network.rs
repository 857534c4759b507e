//! Commands for the network of a container. They are comments of the script: they must run outside the container, in
//! another terminal. `$pid` is the process in the container's network namespace.

use crate::net::{ExpectedEndpoint, Membership, Network};

/// Returns the commands that join the named networks and start the helper.
pub(super) fn connect(network: &Network) -> Vec<String> {
    let mut lines = Vec::new();
    match Membership::expect(&network.joins) {
        Ok(endpoints) => endpoints.iter().for_each(|endpoint| lines.extend(join(endpoint))),
        Err(error) => lines.push(format!("# ({error})")),
    }
    for (number, helper) in network.helpers.iter().enumerate() {
        let words = helper.command_line(Some("/proc/$pid/ns/user"), "/proc/$pid/ns/net", None);
        let place = if number == 0 { "beside" } else { "or" };
        lines.push(format!("# ({place}, with pid=$$: {})", words.join(" ")));
    }
    lines
}

/// Returns the commands that follow when the helper is ready.
pub(super) fn finish(network: &Network) -> Vec<String> {
    let mut lines = Vec::new();
    if !network.helpers.is_empty() {
        lines.push("# (the helper is ready)".to_owned());
    }
    let endpoints = Membership::expect(&network.joins).unwrap_or_default();
    let first = endpoints.first().filter(|_| !network.helpers.is_empty());
    for address in first.into_iter().flat_map(|endpoint| &endpoint.addresses) {
        let family = if address.address.is_ipv4() { "ip" } else { "ip -6" };
        let replace = format!(
            "{family} route replace $({family} route show default) src {}",
            address.address
        );
        lines.push(format!("# (as root beside it: {IN_CONTAINER} sh -c '{replace}')"));
    }
    lines
}

const IN_CONTAINER: &str = "nsenter --net=/proc/$pid/ns/net";

fn join(endpoint: &ExpectedEndpoint) -> Vec<String> {
    let definition = &endpoint.definition;
    let options = &definition.options;
    let mtu = options.mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
    let (bridge, interface) = (options.bridge_name(), &endpoint.interface);
    let in_network = "nsenter --net=$network";
    let port = format!("veth-{interface}");
    let mut lines =
        vec![format!("# (as root beside it, with pid=$$, for network {}:", definition.name)];
    match &endpoint.namespace {
        Some(path) => lines.push(format!("network={path}")),
        None => {
            lines.push("unshare --net sleep 1000 & network=/proc/$!/ns/net".to_owned());
            lines.push(format!(
                "{in_network} ip link add {bridge} address {}{mtu} type bridge stp_state 0 forward_delay 0",
                definition.bridge_mac()
            ));
            lines.extend(definition.subnets.iter().map(|subnet| {
                let length = subnet.prefix.prefix_len();
                format!("{in_network} ip address add {}/{length} dev {bridge}", subnet.gateway)
            }));
            lines.push(format!("{in_network} ip link set {bridge} up"));
        }
    }
    lines.push(format!(
        "{in_network} ip link add {port}{mtu} type veth peer name {interface}{mtu} address {} netns $pid",
        endpoint.mac
    ));
    lines.push(format!("{in_network} ip link set {port} master {bridge} up"));
    if options.members == crate::net::MemberTraffic::Blocked {
        lines.push(format!("{in_network} bridge link set dev {port} isolated on"));
    }
    lines.extend(endpoint.addresses.iter().map(|address| {
        let nodad = if address.address.is_ipv6() { " nodad" } else { "" };
        format!("{IN_CONTAINER} ip address add {address} dev {interface}{nodad}")
    }));
    lines.push(format!("{IN_CONTAINER} ip link set {interface} up)"));
    lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, "#   "));
    lines
}
