//! pasta's command line (pasta(1)). pasta keeps the caller's address, unless that is one of the host's own, and follows
//! the host's network. The host needs a default route (until passt 2024_10_30).

use super::Addresses;
use crate::forward::{Forward, Protocol};

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
        .chain(["--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none", "--ns-ifname", interface])
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
