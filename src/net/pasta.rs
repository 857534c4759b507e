//! pasta's command line (pasta(1)). It keeps the caller's address where that is not the host's own, and follows the host's
//! network. Needs a host that has a default route (until passt 2024_10_30).

use super::{Addresses, INTERFACE};
use crate::forward::{Forward, Protocol};

/// All but where it is to work. `options` are its own, put at the end.
pub(super) fn arguments(
    addresses: &Addresses,
    options: &[String],
    forwards: &[Forward],
) -> Vec<String> {
    // In the foreground it is ours to wait for and to end; then it writes its number when it is ready.
    let mut words: Vec<String> = ["--foreground", "--config-net", "--pid", "/dev/stdout"]
        .into_iter()
        .chain(["--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none", "--ns-ifname", INTERFACE])
        .map(str::to_owned)
        .collect();
    for (flag, address) in [
        ("--address", addresses.container()),
        ("--netmask", addresses.mask()),
        ("--gateway", addresses.gateway()),
        ("--dns-forward", addresses.resolver()),
    ] {
        words.extend([flag.to_owned(), address.to_string()]);
    }
    for (flag, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
        let mut of_protocol =
            forwards.iter().filter(|forward| forward.protocol == protocol).peekable();
        if of_protocol.peek().is_none() {
            words.extend([flag.to_owned(), "none".to_owned()]);
        }
        for forward in of_protocol {
            let host = forward.host.map(|host| format!("{host}/")).unwrap_or_default();
            words
                .extend([flag.to_owned(), format!("{host}{}:{}", forward.host_port, forward.port)]);
        }
    }
    words.extend(options.iter().cloned());
    words
}
