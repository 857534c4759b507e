//! pasta's command line (pasta(1)). pasta keeps the caller's address, unless that is one of the host's own, and follows
//! the host's network. The host needs a default route (until passt 2024_10_30).

use super::Addresses;
use crate::forward::{self, Forward, Protocol};

/// podman's option that leads the gateway's address to the host's loopback. To pasta that is the default.
const MAP_GATEWAY: &str = "--map-gw";

/// Builds the arguments without the namespaces. `options` are the user's options for pasta, appended at the end.
pub(super) fn arguments(
    interface: &str,
    addresses: &Addresses,
    options: &[String],
    forwards: &[Forward],
) -> Vec<String> {
    // In the foreground pasta is our child, to wait for and to end; pasta then writes its PID when ready.
    let mut words: Vec<String> = ["--foreground", "--config-net", "--pid", "/dev/stdout"]
        .into_iter()
        .chain(["--tcp-ns", "none", "--udp-ns", "none", "--ns-ifname", interface])
        .map(str::to_owned)
        .collect();
    if !options.iter().any(|option| option == MAP_GATEWAY) {
        words.push("--no-map-gw".to_owned());
    }
    for (flag, address) in [
        ("--address", addresses.container()),
        ("--netmask", addresses.mask()),
        ("--gateway", addresses.gateway()),
        ("--dns-forward", addresses.resolver()),
    ] {
        words.extend([flag.to_owned(), address.to_string()]);
    }
    for (flag, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
        let of_protocol: Vec<Forward> =
            forwards.iter().filter(|forward| forward.protocol == protocol).copied().collect();
        if of_protocol.is_empty() {
            words.extend([flag.to_owned(), "none".to_owned()]);
        }
        for (first, last) in forward::ranges(of_protocol) {
            let host = first.host.map(|host| format!("{host}/")).unwrap_or_default();
            let ports = match first == last {
                true => format!("{host}{}:{}", first.host_port, first.port),
                false => format!(
                    "{host}{}-{}:{}-{}",
                    first.host_port, last.host_port, first.port, last.port
                ),
            };
            words.extend([flag.to_owned(), ports]);
        }
    }
    words.extend(options.iter().filter(|option| *option != MAP_GATEWAY).cloned());
    words
}
