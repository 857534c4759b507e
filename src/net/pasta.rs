//! pasta's command line (pasta(1)). It keeps the caller's address where that is not the host's own, and follows the host's
//! network. Needs a host that has a default route (until passt 2024_10_30).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Addresses, INTERFACE};
use crate::forward::{Forward, Protocol};
use crate::host::program;

/// From when on it is trusted more than slirp4netns: that of Debian 12 (2023_03_09) sends bytes twice, and no end, where
/// the other side closes at once.
const MATURE: u32 = 20_240_220;
/// How long it may take to say which it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether it is one that can be trusted.
pub(super) fn is_mature(path: &Path) -> bool {
    let answer = program::ask(Command::new(path).arg("--version"), PATIENCE);
    answer.is_ok_and(|answer| released(&answer.output).is_some_and(|date| date >= MATURE))
}

/// The date in `pasta 2025_05_03.587980c`, `pasta 0.0~git20230309.7c7625d-1`, as one number.
fn released(output: &str) -> Option<u32> {
    let line = output.lines().next()?.replace('_', "");
    let groups = line.split(|letter: char| !letter.is_ascii_digit());
    groups
        .filter(|digits| digits.len() == 8 && digits.starts_with("20"))
        .find_map(|digits| digits.parse().ok())
}

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

#[cfg(test)]
mod tests {
    #[test]
    fn its_version_is_a_date() {
        for (output, date) in [
            ("pasta 2025_05_03.587980c\nCopyright\n", Some(20250503)),
            ("pasta 0.0~git20230309.7c7625d-1\n", Some(20230309)),
            ("pasta 0^20240806.gee36266-2.fc40.x86_64\n", Some(20240806)),
            ("pasta unknown version\n", None),
            ("", None),
        ] {
            assert_eq!(super::released(output), date, "{output}");
        }
    }
}
